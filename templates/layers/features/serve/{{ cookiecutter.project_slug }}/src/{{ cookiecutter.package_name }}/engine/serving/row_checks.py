"""The shape of rows, looked at before they wait: a small body may hold millions of lists."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataProblem
from ..requests import check_fields

MAX_ITEMS = 10_000  # of a list, unless its field says otherwise


@dataclass(frozen=True)
class WrongRow:
    """Stands for a row that is refused for its shape, so that it takes no memory while it waits."""

    problem: str


def check_rows(rows: Sequence[Any], schema: Mapping[str, Any]) -> list[Any]:
    """Return rows with a ``WrongRow`` for each that has not the shape of the schema.

    Values are not compared with what the schema says of them: the task reads those, and may take
    texts for numbers. Only lists and objects are, as they take twenty times the memory of their
    text.

    Args:
        rows: as JSON gives them.
        schema: of a row.
    """
    return [_check_row(row, schema) for row in rows]


def list_types(field: Mapping[str, Any]) -> list[str]:
    """Return the types that a field of a schema may have; without one, it is a text."""
    types = field.get("type", "string")
    return [types] if isinstance(types, str) else list(types)


def max_items(field: Mapping[str, Any]) -> int:
    """Return how many items a list of a field may have."""
    return int(field.get("maxItems", MAX_ITEMS))


def _check_row(row: Any, schema: Mapping[str, Any]) -> Any:
    if not isinstance(row, Mapping):
        return WrongRow("A row must be an object.")
    try:
        check_fields(row, schema["properties"])
        for name, value in row.items():
            _check_value(name, value, schema["properties"][name])
    except DataProblem as problem:
        return WrongRow(str(problem))
    return row


def _check_value(name: str, value: Any, field: Mapping[str, Any]) -> None:
    """Check a value, as deeply as its field goes.

    Raises:
        DataProblem: it is a list or an object where the field has none, or too long a list.
    """
    if isinstance(value, list):
        if "array" not in list_types(field):
            raise _wrong_type(name, field)
        if len(value) > max_items(field):
            text = f"{len(value):,} items, more than the {max_items(field):,} allowed"
            raise DataProblem(f"{name}: {text}.")
        for item in _select_containers(value):
            _check_value(name, item, field.get("items", {}))
    elif isinstance(value, dict):
        if "object" not in list_types(field):
            raise _wrong_type(name, field)
        if len(value) > MAX_ITEMS:
            raise DataProblem(f"{name}: more than the {MAX_ITEMS:,} fields allowed.")
        own = field.get("properties", {})
        for key, part in value.items():
            if isinstance(part, list | dict):
                _check_value(name, part, own.get(key, {}))


def _select_containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, list | dict)]


def _wrong_type(name: str, field: Mapping[str, Any]) -> DataProblem:
    return DataProblem(f"{name}: it must be of type {' or '.join(sorted(list_types(field)))}.")
