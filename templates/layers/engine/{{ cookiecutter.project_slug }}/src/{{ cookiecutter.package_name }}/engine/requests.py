"""Helpers that validate rows of prediction requests.

It does not import TensorFlow: a service answers whether it lives before a model is loaded.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DataProblem

if TYPE_CHECKING:
    import pandas as pd

    from .interfaces import Requests, Split

MAX_SHOWN = 60  # characters of a name in a message


def read_each(
    rows: Sequence[Any],
    read: Callable[[Any], Any],
    make_split: Callable[[np.ndarray, list[Any]], Split],
) -> Requests:
    """Read rows one by one; those that ``read`` refuses are problems.

    Args:
        rows: as somebody sent them, or what was made of each.
        read: a row -> its raw input. Raises a ``DataProblem`` for a wrong one.
        make_split: names (size,) and raw inputs of the right rows -> their split.
    """
    from .interfaces import Requests

    names, values = list[str](), list[Any]()
    problems = dict[int, str]()
    for position, row in enumerate(rows):
        try:
            values.append(read(row))
        except DataProblem as error:
            problems[position] = str(error)
        else:
            names.append(name_row(position))
    return Requests(make_split(np.array(names, dtype=object), values), problems)


def name_row(position: int) -> str:
    """Return the number by which people know a row: the first is 1."""
    return str(position + 1)


def check_fields(
    row: Mapping[str, Any], known: Collection[str], required: Collection[str] = ()
) -> None:
    """Check which fields a row has, whatever their values are.

    Args:
        row: as somebody sent it.
        known: the fields that it may have.
        required: those that it must have.

    Raises:
        DataProblem: it is no row, a field is unknown, or one is missing.
    """
    fields = ", ".join(known)
    if not isinstance(row, Mapping):
        raise DataProblem(f"a row must be an object with {fields}.")
    for name in row:
        if name not in known:
            raise DataProblem(f"{shorten(str(name))}: there is no such field, only {fields}.")
    for name in required:
        if row.get(name) is None:
            raise DataProblem(f"{name}: it is missing.")


def decode_bytes(row: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the fields in base64 as bytes.

    Args:
        row: as JSON gives it.
        schema: of the task's requests.

    Raises:
        DataProblem: such a field is not base64.
    """
    decoded = dict(row)
    for name, field in schema["properties"].items():
        if field.get("contentEncoding") == "base64" and isinstance(row.get(name), str):
            try:
                decoded[name] = base64.b64decode(row[name], validate=True)
            except ValueError:
                raise DataProblem(f"{name}: it is not base64.") from None
    return decoded


def shorten(text: str) -> str:
    """Return a text that somebody sent as it may stand in a message."""
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return repr(shown)[1:-1]


def read_frame(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table of requests, with None for the cells that are missing."""
    return [
        {str(name): None if _is_missing(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def check_requests(requests: Requests) -> Split:
    """Return the rows if all are right.

    Raises:
        DataProblem: one is not; it names the first.
    """
    for position, problem in sorted(requests.problems.items()):
        raise DataProblem(f"row {name_row(position)}: {problem}")
    return requests.split


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN, NaT
