"""Sources of clinical tables, and their way into training, validation and test.

A source takes the ``data`` fields and gives a ``Table``. To add one, write such a function and add
a line to ``SOURCES`` in ``registry.py``. A patient is never on two sides of a split.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config, DataConfig
from .datasets import cohort
from .datasets import identifier_check as guard
from .datasets.frames import concat_chunks, read_database, read_file
from .datasets.schema import Records, Schema, as_text, read
from .datasets.splits import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    assign_splits,
    merge_groups,
    sample_stratified,
    split_examples,
)
from .datasets.target_leakage import find_giveaways
from .engine.config_loader import without_password
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import DatasetSplits, Split
from .engine.lookup import find
from .evaluation import clinical_metrics as clinical
from .registry import SOURCES

if TYPE_CHECKING:
    from .preprocessing import Preprocessing

log = logging.getLogger(__package__)

LEFT_OUT = ""


@dataclass(frozen=True)
class Table:
    """What a source gives.

    Attributes:
        frame: its rows.
        schema: None: that of ``data.schema_file``.
        risk: (rows,) the true risks of generated patients.
        own: it is the user's, so what may tell who a patient is is refused.
    """

    frame: pd.DataFrame
    schema: Schema | None = None
    risk: np.ndarray | None = None
    own: bool = True


@dataclass(frozen=True)
class Visits(Split):
    """A split of rows, a visit of a patient each.

    ``fetch`` gives ``numbers`` (batch, numbers) float32, NaN where missing, and ``categories``
    (batch, categories) text, '' where missing. Targets (size,) float32 are 1 where the outcome is
    yes. Ids are the rows' numbers in the table.

    Attributes:
        schema: of the table.
        numbers, categories: what ``fetch`` gives, of all rows.
        patients, sites: (size,) text, '' where there is no such column.
        subgroups: column -> (size,) the subgroup of each row, '' where it is missing.
        risk: (size,) true risks of generated patients.
    """

    schema: Schema | None = None
    numbers: np.ndarray | None = None
    categories: np.ndarray | None = None
    patients: np.ndarray | None = None
    sites: np.ndarray | None = None
    subgroups: dict[str, np.ndarray] = field(default_factory=dict)
    risk: np.ndarray | None = None

    @property
    def people(self) -> np.ndarray:
        """Patients (size,); without a column of them, each row is one."""
        return self.patients if self.schema.patient else self.ids


# === Sources ===


def breast_cancer(data: DataConfig) -> Table:
    """569 tumours of the Wisconsin diagnostic set, a real one that scikit-learn ships: sizes and
    shapes of cell nuclei, malignant or benign (Street, Wolberg & Mangasarian, 1993)."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True)
    frame = found.data.assign(diagnosis=np.where(found.target == 0, "malignant", "benign"))
    numbers = {name: {"kind": "number", "least": 0} for name in found.feature_names}
    outcome = {"kind": "outcome", "yes": "malignant", "no": "benign"}
    return Table(frame, _source_schema({**numbers, "diagnosis": outcome}), own=False)


def synthetic_cohort(data: DataConfig) -> Table:
    """A generated cohort of 2,500 patients; the true risks are known."""
    made = cohort.generate()
    return Table(made.frame, _source_schema(cohort.COLUMNS), made.risk, own=False)


def table(data: DataConfig) -> Table:
    """A csv or parquet file with a row for each patient, or each visit of one."""
    return Table(_whole(read_file(data), data))


def sql(data: DataConfig) -> Table:
    """What ``data.query`` gives, from the database at ``data.path`` (an SQLAlchemy address)."""
    return Table(_whole(read_database(data), data))


# === From tables to splits ===


