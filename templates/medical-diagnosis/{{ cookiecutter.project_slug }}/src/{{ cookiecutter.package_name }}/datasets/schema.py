"""What a clinical table must look like: its columns with units, plausible ranges and values.

A schema is written by ``inspect_data`` and reviewed by a person. Training, evaluation, prediction
and serving keep to it. What it finds wrong with a row is said with the row's number, the column and
the rule, never with the value.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..engine.errors import DataProblem, UsageProblem

Kind = Literal[
    "number",
    "category",
    "boolean",
    "date",
    "patient",
    "site",
    "time",
    "outcome",
    "split",
    "ignored",
]
ONCE = ("patient", "site", "time", "outcome", "split")  # kinds that one column may have
# How tables write the splits.
MISPLACED = 0.2  # share of a column outside its range from which its unit is doubted
FEWEST = 20  # values from which a share says something
DAY = np.timedelta64(1, "D")


class Column(BaseModel):
    """What a column holds.

    Attributes:
        kind: ``number``, ``category``, ``boolean`` and ``date`` are what a model sees; a date
            as the days from it to the ``time`` of the row. A split keeps a ``patient`` together.
        unit, least, most: of a number; outside this range it is implausible.
        missing: texts that stand for a missing value, as an empty cell does.
        values: of a category.
        yes, no: how a boolean or the outcome is written.
        bands: borders by which a number makes subgroups of patients.
        subgroup: whether a category or boolean makes subgroups; a site always does.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    kind: Kind
    unit: str = ""
    least: float | None = None
    most: float | None = None
    missing: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    yes: str = ""
    no: str = ""
    bands: tuple[float, ...] = ()
    subgroup: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind == "category" and (len(set(self.values)) < 2 or "" in self.values):
            raise ValueError("a category needs at least two values, and none of them empty")
        written = {self.yes, self.no} - {""}
        if self.kind in ("boolean", "outcome") and len(written) < 2:
            raise ValueError(f"{self.kind} needs yes and no: how the two are written")
        if self.bands and self.kind not in ("number", "ignored"):
            raise ValueError("bands are for numbers")
        if self.least is not None and self.most is not None and self.least >= self.most:
            raise ValueError("least must be below most")
        return self

    @property
    def range(self) -> str:
        """The plausible range with its unit, for messages."""
        low = "any" if self.least is None else f"{self.least:g}"
        high = "any" if self.most is None else f"{self.most:g}"
        return f"{low} to {high} {self.unit}".strip()


@dataclass(frozen=True)
class Records:
    """Rows of a table as the schema understands them.

    Attributes:
        rows: (size,) their numbers in the table, from 1 on.
        numbers: (size, numbers) float32, NaN where missing; columns as in ``Schema.numbers``.
        categories: (size, categories) text, '' where missing; columns as in ``Schema.categories``.
        outcome: (size,) float32, 1 for yes; without an outcome empty.
        patients, sites, splits: (size,) text; '' where there is no such column.
        times: (size,) float64, days since 1970; NaN where there is no such column.
        problems: ``(row, reason)`` of the rows that are left out.
    """

    rows: np.ndarray
    numbers: np.ndarray
    categories: np.ndarray
    outcome: np.ndarray
    patients: np.ndarray
    sites: np.ndarray
    splits: np.ndarray
    times: np.ndarray
    problems: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


