"""Schema of a clinical table: its columns with units, plausible ranges and values.

``inspect`` proposes a schema and a person reviews it; training, evaluation, prediction and serving
enforce it. Messages about a row name its number, the column and the rule, never a patient's value.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
UNIQUE_KINDS: tuple[Kind, ...] = ("patient", "site", "time", "outcome", "split")  # one column each
MAX_OUTSIDE_SHARE = 0.2  # a larger share of a column outside its range suggests another unit
MIN_VALUES = 20  # a share of fewer values says little
DAY = np.timedelta64(1, "D")

# Marks rows (size,) bool as invalid: a column, '' for several, and what it breaks. The first breach
# of a row counts.
Reject = Callable[[np.ndarray, str, str], None]


class Column(BaseModel):
    """Rules for one column.

    Attributes:
        kind: the model's inputs are ``number``, ``category``, ``boolean`` and ``date``, the last
            one as days from the date to the row's ``time``. A ``patient`` stays in one split.
        unit, min, max: unit and plausible range of a number; rows outside it are rejected.
        missing: texts that mean a missing value, like an empty cell.
        values: the allowed values of a category.
        yes, no: the texts for the two values of a boolean or of the outcome.
        bands: borders that divide a number into subgroups of patients.
        subgroup: whether the values of a category or boolean are reported as subgroups; those of
            a site always are.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    kind: Kind
    unit: str = ""
    min: float | None = None
    max: float | None = None
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
        if self.kind in ("boolean", "outcome") and len({self.yes, self.no} - {""}) < 2:
            raise ValueError(f"{self.kind} needs two different texts, yes and no")
        if self.bands and self.kind not in ("number", "ignored"):
            raise ValueError(f"bands are for kind number, not {self.kind}")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError("min must be below max")
        return self

    @property
    def range(self) -> str:
        """The plausible range with its unit, such as ``0 to 120 years``."""
        low = "any" if self.min is None else f"{self.min:g}"
        high = "any" if self.max is None else f"{self.max:g}"
        return f"{low} to {high} {self.unit}".strip()


@dataclass(frozen=True)
class Records:
    """Valid rows of a table, parsed.

    Attributes:
        rows: (size,) int row numbers in the table, from 1.
        numbers: (size, numbers) float32 in the order of ``Schema.numbers``, NaN where missing.
        categories: (size, categories) text in the order of ``Schema.categories``, '' where missing.
        outcome: (size,) float32, 1 for yes; (0,) if the table has no outcome.
        patients, sites, splits: (size,) text; '' if the schema has no such column.
        times: (size,) float64 days since 1970; NaN if the schema has no such column.
        breaches: row number -> the column, '' for several, and the rule that a rejected row breaks.
    """

    rows: np.ndarray
    numbers: np.ndarray
    categories: np.ndarray
    outcome: np.ndarray
    patients: np.ndarray
    sites: np.ndarray
    splits: np.ndarray
    times: np.ndarray
    breaches: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """``(row, reason)`` of each rejected row."""
        return tuple(
            (f"row {row}", f"{name} {reason}".strip())
            for row, (name, reason) in self.breaches.items()
        )