def load(config: Config, preprocessing: "Preprocessing | None" = None) -> DatasetSplits:
    """Read the configured source, keep to its schema, and divide it by patients.

    Args:
        preprocessing: of a model that is to be evaluated, whose own schema then counts.

    Raises:
        DataProblem: a column or too many rows break the schema, or there is nothing to learn.
    """
    data = config.data
    read_in = find(SOURCES, data.source)(data)
    found = replace(read_in, schema=_schema(read_in, data, preprocessing))
    records = _records(found, data)
    risk = None if found.risk is None else found.risk[records.rows - 1]
    if data.limit and data.limit < len(records):
        few = sample_stratified(
            _labels(records), records.splits if found.schema.split else None, data
        )
        records, risk = _take(records, few), None if risk is None else risk[few]
    rows = _row_keys(records)
    # Without a column of patients each row is one, and its copies are the same.
    keys = records.patients if found.schema.patient else rows
    parts = _divide(records, keys, found.schema, data)
    for name, value in find_giveaways(records, found.schema).items():
        log.warning(
            "column %r tells the outcome nearly always (AUROC %.3f alone): is it known before?",
            name,
            value,
        )
    groups = subgroups(records, found.schema)
    splits = {}
    for name in (TRAIN, VALIDATION, TEST):
        places = np.flatnonzero(parts == name)
        splits[name] = visits(
            _take(records, places),
            found.schema,
            {column: values[places] for column, values in groups.items()},
            None if risk is None else risk[places],
        )
    _check(splits, data)
    if config.train.imbalance == "resample":
        drawn = _oversample(splits[TRAIN].targets, data.split_seed)
        splits[TRAIN] = replace(splits[TRAIN], sampled=drawn)
    return DatasetSplits(
        source=data.source,
        digest=_digest(rows, parts, found.schema),
        **splits,
        duplicates=len(rows) - len(np.unique(rows)),
        unreadable=records.problems,
        notes=_notes(splits, int((parts == LEFT_OUT).sum()), found, data),
    )


def visits(
    records: Records,
    schema: Schema,
    groups: dict[str, np.ndarray] | None = None,
    risk: np.ndarray | None = None,
) -> Visits:
    """Rows as examples that can be fetched by position."""
    with tf.device("CPU:0"):
        numbers = tf.constant(records.numbers)
        categories = tf.constant(records.categories.astype(object), tf.string)

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "numbers": tf.gather(numbers, positions),
            "categories": tf.gather(categories, positions),
        }

    return Visits(
        ids=records.rows.astype(str).astype(object),
        targets=records.outcome,
        fetch=fetch,
        schema=schema,
        numbers=records.numbers,
        categories=records.categories,
        patients=records.patients,
        sites=records.sites,
        subgroups=groups or {},
        risk=risk,
    )


def subgroups(records: Records, schema: Schema) -> dict[str, np.ndarray]:
    """Column -> (size,) the subgroup of each row, '' where it is missing."""
    groups = {}
    for name, column in schema.columns.items():
        if column.subgroup and column.kind == "category":
            groups[name] = records.categories[:, schema.categories.index(name)]
        elif column.subgroup and column.kind == "boolean":
            values = records.numbers[:, schema.numbers.index(name)]
            written = np.where(values > 0, column.yes, column.no)
            groups[name] = np.where(np.isnan(values), "", written)
        elif column.bands and column.kind == "number":
            values = records.numbers[:, schema.numbers.index(name)]
            groups[name] = _assign_bands(values, column.bands, column.unit)
    return groups


def _records(found: Table, data: DataConfig) -> Records:
    """All rows that keep to the schema."""
    if found.own:
        allowed = {name.strip() for name in (data.allow or "").split(",")}
        guard.check(_columns_to_check(found), allowed, _people(found))
    records = found.schema.parse(found.frame)
    rows = len(found.frame)
    if len(records.problems) > data.max_unreadable * rows:
        row, reason = records.problems[0]
        raise DataProblem(
            f"data: {len(records.problems)} of {rows} rows cannot be used, more than "
            f"data.max_unreadable {data.max_unreadable:g} allows; the first is {row}: {reason}."
        )
    return records


def _columns_to_check(found: Table) -> dict[str, np.ndarray]:
    """Cells as text of the columns that could tell who a patient is."""
    looked_at = found.schema.of("number", "category", "boolean", "date", "site", "time")
    return {name: as_text(found.frame[name]) for name in looked_at if name in found.frame}


def _people(found: Table) -> np.ndarray | None:
    """Patients (rows,) as text, if there is a column of them."""
    name = found.schema.patient
    return as_text(found.frame[name]) if name in found.frame else None


def _whole(parts: Iterable[pd.DataFrame], data: DataConfig) -> pd.DataFrame:
    """A table that was read part by part; clinical ones are small."""
    return concat_chunks(parts, f"data: there are no rows in {without_password(data.path)!r}.")