class Schema(BaseModel):
    """All columns of a table.

    Attributes:
        reviewed_by: who has read it; training on one's own data begins once there is a name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reviewed_by: str = ""
    columns: dict[str, Column] = Field(min_length=2)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for kind in ONCE:
            if len(self.of(kind)) > 1:
                raise ValueError(f"two columns are of kind {kind}: {', '.join(self.of(kind))}")
        if not self.outcome:
            raise ValueError("no column is of kind outcome")
        if not self.numbers and not self.categories:
            raise ValueError("no column is a number, category, boolean or date")
        if self.of("date") and not self.time:
            raise ValueError(
                "dates become days before the row's time: a column must be of kind time"
            )
        return self

    def of(self, *kinds: Kind) -> tuple[str, ...]:
        """Names of the columns of these kinds."""
        return tuple(name for name, column in self.columns.items() if column.kind in kinds)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that become numbers."""
        return self.of("number", "boolean", "date")

    @property
    def categories(self) -> tuple[str, ...]:
        return self.of("category")

    @property
    def outcome(self) -> str:
        return self._single("outcome")

    @property
    def patient(self) -> str:
        return self._single("patient")

    @property
    def site(self) -> str:
        return self._single("site")

    @property
    def time(self) -> str:
        return self._single("time")

    @property
    def split(self) -> str:
        return self._single("split")

    @property
    def digest(self) -> str:
        """A hash of all columns, whoever has reviewed them."""
        columns = self.model_dump(mode="json")["columns"]
        return hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """As a person reads and corrects it."""
        columns = {
            name: column.model_dump(mode="json", exclude_defaults=True)
            for name, column in self.columns.items()
        }
        named = {"reviewed_by": self.reviewed_by, "columns": columns}
        return yaml.safe_dump(named, sort_keys=False, allow_unicode=True)

    def parse(self, frame: pd.DataFrame, asked: bool = False, before: int = 0) -> Records:
        """Rows of a table, without those that break a rule.

        Args:
            frame: cells of any type; empty ones and NaN are missing.
            asked: the rows are to be predicted: they need no outcome, patient, site or split.
            before: rows of the table that stand before these.

        Raises:
            DataProblem: a column is missing or unknown, or is written in another unit.
        """
        needed = [n for n, c in self.columns.items() if self._is_needed(c.kind, asked)]
        _check_columns(needed, self.columns, frame, asked)
        cells = {name: self._cells(name, frame[name]) for name in needed}
        size = len(frame)
        reasons = np.full(size, "", dtype=object)

        def blame(wrong: np.ndarray, reason: str) -> None:
            reasons[wrong & (reasons == "")] = reason

        times = np.full(size, np.nan)
        if self.time in cells:
            times = as_days(cells[self.time])
            blame(cells[self.time] == "", f"{self.time} is missing")
            blame(np.isnan(times), f"{self.time} is not a date")
            blame(times > _today() + 1, f"{self.time} lies in the future")
        numbers = np.full((size, len(self.numbers)), np.nan, "float32")
        for place, name in enumerate(self.numbers):
            numbers[:, place] = self._number(name, cells[name], times, blame)
        categories = np.full((size, len(self.categories)), "", dtype=object)
        for place, name in enumerate(self.categories):
            values, there = cells[name], cells[name] != ""
            blame(there & ~np.isin(values, self.columns[name].values), f"{name} is not in values")
            categories[:, place] = values
        if size and not asked:
            self._check_filled(numbers, categories)
        blame(
            np.isnan(numbers).all(axis=1) & (categories == "").all(axis=1), "every value is missing"
        )
        outcome = np.zeros(size if self.outcome in cells else 0, "float32")
        if self.outcome in cells:
            outcome = self._yes(self.outcome, cells[self.outcome], blame)
            blame(np.isnan(outcome), f"{self.outcome} is missing")
        if self.patient in cells:
            blame(cells[self.patient] == "", f"{self.patient} is missing")
        nothing = np.full(size, "", dtype=object)
        texts = [cells.get(name, nothing) for name in (self.patient, self.site, self.split)]
        good = reasons == ""
        return Records(
            before + np.arange(1, size + 1)[good],
            numbers[good],
            categories[good],
            outcome[good] if len(outcome) else outcome,
            *(values[good] for values in texts),
            times[good],
            tuple((f"row {before + i + 1}", reasons[i]) for i in np.flatnonzero(~good)),
        )

    def _cells(self, name: str, values: pd.Series) -> np.ndarray:
        """Cells (size,) of a column as text, '' where missing."""
        cells, missing = as_text(values), self.columns[name].missing
        return np.where(np.isin(cells, missing), "", cells) if missing else cells

    def _single(self, kind: Kind) -> str:
        return next(iter(self.of(kind)), "")

    def _is_needed(self, kind: Kind, asked: bool) -> bool:
        if asked and kind in ("outcome", "patient", "site", "split"):
            return False
        if asked and kind == "time":
            return bool(self.of("date"))
        return kind != "ignored"

    def _number(
        self, name: str, cells: np.ndarray, times: np.ndarray, blame: Callable
    ) -> np.ndarray:
        column = self.columns[name]
        there = cells != ""
        if column.kind == "boolean":
            return self._yes(name, cells, blame)
        if column.kind == "date":
            values = as_days(cells)
            blame(there & np.isnan(values), f"{name} is not a date")
            values = times - values
            blame(values < 0, f"{name} lies after {self.time}")
            return values
        values = pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy("float64")
        blame(there & ~np.isfinite(values), f"{name} is not a number")
        low = -np.inf if column.least is None else column.least
        high = np.inf if column.most is None else column.most
        outside = (values < low) | (values > high)
        if there.sum() >= FEWEST and outside.sum() > MISPLACED * there.sum():
            raise DataProblem(
                f"column {name!r}: {outside.sum() / there.sum():.0%} of its values are outside the "
                f"plausible range, {column.range}; it may be in another unit."
            )
        blame(outside, f"{name} is outside {column.range}")
        return values

    def _yes(self, name: str, cells: np.ndarray, blame: Callable) -> np.ndarray:
        """1 for yes, 0 for no, NaN where missing."""
        column = self.columns[name]
        values = np.where(cells == column.yes, 1.0, np.where(cells == column.no, 0.0, np.nan))
        blame(np.isnan(values) & (cells != ""), f"{name} is neither {column.yes} nor {column.no}")
        return values.astype("float32")

    def _check_filled(self, numbers: np.ndarray, categories: np.ndarray) -> None:
        filled = [~np.isnan(column) for column in numbers.T] + [c != "" for c in categories.T]
        for name, there in zip((*self.numbers, *self.categories), filled, strict=True):
            if not there.any():
                raise DataProblem(
                    f"column {name!r}: every value is missing; a column without any is of kind "
                    "ignored."
                )


