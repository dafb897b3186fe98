"""Load series, and cut them into windows: a context, and the days after it as targets.

A source takes the ``data`` fields and returns ``SourceData``. To add one, write such a function and
add a line to ``SOURCES`` in ``registry.py``.

The split is one cut in time for all series: no target of training is later than any of validation,
and none of validation later than any of the test.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config, DataConfig
from .datasets.cafes import FIRST_DAY, generate_sales
from .datasets.calendar_days import find_holidays
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import DatasetSplits, Preprocessing, Split
from .engine.lookup import find
from .registry import SOURCES


@dataclass(frozen=True)
class SourceData:
    """Series of the same days.

    Attributes:
        names: (series,) of the series.
        first_day: the day of the first value.
        values: (series, days) float32, 0 or more.
    """

    names: list[str]
    first_day: date
    values: np.ndarray

    @property
    def days(self) -> int:
        return self.values.shape[1]


@dataclass(frozen=True, kw_only=True)
class Windows(Split):
    """Windows of series, with what their forecasts are measured against.

    Attributes:
        naive: (size, horizon) the values of the same days of the last season.
        scales: (size,) mean absolute error of that forecast in the training days of the series.
        has_holiday: (size,) whether one of the days that are forecast is a holiday.
    """

    naive: np.ndarray
    scales: np.ndarray
    has_holiday: np.ndarray


# === Sources ===


def load_cafes(data: DataConfig) -> SourceData:
    """Generate the sales of cafés, see ``datasets/cafes.py``."""
    names, values = generate_sales()
    return SourceData(names, FIRST_DAY, values)


def load_csv(data: DataConfig) -> SourceData:
    """Read ``data.path``: a row for each series and day.

    Raises:
        UsageProblem: ``data.path`` is empty, or a column is missing.
        DataProblem: there is no such file, a value is wrong, or a series lacks a day.
    """
    if not data.path:
        raise UsageProblem("data.path: source 'csv' needs a file.")
    if not Path(data.path).is_file():
        raise DataProblem(f"data.path: {data.path!r} is not a file.")
    table = pd.read_csv(data.path, dtype=str, encoding="utf-8-sig")
    columns = (data.series_column, data.date_column, data.value_column)
    for column in columns:
        if column not in table:
            raise UsageProblem(f"data.path: {data.path!r} has no column {column!r}.")
    series, days, values = (table[column] for column in columns)
    days = pd.to_datetime(days, format="%Y-%m-%d", errors="coerce")
    values = pd.to_numeric(values, errors="coerce")
    wrong = days.isna() | ~np.isfinite(values) | (values < 0)
    if wrong.any():
        line = int(np.argmax(wrong)) + 2  # the header is line 1
        raise DataProblem(
            f"{data.path}: line {line}: it needs a day such as 2026-01-31 and a value of 0 or more."
        )
    tidy = pd.DataFrame({"series": series, "day": days, "value": values})
    if tidy.duplicated(["series", "day"]).any():
        raise DataProblem(f"{data.path}: a series has two values of a day.")
    by_day = tidy.pivot(index="series", columns="day", values="value")
    by_day = by_day.reindex(columns=pd.date_range(days.min(), days.max()))
    if by_day.isna().to_numpy().any():
        row, column = np.argwhere(by_day.isna().to_numpy())[0]
        missing = f"series {by_day.index[row]!r} has no value of {by_day.columns[column]:%Y-%m-%d}"
        raise DataProblem(f"{data.path}: {missing}; all series need all days.")
    return SourceData(list(by_day.index), days.min().date(), by_day.to_numpy("float32"))


@lru_cache(maxsize=1)
def load_series(data: DataConfig) -> SourceData:
    """Read the configured source, once for the same fields."""
    source = find(SOURCES, data.source)(data)
    needed = 2 * (data.context + data.horizon)
    if source.days < needed:
        raise DataProblem(
            f"data: the series have {source.days} days; a context of {data.context} and a horizon "
            f"of {data.horizon} need {needed} at least."
        )
    return source


# === Windows ===


def load(config: Config, preprocessing: Preprocessing | None = None) -> DatasetSplits:
    """Read the configured source and cut it into windows, the newest of which are the test.

    Args:
        config: for the section ``data``.
        preprocessing: part of the engine's interface; windows do not depend on it.

    Raises:
        UsageProblem, DataProblem: the source cannot be read, or is too short.
    """
    data = config.data
    source = load_series(data)
    # The first day that is forecast is the window's; targets end before the next split begins.
    forecast_days = source.days - data.context
    num_test = max(data.horizon, int(data.test_fraction * forecast_days))
    num_validation = max(data.horizon, int(data.validation_fraction * forecast_days))
    test_day = source.days - num_test
    validation_day = test_day - num_validation
    if validation_day - data.horizon < data.context:
        raise DataProblem(
            "data: nothing is left to train on; lower data.test_fraction, "
            "data.validation_fraction, data.context or data.horizon."
        )
    scales = _measure_naive(source.values[:, :validation_day], data.season)
    borders = {
        "train": (data.context, validation_day, data.stride, 1.0),
        "validation": (validation_day, test_day, data.season, data.validation_fraction),
        "test": (test_day, source.days, data.season, data.test_fraction),
    }
    train_share = 1 - data.validation_fraction - data.test_fraction
    splits = dict[str, Windows]()
    digest = hashlib.sha256(repr(borders).encode())
    digest.update(source.values.tobytes())
    for name, (start, end, stride, share) in borders.items():
        firsts = np.arange(start, end - data.horizon + 1, stride)
        row, first = (part.ravel() for part in np.meshgrid(range(len(source.names)), firsts))
        if data.limit is not None:
            limit = max(1, round(data.limit * (train_share if name == "train" else share)))
            kept = np.unique(np.linspace(0, len(row) - 1, min(limit, len(row))).astype(int))
            row, first = row[kept], first[kept]
        digest.update(np.stack([row, first]).tobytes())
        splits[name] = _cut(source, row, first, data, scales)
    notes = {
        "series": len(source.names),
        "days": source.days,
        "first test day": (source.first_day + timedelta(test_day)).isoformat(),
    }
    train, validation, test = splits.values()
    return DatasetSplits(data.source, digest.hexdigest(), train, validation, test, notes=notes)


def _measure_naive(values: np.ndarray, season: int) -> np.ndarray:
    """Return (series,) the mean absolute change from season to season."""
    errors = np.abs(values[:, season:] - values[:, :-season]).mean(axis=1)
    return np.maximum(errors, 1e-6)  # a constant series would divide by zero


def _cut(
    source: SourceData, row: np.ndarray, first: np.ndarray, data: DataConfig, scales: np.ndarray
) -> Windows:
    """Return the windows of series ``row`` (size,) that are forecast from day ``first`` (size,)."""
    ahead = np.arange(data.horizon)
    holidays = find_holidays(source.first_day, source.days)
    days = first[:, None] + ahead  # (size, horizon)
    names = [
        f"{source.names[r]} {source.first_day + timedelta(int(f))}"
        for r, f in zip(row, first, strict=True)
    ]
    with tf.device("CPU:0"):
        values, flags, rows, firsts = map(tf.constant, (source.values, holidays, row, first))

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        own = tf.gather(firsts, positions)[:, None] - data.context
        context = own + tf.range(data.context, dtype=own.dtype)
        series = tf.broadcast_to(tf.gather(rows, positions)[:, None], tf.shape(context))
        window = own + tf.range(data.context + data.horizon, dtype=own.dtype)
        return {
            "values": tf.gather_nd(values, tf.stack([series, context], axis=-1)),
            "holidays": tf.gather(flags, window),
        }

    return Windows(
        ids=np.array(names, dtype=object),
        targets=source.values[row[:, None], days],
        fetch=fetch,
        in_memory=True,
        groups=np.array(source.names, dtype=str)[row],
        naive=source.values[row[:, None], _season_before(first, data)],
        scales=scales[row],
        has_holiday=np.any(holidays[days] > 0, axis=1),
    )


def _season_before(first: np.ndarray, data: DataConfig) -> np.ndarray:
    """Return (size, horizon) the days of the last season that resemble those of the horizon."""
    return first[:, None] - data.season + np.arange(data.horizon) % data.season
