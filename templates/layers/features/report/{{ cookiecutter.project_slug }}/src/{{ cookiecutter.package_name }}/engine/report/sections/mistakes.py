"""Mistakes beside what the model said, the most confident first."""

import csv

from ..evidence import Evidence
from ..html import Section, figure, join, table
from .curves import MISTAKES, find_figures, read_title

SHOWN = 20  # rows of a table of mistakes


def make(evidence: Evidence) -> Section | None:
    """Return what the domain wrote about mistakes: its figures and tables of that name."""
    evaluation = evidence.evaluation
    prefix = f"{evaluation.split_name}_"
    parts = [
        figure(path, read_title(path, evaluation.split_name))
        for path in find_figures(evaluation.report_dir, prefix)
        if MISTAKES in path.name
    ]
    tables = (f"{prefix}*{MISTAKES}*.csv", f"{prefix}examples.csv")
    for path in (path for name in tables for path in sorted(evaluation.report_dir.glob(name))):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        if rows:
            title = read_title(path, evaluation.split_name)
            parts.append(table(header, rows[:SHOWN], f"{title} (the first {SHOWN} at most)"))
    return Section("mistakes", "Mistakes", join(parts)) if parts else None
