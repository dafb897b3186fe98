"""The figures of the split, as ``Task.draw_figures`` wrote them, and the course of training."""

from pathlib import Path

from ..evidence import Evidence
from ..html import KINDS, Section, figure, join

MISTAKES = "mistakes"  # in the name of a file that belongs to that section


def make(evidence: Evidence) -> Section | None:
    """Return all figures but those of mistakes."""
    evaluation = evidence.evaluation
    found = find_figures(evaluation.report_dir, f"{evaluation.split_name}_")
    own = [path for path in found if MISTAKES not in path.name]
    others = [
        path
        for path in find_figures(evaluation.report_dir)
        if not path.name.startswith(("train_", "validation_", "test_"))
    ]
    parts = [figure(path, read_title(path, evaluation.split_name)) for path in (*others, *own)]
    return Section("curves", "Curves", join(parts)) if parts else None


def find_figures(folder: Path, prefix: str = "") -> list[Path]:
    """Return the figures of a folder whose names begin so, in alphabetical order."""
    return sorted(path for path in folder.glob(f"{prefix}*") if path.suffix in KINDS)


def read_title(path: Path, split_name: str = "") -> str:
    """Return the title that the name of a file stands for.

    Args:
        path: of a figure or table.
        split_name: with which the name may begin.
    """
    text = path.stem.removeprefix(f"{split_name}_").replace("_", " ")
    return text[:1].upper() + text[1:]
