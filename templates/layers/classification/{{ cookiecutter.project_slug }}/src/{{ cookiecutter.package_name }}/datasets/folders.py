"""Folders named after classes, optionally inside folders named after splits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..engine.errors import DataProblem
from .splits import SPLIT_NAMES


class FileExample(NamedTuple):
    """A file in the folder of its class.

    Attributes:
        name: the path relative to the root folder.
        split: '' where there are no folders of splits.
    """

    path: Path
    name: str
    label: str
    split: str


@dataclass(frozen=True)
class ClassFolders:
    """The files of all classes, and the classes themselves, also those without files."""

    files: list[FileExample]
    classes: tuple[str, ...]
    has_splits: bool

    def columns(self) -> tuple[list, list, list, list]:
        """Return paths, names, labels and splits of the files."""
        path, name, label, split = zip(*self.files, strict=True) if self.files else ((),) * 4
        return list(path), list(name), list(label), list(split)

    def empty_classes(self) -> list[str]:
        """Return the classes without files."""
        return sorted(set(self.classes) - {file.label for file in self.files})


def find_class_folders(root: Path, find: Callable[[Path], Iterable[Path]]) -> ClassFolders:
    """Find files in ``ROOT/train/LABEL/`` with optional ``val/`` and ``test/``, or ``ROOT/LABEL/``.

    Args:
        root: the folder of classes or splits.
        find: returns the files of a class's folder.

    Raises:
        DataProblem: there are no folders named after classes.
    """
    has_splits = (root / "train").is_dir()
    folders = {root / name: split for name, split in SPLIT_NAMES.items()}
    if not has_splits:
        folders = {root: ""}
    files, classes = [], set()
    for folder, split in folders.items():
        for class_dir in sorted(p for p in folder.glob("*") if p.is_dir() and p.name[0] != "."):
            classes.add(class_dir.name)
            for path in find(class_dir):
                name = path.relative_to(root).as_posix()
                files.append(FileExample(path, name, class_dir.name, split))
    if not classes:
        raise DataProblem(f"data.path: {str(root)!r} has no folders named after classes.")
    return ClassFolders(files, tuple(sorted(classes)), has_splits)
