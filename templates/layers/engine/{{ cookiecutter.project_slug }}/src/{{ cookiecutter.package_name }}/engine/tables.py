"""Tables as files, and rows in parts."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .files import atomic_write

SHOWN = 1_000  # rows of a printed table whose columns are aligned


def iterate_parts(rows: Iterable[Any], size: int = SHOWN) -> Iterator[list[Any]]:
    """Yield the rows in lists of ``size``, the last one with the rest; each is read when it is
    asked for."""
    iterator = iter(rows)
    while part := list(islice(iterator, size)):
        yield part


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in one step.

    Args:
        path: of the file.
        header: names of the columns.
        rows: cells, in the columns' order.
    """
    with atomic_write(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
