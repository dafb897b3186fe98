"""Columns of a table for examples in their own order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import unknown


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
        UsageProblem: no row has such a column.
    """
    place = {str(name): number for number, name in enumerate(ids)}
    cells: dict[str, list[Any]] = {name: [""] * len(place) for name in names}
    known: dict[str, None] = {}
    for row_id, record in records:
        known |= dict.fromkeys(map(str, record))
        for name in names:
            value = record.get(name)
            if row_id in place and value is not None:
                cells[name][place[row_id]] = value
    for name in names:
        if name not in known:
            raise unknown("data.slice_columns", name, known)
    return {name: _as_numbers(values) for name, values in cells.items()}


def _as_numbers(values: list[Any]) -> np.ndarray:
    texts = [str(value).strip() for value in values]
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts)
