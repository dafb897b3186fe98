"""Clinical tables from every source, and splits that no patient crosses."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets import cohort
from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema
from {{ cookiecutter.package_name }}.engine.errors import (
    DataProblem,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits

SPLITS = ("train", "validation", "test")
SCHEMA = Schema(
    reviewed_by="a doctor",
    columns={
        "who": Column(kind="patient"),
        "clinic": Column(kind="site"),
        "seen": Column(kind="time"),
        "age": Column(kind="number", unit="years", min=0, max=120, bands=(50, 65)),
        "sex": Column(kind="category", values=("f", "m"), subgroup=True),
        "died": Column(kind="outcome", yes="1", no="0"),
    },
)


def make_table(patients: int = 60, visits: int = 3) -> pd.DataFrame:
    """Patients with several visits in three clinics; no row is like another."""
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(patients), visits)
    return pd.DataFrame(
        {
            "who": [f"w{number}" for number in who],
            "clinic": np.array(["north", "south", "west"])[who % 3],
            "seen": [
                f"2020-{1 + number % 12:02}-{1 + row % 28:02}" for row, number in enumerate(who)
            ],
            "age": random.normal(60, 12, len(who)).clip(20, 100).round(3),
            "sex": np.where(who % 2, "f", "m"),
            "died": (who % 5 < 2).astype(int),
        }
    )


def write_table(frame: pd.DataFrame, schema: Schema = SCHEMA) -> list[str]:
    """The table and its schema as files, and the words that name them."""
    frame.to_csv("table.csv", index=False)
    Path("schema.yaml").write_text(schema.to_yaml(), encoding="utf-8")
    return ["--data.source", "csv", "--data.path", "table.csv", "--data.schema_file", "schema.yaml"]


def load_table(frame: pd.DataFrame, *words: str, schema: Schema = SCHEMA) -> DatasetSplits:
    return load(load_config([*write_table(frame, schema), *words]))


def load_error(frame: pd.DataFrame, *words: str, schema: Schema = SCHEMA) -> str:
    with pytest.raises(ProjectError) as caught:
        load_table(frame, *words, schema=schema)
    return str(caught.value)


def patients_by_split(data: DatasetSplits) -> list[set[str]]:
    return [set(data.splits[name].patients) for name in SPLITS]


def assert_apart(data: DatasetSplits) -> None:
    train, validation, test = patients_by_split(data)
    assert not train & validation
    assert not (train | validation) & test


# === Sources ===


def test_breast_cancer() -> None:
    data = load(load_config())
    assert sum(data.sizes().values()) == 569
    assert data.notes["generated"] is False
    assert data.unreadable == ()


def test_the_cohort_is_synthetic_and_says_so() -> None:
    data = load(load_config(["--data.source", "cohort"]))
    assert data.notes["generated"] is True
    assert sum(data.notes["patients"].values()) == cohort.NUM_PATIENTS
    assert 0.7 < data.notes["best_reachable_auroc"] < 0.9
    assert_apart(data)
    assert set(data.test.subgroups) == {"age", "sex"}
    assert data.digest == load(load_config(["--data.source", "cohort"])).digest


def test_missing_values_of_the_cohort_are_informative() -> None:
    synthetic = cohort.generate()
    missing = synthetic.frame["hba1c"].isna()
    assert synthetic.risk[~missing].mean() > 1.2 * synthetic.risk[missing].mean()
    assert set(synthetic.frame.columns) == set(cohort.COLUMNS)
    shifted = synthetic.frame["site"] == cohort.SHIFTED_SITE
    assert (
        synthetic.frame["creatinine"][shifted].mean()
        > 1.05 * synthetic.frame["creatinine"][~shifted].mean()
    )


@pytest.mark.parametrize("source", ["csv", "tsv", "parquet", "sql"])
def test_sources_of_ones_own_give_the_same(source: str) -> None:
    frame = make_table()
    expected = load_table(frame)
    words = ["--data.schema_file", "schema.yaml"]
    if source == "sql":
        with sqlite3.connect("clinic.db") as database:
            frame.to_sql("visits", database, index=False)
        words += ["--data.source", "sql", "--data.path", "sqlite:///clinic.db"]
        words += ["--data.query", "select * from visits order by rowid"]
    else:
        file = Path(f"other.{source}")
        if source == "parquet":
            frame.to_parquet(file)
        else:
            frame.to_csv(file, index=False, sep="\t" if source == "tsv" else ";")
        kind = "parquet" if source == "parquet" else "csv"
        words += ["--data.source", kind, "--data.path", str(file)]
    data = load(load_config(words))
    assert data.digest == expected.digest
    np.testing.assert_array_equal(data.train.numbers, expected.train.numbers)


def test_nothing_is_trained_before_the_schema_is_reviewed() -> None:
    unreviewed = SCHEMA.model_copy(update={"reviewed_by": " "})
    assert load_error(make_table(), schema=unreviewed) == (
        "data.schema_file: reviewed_by is empty in 'schema.yaml'; read the schema, correct it, and "
        "enter your name."
    )


# === Splits ===


def test_a_patient_is_in_one_split() -> None:
    data = load_table(make_table())
    assert_apart(data)
    assert sum(data.sizes().values()) == 180
    assert sum(data.notes["patients"].values()) == 60


def test_folds_hold_every_patient_out_once() -> None:
    frame, held = make_table(), []
    for fold in range(4):
        data = load_table(frame, "--data.folds", "4", "--data.fold", str(fold))
        assert_apart(data)
        held += [*patients_by_split(data)[2]]
    assert sorted(held) == sorted(set(frame["who"]))
    assert load_error(frame, "--data.folds", "4", "--data.fold", "4") == (
        "data.fold: 4 must be below data.folds=4."
    )


def test_a_site_is_held_out() -> None:
    frame = make_table()
    frame.loc[0, "clinic"] = "south"  # of a patient who was at both, one visit is left
    words = ["--data.split", "site", "--data.test_sites", "south"]
    data = load_table(frame, *words)
    assert set(data.test.sites) == {"south"}
    assert "south" not in {*data.train.sites, *data.validation.sites}
    assert_apart(data)
    assert data.notes["excluded"] == 2
    assert load_error(frame, "--data.split", "site", "--data.test_sites", "east") == (
        "data.test_sites: 'east' is not a site; sites are: north, south, west."
    )


def test_the_latest_patients_are_held_out() -> None:
    data = load_table(make_table(), "--data.split", "time")
    assert_apart(data)
    seen = make_table().groupby("who")["seen"].min()
    train, _, test = patients_by_split(data)
    assert max(seen[[*train]]) <= min(seen[[*test]])


def test_everybody_is_held_out_to_evaluate_elsewhere() -> None:
    data = load_table(make_table(), "--data.split", "external")
    assert data.sizes() == {"train": 0, "validation": 0, "test": 180}


def test_splits_of_the_table_may_not_share_a_patient() -> None:
    columns = SCHEMA.columns | {"part": Column(kind="split")}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = make_table()
    number = frame["who"].str[1:].astype(int)
    frame["part"] = np.where(number < 40, "train", np.where(number < 48, "val", "test"))
    data = load_table(frame, schema=schema)
    assert [len(part) for part in patients_by_split(data)] == [40, 8, 12]
    frame.loc[2, "part"] = "test"
    assert (
        load_error(frame, schema=schema)
        == "rows 1 and 3: the same patient is in train and in test."
    )


def test_copies_stay_together_without_a_patient_column() -> None:
    columns = {name: column for name, column in SCHEMA.columns.items() if name != "who"}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = pd.concat([make_table().drop(columns="who")] * 2)
    data = load_table(frame, schema=schema)
    assert data.duplicates == 180
    rows = [{tuple(row) for row in data.splits[name].numbers.tolist()} for name in SPLITS]
    assert not rows[0] & rows[1]
    assert not (rows[0] | rows[1]) & rows[2]


def test_oversampling_is_for_training_alone() -> None:
    plain, data = (
        load_table(make_table()),
        load_table(make_table(), "--train.imbalance", "oversample"),
    )
    for name in SPLITS:
        np.testing.assert_array_equal(data.splits[name].ids, plain.splits[name].ids)
    epoch = data.train.epoch()
    assert epoch.targets.mean() == 0.5
    assert set(epoch.ids) == set(plain.train.ids)
    places = np.arange(len(epoch))[::-7]
    rows = epoch.ids[places].astype(int) - 1
    np.testing.assert_allclose(epoch.fetch(places)["numbers"][:, 0], make_table()["age"][rows])
    assert plain.train.epoch() is plain.train


def test_bands_of_an_ignored_column_are_not_used() -> None:
    ignored = SCHEMA.columns["age"].model_copy(update={"kind": "ignored"})
    schema = SCHEMA.model_copy(update={"columns": {**SCHEMA.columns, "age": ignored}})
    assert set(load_table(make_table(), schema=schema).test.subgroups) == {"sex"}


def test_subgroups_by_value_and_by_band() -> None:
    data = load_table(make_table())
    assert set(data.test.subgroups["sex"]) == {"f", "m"}
    bands = data.train.subgroups["age"]
    assert set(bands) == {"below 50 years", "50 to 65 years", "65 and more years"}
    ages = data.train.numbers[:, 0]
    assert (ages[bands == "50 to 65 years"] >= 50).all()
    assert (ages[bands == "50 to 65 years"] < 65).all()


# === Bad input ===


def test_texts_that_mean_missing() -> None:
    column = SCHEMA.columns["age"].model_copy(update={"missing": ("NA", "999")})
    schema = SCHEMA.model_copy(update={"columns": {**SCHEMA.columns, "age": column}})
    frame = make_table().astype({"age": object})
    frame.loc[3, "age"], frame.loc[5, "age"] = "NA", 999
    data = load_table(frame, schema=schema)
    assert data.unreadable == ()
    assert sum(int(np.isnan(data.splits[name].numbers).sum()) for name in SPLITS) == 2


def test_too_few_patients_for_the_folds() -> None:
    frame = make_table(patients=20)
    assert load_error(frame, "--data.folds", "9") == (
        "data: 8 patients have the outcome yes, fewer than data.folds=9."
    )


def test_a_table_without_rows() -> None:
    words = write_table(make_table())
    make_table()[:0].to_parquet("none.parquet")
    words += ["--data.source", "parquet", "--data.path", "none.parquet"]
    with pytest.raises(DataProblem, match=r"there are no rows in 'none.parquet'"):
        load(load_config(words))


def test_one_patient_elsewhere() -> None:
    frame = make_table().assign(who="w1")
    assert (
        load_error(frame, "--data.split", "external")
        == "data: all rows are of one patient; at least two are needed."
    )


def test_a_few_invalid_rows_are_rejected() -> None:
    frame = make_table()
    frame.loc[3, "age"] = 6000.0
    data = load_table(frame)
    assert data.unreadable == (("row 4", "age is outside 0 to 120 years"),)
    assert load_error(frame, "--data.max_unreadable", "0") == (
        "data: 1 of 180 rows cannot be used, more than data.max_unreadable=0 allows; the first is "
        "row 4: age is outside 0 to 120 years."
    )


ANOTHER_UNIT = (
    "column 'age': 100% of its values are outside the plausible range, 0 to 120 years; it may be "
    "in another unit."
)
EMPTY = "column 'age': every value is missing; give an empty column kind: ignored."
UNSEEN = (
    "data: 180 of 180 rows cannot be used, more than data.max_unreadable=0.05 allows; the first is "
    "row 1: sex is not in values."
)
UNLISTED = "column 'mail' is not in the schema; to leave it out, add it with kind: ignored."
ONE_OUTCOME = "data: every row has the same outcome."
ONE_PATIENT = "data: all rows are of one patient; at least two are needed."


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": 6000.0}, ANOTHER_UNIT),
        ({"age": np.nan}, EMPTY),
        ({"sex": "x"}, UNSEEN),
        ({"mail": "a.b@c.org"}, UNLISTED),
        ({"died": 0}, ONE_OUTCOME),
        ({"who": "w1"}, ONE_PATIENT),
    ],
)
def test_invalid_tables(columns: dict, message: str) -> None:
    assert load_error(make_table().assign(**columns)) == message


def test_an_empty_table() -> None:
    assert load_error(make_table()[:0]) == "data: there are no rows in 'table.csv'."


def test_columns_that_may_identify_patients() -> None:
    columns = SCHEMA.columns | {"mrn": Column(kind="number")}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = make_table().assign(mrn=np.arange(180) + 1_000_003)
    said = load_error(frame, schema=schema)
    assert said.startswith("column 'mrn': it looks like a record number.")
    assert said.endswith("--data.allow mrn.")
    assert len(load_table(frame, "--data.allow", "mrn", schema=schema).train) > 0


def test_a_column_that_leaks_the_outcome(caplog: pytest.LogCaptureFixture) -> None:
    columns = SCHEMA.columns | {"discharged_to": Column(kind="category", values=("morgue", "home"))}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = make_table()
    frame["discharged_to"] = np.where(frame["died"] == 1, "morgue", "home")
    load_table(frame, schema=schema)
    assert "column 'discharged_to' alone predicts the outcome" in caplog.text


@pytest.mark.parametrize(
    "words",
    [["--data.source", "csv"], ["--data.source", "sql", "--data.path", "sqlite://"]],
)
def test_what_a_source_needs(words: list[str]) -> None:
    with pytest.raises(UsageProblem):
        load(load_config(words))


def test_no_file() -> None:
    with pytest.raises(DataProblem, match=r"^data.path: 'no.csv' does not exist.$"):
        load(load_config(["--data.source", "csv", "--data.path", "no.csv"]))