def _divide(records: Records, keys: np.ndarray, schema: Schema, data: DataConfig) -> np.ndarray:
    """The split of each row, '' where it is left out.

    Args:
        keys: (size,) those with the same stay together.
    """
    labels = _labels(records)
    if len(set(keys)) < 2:
        raise DataProblem("data: there is one patient alone.")
    if data.split == "external":
        return np.full(len(records), TEST, dtype=object)
    if len(set(labels)) < 2:
        raise DataProblem("data: every row has the same outcome.")
    if data.folds:
        return _fold(labels, keys, data)
    if data.split == "site":
        return _by_site(records, schema, labels, keys, data)
    if data.split == "time":
        return _by_time(records, schema, labels, keys, data)
    given = _read_split_column(records, schema) if schema.split else None
    return split_examples(labels, keys, None, given, data)


def _read_split_column(records: Records, schema: Schema) -> np.ndarray:
    """The splits that the table names, of which no two share a patient."""
    given = np.array([SPLIT_NAMES.get(name.lower(), "") for name in records.splits], dtype=object)
    if (given == "").any():
        row = records.rows[np.argmax(given == "")]
        raise DataProblem(
            f"row {row}: {schema.split} is not one of {', '.join(SPLIT_NAMES)}; or let it be "
            "divided, with kind: ignored."
        )
    seen: dict[str, int] = {}
    for place, patient in enumerate(records.patients):
        before = seen.setdefault(patient, place) if patient else place
        if given[before] != given[place]:
            raise DataProblem(
                f"rows {records.rows[before]} and {records.rows[place]}: one patient is in "
                f"{given[before]} and in {given[place]}."
            )
    return given


def _fold(labels: np.ndarray, keys: np.ndarray, data: DataConfig) -> np.ndarray:
    """Repeated stratified group k-fold: another ``split_seed`` is another repetition."""
    from sklearn.model_selection import StratifiedGroupKFold

    if data.fold >= data.folds:
        raise UsageProblem(f"data.fold: {data.fold} must be below data.folds, {data.folds}.")
    for label in ("yes", "no"):
        if (patients := len(set(keys[labels == label]))) < data.folds:
            raise DataProblem(
                f"data: {patients} patients have the outcome {label}, fewer than there are folds, "
                f"{data.folds}."
            )
    made = StratifiedGroupKFold(data.folds, shuffle=True, random_state=data.split_seed)
    _, test = list(made.split(labels, labels, keys))[data.fold]
    held = np.zeros(len(labels), dtype=bool)
    held[test] = True
    return _hold_out(held, labels, keys, data)


def _by_site(
    records: Records, schema: Schema, labels: np.ndarray, keys: np.ndarray, data: DataConfig
) -> np.ndarray:
    sites = [name.strip() for name in (data.test_sites or "").split(",") if name.strip()]
    found = sorted(set(records.sites) - {""})
    if not schema.site or not sites:
        raise UsageProblem(
            "data.split: site needs a column of kind site, and data.test_sites; sites are: "
            f"{', '.join(found) or 'none'}."
        )
    for name in sites:
        if name not in found:
            raise UsageProblem(
                f"data.test_sites: {name!r} is no site; sites are: {', '.join(found)}."
            )
    held = np.isin(records.sites, sites)
    parts = _hold_out(held, labels, keys, data)
    # Of a patient who was at both, what happened elsewhere is neither learnt nor tested.
    parts[~held & np.isin(keys, keys[held])] = LEFT_OUT
    return parts


def _by_time(
    records: Records, schema: Schema, labels: np.ndarray, keys: np.ndarray, data: DataConfig
) -> np.ndarray:
    """Patients whose first row is the latest are the test."""
    if not schema.time:
        raise UsageProblem("data.split: time needs a column of kind time.")
    patients, who = np.unique(keys, return_inverse=True)
    first = np.full(len(patients), np.inf)
    np.minimum.at(first, who, records.times)
    held = first > np.quantile(first, 1 - data.test_fraction)
    return _hold_out(held[who], labels, keys, data)


def _hold_out(
    held: np.ndarray, labels: np.ndarray, keys: np.ndarray, data: DataConfig
) -> np.ndarray:
    """Splits (size,) where rows are held out for the test, and the rest is drawn by patients."""
    rest = ~held & ~np.isin(keys, keys[held])
    parts = np.full(len(labels), LEFT_OUT, dtype=object)
    parts[held] = TEST
    if not rest.any():
        raise DataProblem("data: every patient is held out for the test.")
    parts[rest] = assign_splits(
        labels[rest],
        merge_groups(keys[rest]),
        keys[rest],
        validation=data.validation_fraction,
        test=0.0,
        seed=data.split_seed,
    )
    return parts


