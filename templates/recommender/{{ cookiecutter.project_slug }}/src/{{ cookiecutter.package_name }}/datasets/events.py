"""From tables to events and features, part by part."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import DataConfig
from ..engine.errors import DataProblem
from .frames import parts_of
from .interactions import Log, in_order


@dataclass
class Reader:
    """Collects events; ids become numbers on the way, so a long log takes 24 bytes an event.

    Attributes:
        unreadable: ``(row, reason)`` of the rows that cannot be used.
    """

    data: DataConfig
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0

    def __post_init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, frame: pd.DataFrame, origin: str) -> None:
        """Take the events of a part of a table.

        Raises:
            DataProblem: a column is missing, or times cannot be understood.
        """
        data = self.data
        wanted = [data.user_column, data.item_column, data.timestamp_column]
        wanted += [data.rating_column] if data.rating_column else []
        for name in wanted:
            if name not in frame:
                found = ", ".join(map(str, frame.columns))
                raise DataProblem(f"{origin}: there is no column {name!r}; found: {found}.")
        first = self.rows + 1
        self.rows += len(frame)
        users, items = (_text(frame[name]) for name in wanted[:2])
        times = _seconds(frame[data.timestamp_column])
        rated = data.rating_column
        ratings = _numbers(frame[rated]) if rated else np.ones(len(frame))
        weights = self._weights(ratings)
        problems = (
            (users == "", f"{data.user_column} is missing"),
            (items == "", f"{data.item_column} is missing"),
            (~np.isfinite(times), f"{data.timestamp_column} is no time"),
            (~np.isfinite(ratings), f"{data.rating_column} is no number"),
            (weights < 0, f"{data.rating_column} is negative"),
        )
        bad = np.zeros(len(frame), dtype=bool)
        for wrong, reason in problems:
            self.unreadable += [(str(first + i), reason) for i in np.flatnonzero(wrong & ~bad)]
            bad |= wrong
        good = ~bad
        self._parts.append(
            (
                _numbered(users[good], self._users),
                _numbered(items[good], self._items),
                times[good],
                weights[good],
            )
        )

    def log(self) -> Log:
        """All events so far.

        Raises:
            DataProblem: there are none, or too many rows could not be used.
        """
        if self.rows == 0:
            source = self.data.path or self.data.source
            raise DataProblem(f"data: there are no events in {source!r}.")
        self.check()
        columns = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        ids = (np.array(list(known), dtype=object) for known in (self._users, self._items))
        return in_order(*columns, *ids)

    def check(self) -> None:
        """
        Raises:
            DataProblem: too many rows cannot be used.
        """
        data = self.data
        if len(self.unreadable) > data.max_unreadable * self.rows:
            row, reason = self.unreadable[0]
            raise DataProblem(
                f"data: {len(self.unreadable)} of {self.rows} events cannot be used, more than "
                f"data.max_unreadable {data.max_unreadable:g} allows; the first is row {row}: "
                f"{reason}."
            )

    def _weights(self, ratings: np.ndarray) -> np.ndarray:
        least = self.data.least_rating
        if least is None:
            return ratings
        return np.where(np.isnan(ratings), np.nan, (ratings >= least).astype("float64"))


def read_features(path: str, column: str, field_name: str) -> tuple[np.ndarray, dict]:
    """Ids (size,) and columns (size,) of text of a file of features.

    Raises:
        DataProblem: there is no such file or column, or an id stands there twice.
    """
    file = Path(path)
    if not file.is_file():
        raise DataProblem(f"data.{field_name}: {path!r} is no file.")
    frame = pd.concat(list(parts_of(file)), ignore_index=True)
    if column not in frame:
        found = ", ".join(map(str, frame.columns))
        raise DataProblem(f"{path}: there is no column {column!r}; found: {found}.")
    ids = _text(frame[column])
    twice = frame[column][frame[column].duplicated()]
    if len(twice):
        raise DataProblem(f"{path}: {str(twice.iloc[0])!r} stands in {column!r} twice.")
    others = [name for name in frame.columns if name != column]
    return ids, {str(name): _text(frame[name]) for name in others}


def _text(values: pd.Series) -> np.ndarray:
    # pandas makes whole numbers 1.0 where some are missing; they are ids, and 1 in other files.
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    shown = values.astype(object).where(values.notna(), "")
    return shown.astype(str).str.strip().to_numpy(dtype=object)


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)


def _seconds(values: pd.Series) -> np.ndarray:
    """Times as numbers: as they are, or dates as seconds since 1970; NaN for what is neither."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return _since_1970(values)
    numbers = _numbers(values)
    if np.isfinite(numbers).all():
        return numbers
    dates = _since_1970(pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601"))
    # A zero among dates must not make the dates unreadable.
    return dates if np.isfinite(dates).sum() > np.isfinite(numbers).sum() else numbers


def _since_1970(dates: pd.Series) -> np.ndarray:
    # Not in nanoseconds, which end in 2262: 9999-12-31 is a usual date for "never".
    seconds = dates.to_numpy("datetime64[us]").astype("float64") / 1e6
    return np.where(dates.isna(), np.nan, seconds)


def _numbered(ids: np.ndarray, known: dict[str, int]) -> np.ndarray:
    codes, distinct = pd.factorize(ids)
    numbers = np.array([known.setdefault(name, len(known)) for name in distinct], dtype="int32")
    return numbers[codes] if len(codes) else np.zeros(0, "int32")


def concatenated(frames: Iterable[pd.DataFrame], reader: Reader, origin: str) -> Reader:
    """Give all parts of a table to a reader."""
    for frame in frames:
        reader.add(frame, origin)
    return reader
