"""Read interactions and features from tables, chunk by chunk."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import DataConfig
from ..engine.errors import DataProblem
from .frames import read_chunks
from .interactions import Interactions, sort_interactions


@dataclass
class InteractionReader:
    """Collect interactions from chunks of a table.

    Ids are replaced by integers on the way, so that a long log takes 24 bytes an interaction.

    Attributes:
        unreadable: ``(row number, reason)`` of the rows that were skipped.
        rows: number of rows read so far.
    """

    data: DataConfig
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0

    def __post_init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._chunks: list[tuple[np.ndarray, ...]] = []

    def extend(self, chunks: Iterable[pd.DataFrame], origin: str) -> "InteractionReader":
        """Add all chunks of a table; return the reader itself.

        Args:
            chunks: all with the same columns.
            origin: file or field, for error messages.

        Raises:
            DataProblem: a configured column is missing.
        """
        for chunk in chunks:
            self.add(chunk, origin)
        return self

    def add(self, chunk: pd.DataFrame, origin: str) -> None:
        """Add the interactions of one chunk.

        Args:
            chunk: a row for each interaction.
            origin: file or field, for error messages.

        Raises:
            DataProblem: a configured column is missing.
        """
        data = self.data
        columns = [data.user_column, data.item_column, data.timestamp_column]
        columns += [data.rating_column] if data.rating_column else []
        for name in columns:
            if name not in chunk:
                found = ", ".join(map(str, chunk.columns))
                raise DataProblem(f"{origin}: there is no column {name!r}; found: {found}.")
        first_row = self.rows + 1
        self.rows += len(chunk)
        users, items = _to_text(chunk[data.user_column]), _to_text(chunk[data.item_column])
        times = _to_seconds(chunk[data.timestamp_column])
        ratings = np.ones(len(chunk))
        if data.rating_column:
            ratings = _to_numbers(chunk[data.rating_column])
        weights = self._weights(ratings)
        problems = (
            (users == "", f"{data.user_column} is missing"),
            (items == "", f"{data.item_column} is missing"),
            (~np.isfinite(times), f"{data.timestamp_column} is not a time"),
            (~np.isfinite(ratings), f"{data.rating_column} is not a number"),
            (weights < 0, f"{data.rating_column} is negative"),
        )
        bad = np.zeros(len(chunk), dtype=bool)
        for mask, reason in problems:
            rows = np.flatnonzero(mask & ~bad)
            self.unreadable += [(str(first_row + row), reason) for row in rows]
            bad |= mask
        good = ~bad
        self._chunks.append(
            (
                _encode_ids(users[good], self._users),
                _encode_ids(items[good], self._items),
                times[good],
                weights[good],
            )
        )

    def interactions(self) -> Interactions:
        """Return all interactions read so far.

        Raises:
            DataProblem: there are none, or too many rows were skipped.
        """
        if self.rows == 0:
            source = self.data.path or self.data.source
            raise DataProblem(f"data: there are no interactions in {source!r}.")
        self.check_unreadable()
        columns = (np.concatenate(part) for part in zip(*self._chunks, strict=True))
        ids = (np.array(list(numbers), dtype=object) for numbers in (self._users, self._items))
        return sort_interactions(*columns, *ids)

    def check_unreadable(self) -> None:
        """Refuse a table of which more than ``data.max_unreadable`` cannot be used.

        Raises:
            DataProblem: too many rows were skipped.
        """
        data = self.data
        if len(self.unreadable) > data.max_unreadable * self.rows:
            row, reason = self.unreadable[0]
            raise DataProblem(
                f"data: {len(self.unreadable)} of {self.rows} rows cannot be used, more than "
                f"data.max_unreadable={data.max_unreadable:g} allows; the first is row {row}: "
                f"{reason}."
            )

    def _weights(self, ratings: np.ndarray) -> np.ndarray:
        if self.data.min_rating is None:
            return ratings
        positive = (ratings >= self.data.min_rating).astype("float64")
        return np.where(np.isnan(ratings), np.nan, positive)


def read_features(
    path: str, column: str, field_name: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read a csv or parquet file of features.

    Args:
        column: the column of ids.
        field_name: the ``data`` field that names the file, for error messages.

    Returns:
        Ids (size,), and all other columns (size,) as text by name.

    Raises:
        DataProblem: there is no such file or column, or an id occurs twice.
    """
    file = Path(path)
    if not file.is_file():
        raise DataProblem(f"data.{field_name}: {path!r} is not a file.")
    frame = pd.concat(list(read_chunks(file)), ignore_index=True)
    if column not in frame:
        found = ", ".join(map(str, frame.columns))
        raise DataProblem(f"{path}: there is no column {column!r}; found: {found}.")
    ids = _to_text(frame[column])
    duplicates = frame[column][frame[column].duplicated()]
    if len(duplicates):
        raise DataProblem(
            f"{path}: {str(duplicates.iloc[0])!r} occurs more than once in column {column!r}."
        )
    others = [name for name in frame.columns if name != column]
    return ids, {str(name): _to_text(frame[name]) for name in others}


def _to_text(values: pd.Series) -> np.ndarray:
    # pandas reads integers as 1.0 where some are missing; as an id it must be 1, as in other files.
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    text = values.astype(object).where(values.notna(), "")
    return text.astype(str).str.strip().to_numpy(dtype=object)


def _to_numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)


def _to_seconds(values: pd.Series) -> np.ndarray:
    """Parse times (rows,): numbers as they are, dates as seconds since 1970, NaN for the rest."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return _to_epoch_seconds(values)
    numbers = _to_numbers(values)
    if np.isfinite(numbers).all():
        return numbers
    dates = _to_epoch_seconds(pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601"))
    # By majority: a zero among dates must not turn the dates into unreadable numbers.
    return dates if np.isfinite(dates).sum() > np.isfinite(numbers).sum() else numbers


def _to_epoch_seconds(dates: pd.Series) -> np.ndarray:
    # Microseconds, as nanoseconds overflow in 2262: 9999-12-31 is a common date for "never".
    seconds = dates.to_numpy("datetime64[us]").astype("float64") / 1e6
    return np.where(dates.isna(), np.nan, seconds)


def _encode_ids(ids: np.ndarray, numbers: dict[str, int]) -> np.ndarray:
    """Replace ids (rows,) by their numbers, and number new ones in ``numbers``."""
    codes, distinct = pd.factorize(ids)
    encoded = np.array([numbers.setdefault(name, len(numbers)) for name in distinct], "int32")
    return encoded[codes] if len(codes) else np.zeros(0, "int32")
