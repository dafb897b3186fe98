"""Tables as files, and rows in parts."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .errors import unknown
from .files import atomic_write

SHOWN = 1_000  # rows of a printed table whose columns are aligned


def iterate_parts(rows: Iterable[Any], size: int = SHOWN) -> Iterator[list[Any]]:
    """Yield the rows in lists of ``size``, the last one with the rest; each is read when it is
    asked for."""
    iterator = iter(rows)
    while part := list(islice(iterator, size)):
        yield part


def align_columns(
    records: Iterable[tuple[str, Mapping[str, Any]]], ids: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return columns of a table for examples in their own order.

    Args:
        records: id and cells of each row.
        ids: (size,) of the examples; those that no row has get '' or NaN.
        names: of the columns.

    Returns:
        Column -> values (size,): float64 where all are numbers or empty, else text.

    Raises:
        UsageProblem: there is no such column.
    """
    place = {str(name): number for number, name in enumerate(ids)}
    cells: dict[str, list[Any]] = {name: [""] * len(place) for name in names}
    for row_id, record in records:
        for name in names:
            if name not in record:
                raise unknown("data.slice_columns", name, map(str, record))
            if row_id in place:
                cells[name][place[row_id]] = "" if record[name] is None else record[name]
    return {name: _as_numbers(values) for name, values in cells.items()}


def _as_numbers(values: list[Any]) -> np.ndarray:
    texts = [str(value).strip() for value in values]
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in one step."""
    with atomic_write(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
