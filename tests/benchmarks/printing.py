"""What the benchmarks of the templates share: a fresh project, and a table line by line."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tests.benchmarks.digits import make_project

# Lines of a table, and whether each is as it must be.
Lines = Iterator[tuple[str, bool]]


def table_line(cells: Iterable[object], holds: bool) -> tuple[str, bool]:
    """A line of a table, which ends with whether it is as it must be."""
    said = "holds" if holds else "does not hold"
    return f"| {' | '.join(map(str, [*cells, said]))} |", holds


def print_table(
    program: str, template: str, header: str, measurements: Mapping[str, Callable[[Path], Lines]]
) -> int:
    """Measure what the command line names, or everything; 1 if a limit does not hold."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.benchmarks.{program}")
    parser.add_argument("names", nargs="*", choices=list(measurements), metavar="NAME")
    names = parser.parse_args().names or list(measurements)
    print(f"default model and settings, {os.cpu_count()} cores")
    print(header)
    print("|" + " --- |" * (header.count("|") - 1), flush=True)
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder), template)
        for name in names:
            for line, holds in measurements[name](project):
                print(line, flush=True)
                fine &= holds
    return 0 if fine else 1