def _check(splits: dict[str, Visits], data: DataConfig) -> None:
    if data.split == "external":
        return
    for name, split in splits.items():
        for value, word in ((1.0, "yes"), (0.0, "no")):
            if not np.any(split.targets == value):
                raise DataProblem(f"data: no row of the {name} split has the outcome {word}.")


def _oversample(outcome: np.ndarray, seed: int) -> np.ndarray:
    """Positions of rows, those of the rarer outcome again and again until both are as many."""
    yes, no = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    rare, common = sorted((yes, no), key=len)
    more = np.random.default_rng(seed).permutation(rare)
    return np.concatenate([np.arange(len(outcome)), np.resize(more, len(common) - len(rare))])


def _take(records: Records, places: np.ndarray) -> Records:
    arrays = ("rows", "numbers", "categories", "outcome", "patients", "sites", "splits", "times")
    return replace(records, **{name: getattr(records, name)[places] for name in arrays})


def _labels(records: Records) -> np.ndarray:
    return np.where(records.outcome > 0, "yes", "no")


def _row_keys(records: Records) -> np.ndarray:
    """A hash (size,) of all that a row says."""
    hashes = []
    for numbers, words, outcome in zip(
        records.numbers, records.categories, records.outcome, strict=True
    ):
        made = hashlib.sha256(numbers.tobytes() + outcome.tobytes())
        made.update("\n".join(words).encode("utf-8", "replace"))
        hashes.append(made.hexdigest())
    return np.array(hashes, dtype=object)


def _assign_bands(values: np.ndarray, borders: tuple[float, ...], unit: str) -> np.ndarray:
    ordered = sorted(borders)
    pairs = [f"{a:g} to {b:g}" for a, b in pairwise(ordered)]
    names = [f"below {ordered[0]:g}", *pairs, f"{ordered[-1]:g} and more"]
    named = np.array([f"{name} {unit}".strip() for name in names], dtype=object)
    return np.where(np.isnan(values), "", named[np.searchsorted(ordered, values, side="right")])


def _notes(splits: dict[str, Visits], left_out: int, found: Table, data: DataConfig) -> dict:
    notes = {
        "patients": {name: len(np.unique(split.people)) for name, split in splits.items()},
        "prevalence": {name: round(float(s.targets.mean()), 6) for name, s in splits.items() if s},
        "split": f"{data.folds} folds, {data.fold}" if data.folds else data.split,
        "left_out": left_out,
        "schema": found.schema.digest,
        "reviewed_by": found.schema.reviewed_by,
    }
    test = splits[TEST]
    if not found.own:
        notes["generated"] = test.risk is not None
    if test.risk is not None:
        best = clinical.discrimination(test.targets, test.risk)["auroc"]
        notes["best_reachable_auroc"] = round(best, 6)
    return notes


def _digest(rows: np.ndarray, parts: np.ndarray, schema: Schema) -> str:
    made = hashlib.sha256(schema.digest.encode())
    made.update("\n".join(rows).encode())
    made.update("\n".join(map(str, parts)).encode())
    return made.hexdigest()


def _source_schema(columns: dict[str, dict]) -> Schema:
    return Schema.model_validate({"reviewed_by": "its makers", "columns": columns})


def _schema(found: Table, data: DataConfig, preprocessing: "Preprocessing | None") -> Schema:
    """What rows must keep to: that of the model which is evaluated, else that of the source."""
    if preprocessing is None:
        return found.schema or _read_reviewed_schema(data)
    file = Path(data.schema_file or "")
    if file.is_file() and read(file).digest != preprocessing.schema.digest:
        log.warning(
            "%s is not the schema that the model was trained with; the model's own counts.", file
        )
    return preprocessing.schema


def _read_reviewed_schema(data: DataConfig) -> Schema:
    """The schema of the user's table, once a person has put a name to it."""
    if not data.schema_file:
        raise UsageProblem(
            f"data.schema_file: source {data.source!r} needs one; inspect_data writes it."
        )
    schema = read(Path(data.schema_file))
    if not schema.reviewed_by.strip():
        raise UsageProblem(
            f"data.schema_file: nobody has reviewed {data.schema_file!r}; read it, correct it, and "
            "put your name behind reviewed_by."
        )
    return schema
