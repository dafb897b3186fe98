"""Load clinical tables from a source and split them into training, validation and test.

A source takes the ``data`` fields and returns a ``Table``. To add one, write such a function and
add a line to ``SOURCES`` in ``registry.py``. All rows of a patient are in the same split.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config, DataConfig, split_commas
from .datasets import cohort
from .datasets.frames import concat_chunks, read_database, read_file
from .datasets.identifier_check import check_identifiers
from .datasets.schema import Records, Schema, read_schema, to_text
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
from .evaluation.clinical_metrics import discrimination
from .registry import SOURCES

log = logging.getLogger(__package__)

NO_SPLIT = ""  # the split of excluded rows


@dataclass(frozen=True)
class Table:
    """The table that a source returns.

    Attributes:
        frame: one row for each visit of a patient.
        schema: None for that of ``data.schema_file``.
        risk: (rows,) true risks of synthetic patients; None for real ones.
        check_identifiers: refuse columns that may identify patients; False only for data that is
            known to be anonymous.
    """

    frame: pd.DataFrame
    schema: Schema | None = None
    risk: np.ndarray | None = None
    check_identifiers: bool = True


@dataclass(frozen=True, kw_only=True)
class Visits(Split):
    """A split whose examples are rows of a clinical table, one visit of a patient each.

    ``fetch`` returns ``numbers`` (batch, numbers) float32, NaN where missing, and ``categories``
    (batch, categories) string, '' where missing. ``targets`` (size,) float32 are 1 where the
    outcome is yes. ``ids`` are row numbers in the table.

    Attributes:
        schema: of the table.
        numbers, categories: the raw inputs of all rows, as ``fetch`` returns them.
        patients, sites: (size,) text, '' if the schema has no such column.
        subgroups: column -> (size,) name of each row's subgroup, '' where missing.
        risk: (size,) true risks of synthetic patients; None for real ones.
    """

    schema: Schema
    numbers: np.ndarray
    categories: np.ndarray
    patients: np.ndarray
    sites: np.ndarray
    subgroups: dict[str, np.ndarray] = field(default_factory=dict)
    risk: np.ndarray | None = None

    @property
    def patient_keys(self) -> np.ndarray:
        """Patients (size,) as text; without a column of patients every row is its own."""
        return self.patients if self.schema.patient else self.ids


@dataclass(frozen=True)
class VisitSplits(DatasetSplits):
    """Training, validation and test split of a clinical table."""

    train: Visits
    validation: Visits
    test: Visits


# === Sources ===


def load_breast_cancer(data: DataConfig) -> Table:
    """Return 569 real tumours of the Wisconsin diagnostic data set, which scikit-learn ships.

    The columns are sizes and shapes of cell nuclei, the outcome is malignant or benign: Street,
    Wolberg & Mangasarian, "Nuclear feature extraction for breast tumor diagnosis", 1993.
    """
    from sklearn import datasets

    bunch = datasets.load_breast_cancer(as_frame=True)
    frame = bunch.data.assign(diagnosis=np.where(bunch.target == 0, "malignant", "benign"))
    columns: dict[str, dict] = {name: {"kind": "number", "min": 0} for name in bunch.feature_names}
    columns["diagnosis"] = {"kind": "outcome", "yes": "malignant", "no": "benign"}
    return Table(frame, _source_schema(columns), check_identifiers=False)


def load_cohort(data: DataConfig) -> Table:
    """Return a synthetic cohort of 2,500 patients with their true risks."""
    patients = cohort.generate()
    schema = _source_schema(cohort.COLUMNS)
    return Table(patients.frame, schema, patients.risk, check_identifiers=False)


def load_table(data: DataConfig) -> Table:
    """Read a csv or parquet file with one row for each patient or visit."""
    return Table(_concat(read_file(data), data))


def load_sql(data: DataConfig) -> Table:
    """Run ``data.query`` on the database at ``data.path`` (an SQLAlchemy address)."""
    return Table(_concat(read_database(data), data))


# === From tables to splits ===


def load(config: Config, preprocessing: Any = None) -> VisitSplits:
    """Read the configured source, validate it against its schema, and split it by patient.

    Args:
        config: the configuration.
        preprocessing: the ``Preprocessing`` of a trained model that is evaluated on this data; its
            schema replaces the configured one. None for training.

    Raises:
        DataProblem: a column or too many rows break the schema, a column may identify patients, or
            a split lacks an outcome.
        UsageProblem: the schema is not reviewed, or the ``data`` fields do not fit together.
    """
    data = config.data
    table = find(SOURCES, data.source)(data)
    schema = _select_schema(table, data, preprocessing)
    records = _parse(table, schema, data)
    risk = None if table.risk is None else table.risk[records.rows - 1]
    if data.limit and data.limit < len(records):
        source_splits = records.splits if schema.split else None
        sample = sample_stratified(_outcome_labels(records), source_splits, data)
        records, risk = _select(records, sample), None if risk is None else risk[sample]
    hashes = _hash_rows(records)
    # Without a column of patients each row is a patient, and its copies are the same patient.
    patients = records.patients if schema.patient else hashes
    split_names = _assign_splits(records, patients, schema, data)
    for name, auroc in find_giveaways(records, schema).items():
        log.warning(
            "column %r alone predicts the outcome (AUROC %.3f): is it known before the outcome?",
            name,
            auroc,
        )
    subgroups = assign_subgroups(records, schema)
    splits = {}
    for name in (TRAIN, VALIDATION, TEST):
        positions = np.flatnonzero(split_names == name)
        splits[name] = build_visits(
            _select(records, positions),
            schema,
            {column: values[positions] for column, values in subgroups.items()},
            None if risk is None else risk[positions],
        )
    _check_outcomes(splits, data)
    if config.train.imbalance == "oversample":
        positions = _oversample(splits[TRAIN].targets, data.split_seed)
        splits[TRAIN] = replace(splits[TRAIN], sampled=positions)
    notes = _notes(splits, schema, data) | {"excluded": int((split_names == NO_SPLIT).sum())}
    if not table.check_identifiers:
        notes["generated"] = table.risk is not None
    return VisitSplits(
        source=data.source,
        digest=_digest(hashes, split_names, schema),
        train=splits[TRAIN],
        validation=splits[VALIDATION],
        test=splits[TEST],
        duplicates=len(hashes) - len(np.unique(hashes)),
        unreadable=records.problems,
        notes=notes,
    )


def build_visits(
    records: Records,
    schema: Schema,
    subgroups: dict[str, np.ndarray] | None = None,
    risk: np.ndarray | None = None,
) -> Visits:
    """Build a split from parsed rows.

    Args:
        records: (size,) rows.
        schema: of the rows.
        subgroups: column -> (size,) names, see ``assign_subgroups``.
        risk: (size,) true risks of synthetic patients.
    """
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
        groups=records.patients,
        sites=records.sites,
        subgroups=subgroups or {},
        risk=risk,
    )


def assign_subgroups(records: Records, schema: Schema) -> dict[str, np.ndarray]:
    """Assign each row to a subgroup for every column with ``subgroup`` or ``bands``.

    Args:
        records: (size,) rows.
        schema: of the rows.

    Returns:
        Column -> (size,) names of subgroups, '' where the value is missing.
    """
    groups = {}
    for name, column in schema.columns.items():
        if column.subgroup and column.kind == "category":
            groups[name] = records.categories[:, schema.categories.index(name)]
        elif column.subgroup and column.kind == "boolean":
            values = records.numbers[:, schema.numbers.index(name)]
            texts = np.where(values > 0, column.yes, column.no)
            groups[name] = np.where(np.isnan(values), "", texts)
        elif column.bands and column.kind == "number":
            values = records.numbers[:, schema.numbers.index(name)]
            groups[name] = _assign_bands(values, column.bands, column.unit)
    return groups


def _parse(table: Table, schema: Schema, data: DataConfig) -> Records:
    """Parse the valid rows, after the columns have been checked for identifiers."""
    if table.check_identifiers:
        kinds = schema.names_of("number", "category", "boolean", "date", "site", "time")
        cells = {name: to_text(table.frame[name]) for name in kinds if name in table.frame}
        has_patients = schema.patient in table.frame
        patients = to_text(table.frame[schema.patient]) if has_patients else None
        check_identifiers(cells, split_commas(data.allow), patients)
    records = schema.parse(table.frame)
    rows = len(table.frame)
    if len(records.problems) > data.max_unreadable * rows:
        row, reason = records.problems[0]
        raise DataProblem(
            f"data: {len(records.problems)} of {rows} rows cannot be used, more than "
            f"data.max_unreadable={data.max_unreadable:g} allows; the first is {row}: {reason}."
        )
    return records


def _concat(chunks: Iterable[pd.DataFrame], data: DataConfig) -> pd.DataFrame:
    """Join the chunks of a table; clinical tables fit into memory."""
    address = without_password(data.path or "")
    return concat_chunks(chunks, f"data: there are no rows in {address!r}.")


def _assign_splits(
    records: Records, patients: np.ndarray, schema: Schema, data: DataConfig
) -> np.ndarray:
    """Assign each row to a split (size,); ``NO_SPLIT`` excludes it.

    Args:
        records: (size,) rows.
        patients: (size,) text; rows of one patient stay in one split.
        schema: of the rows.
        data: the kind of split, its fractions and its seed.
    """
    labels = _outcome_labels(records)
    if len(set(patients)) < 2:
        raise DataProblem("data: all rows are of one patient; at least two are needed.")
    if data.split == "external":
        return np.full(len(records), TEST, dtype=object)
    if len(set(labels)) < 2:
        raise DataProblem("data: every row has the same outcome.")
    if data.folds:
        return _split_by_fold(labels, patients, data, data.folds)
    if data.split == "site":
        return _split_by_site(records, schema, labels, patients, data)
    if data.split == "time":
        return _split_by_time(records, schema, labels, patients, data)
    source_splits = _read_split_column(records, schema) if schema.split else None
    return split_examples(labels, patients, None, source_splits, data)


def _read_split_column(records: Records, schema: Schema) -> np.ndarray:
    """Return the splits (size,) in the table, after checking that no two share a patient."""
    splits = np.array([SPLIT_NAMES.get(name.lower(), "") for name in records.splits], dtype=object)
    if (splits == "").any():
        row = records.rows[np.argmax(splits == "")]
        raise DataProblem(
            f"row {row}: {schema.split} is not one of {', '.join(SPLIT_NAMES)}; with kind: ignored "
            "the rows are split at random instead."
        )
    first_rows: dict[str, int] = {}
    for i, patient in enumerate(records.patients):
        first = first_rows.setdefault(patient, i) if patient else i
        if splits[first] != splits[i]:
            raise DataProblem(
                f"rows {records.rows[first]} and {records.rows[i]}: the same patient is in "
                f"{splits[first]} and in {splits[i]}."
            )
    return splits


def _split_by_fold(
    labels: np.ndarray, patients: np.ndarray, data: DataConfig, folds: int
) -> np.ndarray:
    """Split by repeated stratified group k-fold; each ``split_seed`` is a repetition."""
    from sklearn.model_selection import StratifiedGroupKFold

    if data.fold >= folds:
        raise UsageProblem(f"data.fold: {data.fold} must be below data.folds={folds}.")
    for label in ("yes", "no"):
        if (count := len(set(patients[labels == label]))) < folds:
            raise DataProblem(
                f"data: {count} patients have the outcome {label}, fewer than data.folds={folds}."
            )
    k_fold = StratifiedGroupKFold(folds, shuffle=True, random_state=data.split_seed)
    _, test = list(k_fold.split(labels, labels, patients))[data.fold]
    return _hold_out(np.isin(np.arange(len(labels)), test), labels, patients, data)


def _split_by_site(
    records: Records, schema: Schema, labels: np.ndarray, patients: np.ndarray, data: DataConfig
) -> np.ndarray:
    """Hold out all rows of ``data.test_sites``."""
    test_sites = split_commas(data.test_sites)
    sites = sorted(set(records.sites) - {""})
    if not schema.site or not test_sites:
        raise UsageProblem(
            "data.split: site needs a column of kind site, and data.test_sites; sites are: "
            f"{', '.join(sites) or 'none'}."
        )
    for name in sorted(test_sites):
        if name not in sites:
            raise UsageProblem(
                f"data.test_sites: {name!r} is not a site; sites are: {', '.join(sites)}."
            )
    return _hold_out(np.isin(records.sites, sorted(test_sites)), labels, patients, data)


def _split_by_time(
    records: Records, schema: Schema, labels: np.ndarray, patients: np.ndarray, data: DataConfig
) -> np.ndarray:
    """Hold out the patients whose first row is latest."""
    if not schema.time:
        raise UsageProblem("data.split: time needs a column of kind time.")
    names, indices = np.unique(patients, return_inverse=True)
    first_days = np.full(len(names), np.inf)
    np.minimum.at(first_days, indices, records.times)
    is_late = first_days > np.quantile(first_days, 1 - data.test_fraction)
    return _hold_out(is_late[indices], labels, patients, data)


def _hold_out(
    is_test: np.ndarray, labels: np.ndarray, patients: np.ndarray, data: DataConfig
) -> np.ndarray:
    """Assign the held-out rows to the test split and the other patients to training and validation.

    Other rows of a held-out patient, such as visits at other sites, are excluded: training on them
    would leak, and testing on them would not be on the held-out site.

    Args:
        is_test: (size,) bool.
        labels: (size,) text by which the other splits are stratified.
        patients: (size,) text.
        data: fraction and seed of the validation split.
    """
    rest = ~is_test & ~np.isin(patients, patients[is_test])
    splits = np.full(len(labels), NO_SPLIT, dtype=object)
    splits[is_test] = TEST
    if not rest.any():
        raise DataProblem("data: every patient is held out for the test.")
    splits[rest] = assign_splits(
        labels[rest],
        merge_groups(patients[rest]),
        patients[rest],
        validation=data.validation_fraction,
        test=0.0,
        seed=data.split_seed,
    )
    return splits


def _check_outcomes(splits: dict[str, Visits], data: DataConfig) -> None:
    if data.split == "external":
        return
    for name, split in splits.items():
        for value, label in ((1.0, "yes"), (0.0, "no")):
            if not np.any(split.targets == value):
                raise DataProblem(f"data: no row of the {name} split has the outcome {label}.")


def _oversample(outcome: np.ndarray, seed: int) -> np.ndarray:
    """Return positions of all rows, with those of the rarer outcome repeated until both balance."""
    yes, no = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    rare, common = sorted((yes, no), key=len)
    order = np.random.default_rng(seed).permutation(rare)
    return np.concatenate([np.arange(len(outcome)), np.resize(order, len(common) - len(rare))])


def _select(records: Records, positions: np.ndarray) -> Records:
    return replace(
        records,
        rows=records.rows[positions],
        numbers=records.numbers[positions],
        categories=records.categories[positions],
        outcome=records.outcome[positions],
        patients=records.patients[positions],
        sites=records.sites[positions],
        splits=records.splits[positions],
        times=records.times[positions],
    )


def _outcome_labels(records: Records) -> np.ndarray:
    return np.where(records.outcome > 0, "yes", "no")


def _hash_rows(records: Records) -> np.ndarray:
    """Return a hash (size,) of inputs and outcome of each row; copies share it."""
    hashes = []
    for numbers, words, outcome in zip(
        records.numbers, records.categories, records.outcome, strict=True
    ):
        digest = hashlib.sha256(numbers.tobytes() + outcome.tobytes())
        digest.update("\n".join(words).encode("utf-8", "replace"))
        hashes.append(digest.hexdigest())
    return np.array(hashes, dtype=object)


def _assign_bands(values: np.ndarray, borders: tuple[float, ...], unit: str) -> np.ndarray:
    ordered = sorted(borders)
    between = [f"{a:g} to {b:g}" for a, b in pairwise(ordered)]
    bands = [f"below {ordered[0]:g}", *between, f"{ordered[-1]:g} and more"]
    names = np.array([f"{band} {unit}".strip() for band in bands], dtype=object)
    return np.where(np.isnan(values), "", names[np.searchsorted(ordered, values, side="right")])


def _notes(splits: dict[str, Visits], schema: Schema, data: DataConfig) -> dict[str, Any]:
    """Return facts about the splits for the summary and the model card."""
    notes: dict[str, Any] = {
        "patients": {name: len(np.unique(split.patient_keys)) for name, split in splits.items()},
        "prevalence": {name: round(float(s.targets.mean()), 6) for name, s in splits.items() if s},
        "split": f"fold {data.fold} of {data.folds}" if data.folds else data.split,
        "schema": schema.digest,
        "reviewed_by": schema.reviewed_by,
    }
    test = splits[TEST]
    if test.risk is not None:
        best = discrimination(test.targets, test.risk)["auroc"]
        notes["best_reachable_auroc"] = round(best, 6)
    return notes


def _digest(hashes: np.ndarray, split_names: np.ndarray, schema: Schema) -> str:
    digest = hashlib.sha256(schema.digest.encode())
    digest.update("\n".join(hashes).encode())
    digest.update("\n".join(map(str, split_names)).encode())
    return digest.hexdigest()


def _source_schema(columns: dict[str, dict]) -> Schema:
    """Build the schema of a source that ships with the project."""
    return Schema.model_validate({"reviewed_by": "its makers", "columns": columns})


def _select_schema(table: Table, data: DataConfig, preprocessing: Any) -> Schema:
    """Return the schema of the model that is evaluated, or else that of the source."""
    if preprocessing is None:
        return table.schema or _read_reviewed_schema(data)
    path = Path(data.schema_file or "")
    if path.is_file() and read_schema(path).digest != preprocessing.schema.digest:
        log.warning(
            "%s is not the schema that the model was trained with; the model's own is used.", path
        )
    return preprocessing.schema


def _read_reviewed_schema(data: DataConfig) -> Schema:
    """Read the schema of a user's table, and require that a person has reviewed it."""
    if not data.schema_file:
        raise UsageProblem(
            f"data.schema_file: source {data.source!r} needs one; inspect writes it."
        )
    schema = read_schema(Path(data.schema_file))
    if not schema.reviewed_by.strip():
        raise UsageProblem(
            f"data.schema_file: reviewed_by is empty in {data.schema_file!r}; read the schema, "
            "correct it, and enter your name."
        )
    return schema
