"""Requests to a served model: the last days of a series, and the day after them."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .datasets.calendar_days import find_holidays
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Requests, Split
from .engine.requests import check_fields, read_each, shorten
from .preprocessing import AT_ONCE, Preprocessing

SEPARATOR = ","  # between values that come as one text
FIELDS = ("first_day", "values")
MAX_VALUES = 10_000

Row = tuple[np.ndarray, np.ndarray]  # values (context,) and holidays (context + horizon,)


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Describe the columns of a request and its answer in MLflow's format."""
    return {
        "inputs": [{"name": name, "type": "string", "required": True} for name in FIELDS],
        "outputs": [
            {"name": "prediction", "type": "string", "required": True},
            {"name": "scores", "type": "map", "values": {"type": "double"}, "required": True},
        ],
    }


def example(data: DatasetSplits, preprocessing: Preprocessing) -> pd.DataFrame:
    """Return a request with the example of the schema."""
    (row,) = request_schema(preprocessing)["examples"]
    return pd.DataFrame({"first_day": [row["first_day"]], "values": [_join(row["values"])]})


def request_schema(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the JSON Schema of a row."""
    week = np.resize([90, 95, 100, 100, 110, 60, 50], preprocessing.context)
    values = [float(value) for value in week]
    return {
        "type": "object",
        "title": "Series",
        "description": f"The next {preprocessing.horizon} days of a series.",
        "properties": {
            "first_day": {
                "type": "string",
                "title": "First day to forecast",
                "description": "The day after the last value, such as 2026-01-31.",
            },
            "values": {
                "type": "array",
                "items": {"type": "number"},
                "x-separator": SEPARATOR,
                "title": "Values",
                "description": f"Of the days before, the newest last; {preprocessing.context} at "
                "least.",
                "maxItems": MAX_VALUES,
            },
        },
        "required": list(FIELDS),
        "additionalProperties": False,
        "examples": [{"first_day": "2026-04-20", "values": values}],
    }


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, config: Config | None
) -> Requests:
    """Read values and days, see ``request_schema``.

    Args:
        rows: values may also be one text with ``SEPARATOR``.
        preprocessing: of the model.
        config: part of the engine's interface.
    """

    def read_row(row: Mapping[str, Any]) -> Row:
        check_fields(row, FIELDS, required=FIELDS)
        return make_row(_read_day(row), _read_values(row, preprocessing.context), preprocessing)

    return read_each(rows, read_row, make_split)


def make_row(first_day: date, values: np.ndarray, preprocessing: Preprocessing) -> Row:
    """Return the raw inputs of a forecast.

    Args:
        first_day: the first day to forecast.
        values: of the days before (context at least,).
        preprocessing: of the model.
    """
    context = preprocessing.context
    try:
        holidays = find_holidays(first_day - timedelta(context), context + preprocessing.horizon)
    except OverflowError:
        raise DataProblem("first_day: it is too near to the end of the calendar.") from None
    return values[-context:].astype("float32"), holidays


def make_split(ids: np.ndarray, rows: list[Row]) -> Split:
    """Return rows as a split without targets."""
    parts = zip(*rows, strict=True) if rows else (np.zeros((0, 1)),) * 2
    values, holidays = (np.array(part, "float32") for part in parts)  # (batch, days)

    def fetch(positions: Any) -> dict[str, tf.Tensor]:
        return {"values": tf.gather(values, positions), "holidays": tf.gather(holidays, positions)}

    return Split(ids, np.array([]), fetch)


def describe_inputs(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return columns (size,) that describe series: the mean of a day, and its last change."""
    season, parts = preprocessing.season, [np.zeros((0, 2))]
    for raw in split.batches(AT_ONCE):
        logs = np.log1p(np.asarray(raw["values"], "float64"))
        last, before = logs[:, -season:].mean(axis=1), logs[:, :season].mean(axis=1)
        parts.append(np.stack([np.expm1(last), last - before], axis=1))
    level, change = np.concatenate(parts).T
    return {"level": level, "change": change}


def parse_labels(texts: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return the values of texts (size,) such as ``12,15,9`` as targets (size, horizon)."""
    try:
        rows = [[float(part) for part in text.split(SEPARATOR)] for text in texts]
        return np.array(rows, "float32").reshape(len(texts), preprocessing.horizon)
    except ValueError:
        raise DataProblem(
            f"labels: each needs {preprocessing.horizon} numbers with {SEPARATOR!r} between them."
        ) from None


def _read_day(row: Mapping[str, Any]) -> date:
    try:
        return date.fromisoformat(row["first_day"])
    except (TypeError, ValueError):
        raise DataProblem("first_day: it must be a day such as 2026-01-31.") from None


def _read_values(row: Mapping[str, Any], context: int) -> np.ndarray:
    given = row["values"]
    parts = given.split(SEPARATOR) if isinstance(given, str) else given
    if not isinstance(parts, list | tuple):
        raise DataProblem("values: it must be a list of numbers.")
    if not context <= len(parts) <= MAX_VALUES:
        raise DataProblem(f"values: it has {len(parts):,}; {context} to {MAX_VALUES:,} are needed.")
    return np.array([_read_number(part) for part in parts], "float64")


def _read_number(part: Any) -> float:
    try:
        value = float(part) if isinstance(part, str | int | float) else np.nan
    except (ValueError, OverflowError):
        value = np.nan
    if not 0 <= value < np.inf or isinstance(part, bool):
        raise DataProblem(f"values: {shorten(str(part))!r} is no number of 0 or more.")
    return value


def _join(values: Sequence[float]) -> str:
    return SEPARATOR.join(f"{value:g}" for value in values)
