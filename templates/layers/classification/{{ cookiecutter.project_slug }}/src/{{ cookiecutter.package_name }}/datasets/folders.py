"""Folders named after classes, with or without folders named after splits above them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..engine.config_fields import DataFields
from ..engine.errors import DataProblem, UsageProblem
from .splits import SPLIT_NAMES


class Labelled(NamedTuple):
    """A file; its name is the path below the folder, its split '' where there are none."""

    path: Path
    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Found:
    """Labelled files, and the classes that there are folders of."""

    files: list[Labelled]
    classes: tuple[str, ...]
    divided: bool

    def columns(self) -> tuple[list, list, list, list]:
        """Paths, names, labels and splits of the files."""
        path, name, label, split = zip(*self.files, strict=True) if self.files else ((),) * 4
        return list(path), list(name), list(label), list(split)

    def empty(self) -> list[str]:
        """Classes without files."""
        return sorted(set(self.classes) - {file.label for file in self.files})


def find_labelled(root: Path, find: Callable[[Path], Iterable[Path]]) -> Found:
    """Files of ``ROOT/train/LABEL/`` with optional ``val/`` and ``test/``, or of ``ROOT/LABEL/``.

    Args:
        find: a class's folder -> its files.

    Raises:
        DataProblem: there are no folders named after classes.
    """
    divided = (root / "train").is_dir()
    parts = {root / name: split for name, split in SPLIT_NAMES.items()} if divided else {root: ""}
    files, classes = [], set()
    for part, split in parts.items():
        for class_dir in sorted(p for p in part.glob("*") if p.is_dir() and p.name[0] != "."):
            classes.add(class_dir.name)
            for path in find(class_dir):
                name = path.relative_to(root).as_posix()
                files.append(Labelled(path, name, class_dir.name, split))
    if not classes:
        raise DataProblem(f"data.path: {str(root)!r} has no folders named after classes.")
    return Found(files, tuple(sorted(classes)), divided)


def existing(data: DataFields, check: Callable[[Path], bool], kind: str) -> Path:
    """The configured path, if it is there and of the kind that the source needs.

    Args:
        check: whether a path is of that kind, such as ``Path.is_file``.
        kind: its name, for messages.
    """
    if data.path is None:
        raise UsageProblem(f"data.path: source {data.source!r} needs a {kind}.")
    path = Path(data.path)
    if not path.exists():
        raise DataProblem(f"data.path: {data.path!r} does not exist.")
    if not check(path):
        raise DataProblem(f"data.path: {data.path!r} is not a {kind}.")
    return path