class _Loader(yaml.SafeLoader):
    """Reads yes and no as the words that they are in a table."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        sign: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:bool"]
        for sign, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(path: Path, field: str = "data.schema_file") -> Schema:
    """A schema from its file.

    Raises:
        UsageProblem: it is not there, or says what cannot be.
    """
    try:
        return Schema.model_validate(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    except OSError as error:
        raise UsageProblem(f"{field}: {str(path)!r}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{field}: {str(path)!r} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the schema"
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageProblem(f"{field}: {str(path)!r}: {place}: {reason}.") from None


def _check_columns(
    needed: list[str], columns: Iterable[str], frame: pd.DataFrame, asked: bool
) -> None:
    found = [str(name) for name in frame.columns]
    unlisted = [name for name in found if name not in columns]
    for name in found:
        if found.count(name) > 1:
            raise DataProblem(f"column {name!r} stands there twice.")
    for name in needed:
        if name not in found:
            nearest = difflib.get_close_matches(name, unlisted, n=1, cutoff=0.5)
            hint = f" Is it {nearest[0]!r} now?" if nearest else ""
            raise DataProblem(f"column {name!r} of the schema is missing.{hint}")
    if unlisted and not asked:
        raise DataProblem(
            f"column {unlisted[0]!r} is not in the schema; if it is not to be used, write it there "
            "with kind: ignored."
        )


def _today() -> float:
    return float((np.datetime64("today") - np.datetime64("1970-01-01")) / DAY)


def as_text(values: pd.Series) -> np.ndarray:
    """Cells (size,) as text, '' where missing; whole numbers without a point."""
    known = values.dropna()
    if pd.api.types.is_float_dtype(values) and (known % 1 == 0).all() and (known < 2**53).all():
        values = values.astype("Int64")
    shown = values.astype(object).where(values.notna(), "")
    return shown.astype(str).str.strip().to_numpy(dtype=object)


def as_days(cells: np.ndarray) -> np.ndarray:
    """Dates (size,) as days since 1970, NaN for what is none."""
    dates = pd.to_datetime(pd.Series(cells), errors="coerce", utc=True, format="ISO8601")
    days = dates.dt.tz_localize(None).to_numpy("datetime64[s]").astype("datetime64[D]")
    return np.where(np.isnat(days), np.nan, (days - np.datetime64("1970-01-01")) / DAY)