class Schema(BaseModel):
    """The columns of a table, by name.

    Attributes:
        reviewed_by: the person who has reviewed the schema; training on a user's data requires it.
        columns: the rules for each column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reviewed_by: str = ""
    columns: dict[str, Column] = Field(min_length=2)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for kind in UNIQUE_KINDS:
            names = self.names_of(kind)
            if len(names) > 1:
                raise ValueError(f"one column may be of kind {kind}, not {', '.join(names)}")
        if not self.outcome:
            raise ValueError("no column is of kind outcome")
        if not self.numbers and not self.categories:
            raise ValueError("no column is a number, category, boolean or date")
        if self.names_of("date") and not self.time:
            raise ValueError(
                "kind date needs a column of kind time: dates become days before the row's time"
            )
        return self

    def names_of(self, *kinds: Kind) -> tuple[str, ...]:
        """Return the names of the columns of these kinds, in the schema's order."""
        return tuple(name for name, column in self.columns.items() if column.kind in kinds)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the columns that are parsed into numbers."""
        return self.names_of("number", "boolean", "date")

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the columns of kind category."""
        return self.names_of("category")

    @property
    def outcome(self) -> str:
        """Name of the outcome's column."""
        return self._name_of("outcome")

    @property
    def patient(self) -> str:
        """Name of the patient's column; '' without one."""
        return self._name_of("patient")

    @property
    def site(self) -> str:
        """Name of the site's column; '' without one."""
        return self._name_of("site")

    @property
    def time(self) -> str:
        """Name of the time's column; '' without one."""
        return self._name_of("time")

    @property
    def split(self) -> str:
        """Name of the split's column; '' without one."""
        return self._name_of("split")

    @property
    def digest(self) -> str:
        """A hash of all columns; independent of ``reviewed_by``."""
        columns = self.model_dump(mode="json")["columns"]
        return hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """Return the schema as YAML without defaults, for a person to review."""
        columns = {
            name: column.model_dump(mode="json", exclude_defaults=True)
            for name, column in self.columns.items()
        }
        content = {"reviewed_by": self.reviewed_by, "columns": columns}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

    def parse(
        self, frame: pd.DataFrame, for_prediction: bool = False, row_offset: int = 0
    ) -> Records:
        """Parse a table and reject the rows that break a rule.

        Args:
            frame: cells of any type; empty cells and NaN are missing values.
            for_prediction: whether the rows are to be predicted; they need no outcome, patient,
                site or split then.
            row_offset: number of rows of the table before these.

        Returns:
            The valid rows, and for each rejected row the first rule that it breaks.

        Raises:
            DataProblem: a column is missing, unknown or empty, or seems to be in another unit.
        """
        required = [
            name
            for name, column in self.columns.items()
            if self._is_required(column.kind, for_prediction)
        ]
        _check_columns(required, self.columns, frame, for_prediction)
        cells = {name: to_text(frame[name]) for name in required}
        return self.parse_texts(cells, for_prediction, row_offset)

    def parse_texts(
        self,
        cells: Mapping[str, np.ndarray],
        for_prediction: bool = False,
        row_offset: int = 0,
        suspect_units: bool = True,
    ) -> Records:
        """Parse columns that are texts already, see ``parse``.

        Args:
            cells: column -> (size,) text, '' where missing.
            for_prediction: whether the rows are to be predicted.
            row_offset: number of rows of the table before these.
            suspect_units: whether many values outside a range are an error of the whole table.

        Raises:
            DataProblem: a column is empty, or seems to be in another unit.
        """
        cells = {name: self._blank_missing(name, texts) for name, texts in cells.items()}
        size = len(next(iter(cells.values())))
        valid = np.ones(size, dtype=bool)
        breaches: dict[int, tuple[str, str]] = {}

        def reject(invalid: np.ndarray, name: str, reason: str) -> None:
            for i in np.flatnonzero(invalid & valid):
                breaches[row_offset + int(i) + 1] = (name, reason)
            valid[invalid] = False

        times = np.full(size, np.nan)
        if self.time in cells:
            times = to_days(cells[self.time])
            reject(cells[self.time] == "", self.time, "is missing")
            reject(np.isnan(times), self.time, "is not a date")
            reject(times > _today() + 1, self.time, "lies in the future")
        numbers = np.full((size, len(self.numbers)), np.nan, "float32")
        for i, name in enumerate(self.numbers):
            numbers[:, i] = self._parse_numbers(name, cells[name], times, reject, suspect_units)
        categories = np.full((size, len(self.categories)), "", dtype=object)
        for i, name in enumerate(self.categories):
            values, present = cells[name], cells[name] != ""
            unknown = present & ~np.isin(values, self.columns[name].values)
            reject(unknown, name, "is not in values")
            categories[:, i] = values
        if size and not for_prediction:
            self._check_not_empty(numbers, categories)
        no_number, no_category = np.isnan(numbers).all(axis=1), (categories == "").all(axis=1)
        reject(no_number & no_category, "", "every value is missing")
        outcome = np.zeros(0, "float32")
        if self.outcome in cells:
            outcome = self._parse_boolean(self.outcome, cells[self.outcome], reject)
            reject(np.isnan(outcome), self.outcome, "is missing")
        if self.patient in cells:
            reject(cells[self.patient] == "", self.patient, "is missing")
        no_texts = np.full(size, "", dtype=object)
        return Records(
            rows=row_offset + np.arange(1, size + 1)[valid],
            numbers=numbers[valid],
            categories=categories[valid],
            outcome=outcome[valid] if len(outcome) else outcome,
            patients=cells.get(self.patient, no_texts)[valid],
            sites=cells.get(self.site, no_texts)[valid],
            splits=cells.get(self.split, no_texts)[valid],
            times=times[valid],
            breaches=dict(sorted(breaches.items())),
        )

    def _blank_missing(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return the cells (size,) of a column with '' for the texts that mean a missing value."""
        missing = self.columns[name].missing
        return np.where(np.isin(cells, missing), "", cells) if missing else cells

    def _name_of(self, kind: Kind) -> str:
        return next(iter(self.names_of(kind)), "")

    def _is_required(self, kind: Kind, for_prediction: bool) -> bool:
        if for_prediction and kind in ("outcome", "patient", "site", "split"):
            return False
        if for_prediction and kind == "time":
            return bool(self.names_of("date"))
        return kind != "ignored"

    def _parse_numbers(
        self,
        name: str,
        cells: np.ndarray,
        times: np.ndarray,
        reject: Reject,
        suspect_units: bool,
    ) -> np.ndarray:
        column = self.columns[name]
        present = cells != ""
        if column.kind == "boolean":
            return self._parse_boolean(name, cells, reject)
        if column.kind == "date":
            days = to_days(cells)
            reject(present & np.isnan(days), name, "is not a date")
            reject(times - days < 0, name, f"lies after {self.time}")
            return times - days
        values = pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy("float64")
        reject(present & ~np.isfinite(values), name, "is not a number")
        low = -np.inf if column.min is None else column.min
        high = np.inf if column.max is None else column.max
        outside = (values < low) | (values > high)
        # Rows of another unit are no outliers: leaving them out would train on the rest.
        many = present.sum() >= MIN_VALUES and outside.sum() > MAX_OUTSIDE_SHARE * present.sum()
        if suspect_units and many:
            raise DataProblem(
                f"column {name!r}: {outside.sum() / present.sum():.0%} of its values are outside "
                f"the plausible range, {column.range}; it may be in another unit."
            )
        reject(outside, name, f"is outside {column.range}")
        return values

    def _parse_boolean(self, name: str, cells: np.ndarray, reject: Reject) -> np.ndarray:
        """Return (size,) float32: 1 for yes, 0 for no, NaN where missing."""
        column = self.columns[name]
        values = np.where(cells == column.yes, 1.0, np.where(cells == column.no, 0.0, np.nan))
        neither = f"is neither {column.yes} nor {column.no}"
        reject(np.isnan(values) & (cells != ""), name, neither)
        return values.astype("float32")

    def _check_not_empty(self, numbers: np.ndarray, categories: np.ndarray) -> None:
        present = [~np.isnan(column) for column in numbers.T] + [c != "" for c in categories.T]
        for name, values in zip((*self.numbers, *self.categories), present, strict=True):
            if not values.any():
                raise DataProblem(
                    f"column {name!r}: every value is missing; give an empty column kind: ignored."
                )


class _Loader(yaml.SafeLoader):
    """Load ``yes`` and ``no`` as strings, as the cells of a table have them, not as booleans."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        sign: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:bool"]
        for sign, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_schema(path: Path, field: str = "data.schema_file") -> Schema:
    """Read a schema from a YAML file.

    Args:
        path: the file.
        field: the configuration field that names the file, for messages.

    Raises:
        UsageProblem: the file does not exist or is not a valid schema.
    """
    try:
        return Schema.model_validate(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    except OSError as error:
        raise UsageProblem(f"{field}: {str(path)!r}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{field}: {str(path)!r} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(map(str, first["loc"])) or "the schema"
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageProblem(f"{field}: {str(path)!r}: {location}: {reason}.") from None


def _check_columns(
    required: list[str], columns: Iterable[str], frame: pd.DataFrame, for_prediction: bool
) -> None:
    names = [str(name) for name in frame.columns]
    unlisted = [name for name in names if name not in columns]
    for name in names:
        if names.count(name) > 1:
            raise DataProblem(f"column {name!r} occurs twice.")
    for name in required:
        if name not in names:
            nearest = difflib.get_close_matches(name, unlisted, n=1, cutoff=0.5)
            hint = f" Has it been renamed to {nearest[0]!r}?" if nearest else ""
            raise DataProblem(f"column {name!r} of the schema is missing.{hint}")
    if unlisted and not for_prediction:
        raise DataProblem(
            f"column {unlisted[0]!r} is not in the schema; to leave it out, add it with "
            "kind: ignored."
        )


def _today() -> float:
    return float((np.datetime64("today") - np.datetime64("1970-01-01")) / DAY)


def to_text(values: pd.Series) -> np.ndarray:
    """Convert cells to text (size,), '' where missing; whole numbers have no decimal point."""
    present = values.dropna()
    is_whole = pd.api.types.is_float_dtype(values) and (present % 1 == 0).all()
    if is_whole and (present < 2**53).all():
        values = values.astype("Int64")
    texts = values.astype(object).where(values.notna(), "")
    return texts.astype(str).str.strip().to_numpy(dtype=object)


def to_days(cells: np.ndarray) -> np.ndarray:
    """Parse ISO 8601 dates (size,) into float64 days since 1970, NaN for other text."""
    dates = pd.to_datetime(pd.Series(cells), errors="coerce", utc=True, format="ISO8601")
    days = dates.dt.tz_localize(None).to_numpy("datetime64[s]").astype("datetime64[D]")
    return np.where(np.isnat(days), np.nan, (days - np.datetime64("1970-01-01")) / DAY)
