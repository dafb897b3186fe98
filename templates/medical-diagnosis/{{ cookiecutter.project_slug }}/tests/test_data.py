"""Clinical tables from every source, and that no patient is on two sides of a split."""

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
        "age": Column(kind="number", unit="years", least=0, most=120, bands=(50, 65)),
        "sex": Column(kind="category", values=("f", "m"), subgroup=True),
        "died": Column(kind="outcome", yes="1", no="0"),
    },
)


def table(patients: int = 60, visits: int = 3) -> pd.DataFrame:
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


def written(frame: pd.DataFrame, schema: Schema = SCHEMA) -> list[str]:
    """The table and its schema as files, and the words that name them."""
    frame.to_csv("table.csv", index=False)
    Path("schema.yaml").write_text(schema.to_yaml(), encoding="utf-8")
    return ["--data.source", "csv", "--data.path", "table.csv", "--data.schema_file", "schema.yaml"]


def loaded(frame: pd.DataFrame, *words: str, schema: Schema = SCHEMA) -> DatasetSplits:
    return load(load_config([*written(frame, schema), *words]))


def refused(frame: pd.DataFrame, *words: str, schema: Schema = SCHEMA) -> str:
    with pytest.raises(ProjectError) as caught:
        loaded(frame, *words, schema=schema)
    return str(caught.value)


def people(data: DatasetSplits) -> list[set[str]]:
    return [set(data.splits[name].patients) for name in SPLITS]


def assert_apart(data: DatasetSplits) -> None:
    train, validation, test = people(data)
    assert not train & validation
    assert not (train | validation) & test


# === Sources ===


def test_breast_cancer() -> None:
    data = load(load_config())
    assert sum(data.sizes().values()) == 569
    assert data.notes["generated"] is False
    assert data.unreadable == ()


def test_the_cohort_is_generated_and_says_so() -> None:
    data = load(load_config(["--data.source", "cohort"]))
    assert data.notes["generated"] is True
    assert sum(data.notes["patients"].values()) == cohort.PATIENTS
    assert 0.7 < data.notes["best_reachable_auroc"] < 0.9
    assert_apart(data)
    assert set(data.test.subgroups) == {"age", "sex"}
    assert data.digest == load(load_config(["--data.source", "cohort"])).digest


def test_what_is_missing_in_the_cohort_means_something() -> None:
    made = cohort.generate()
    missing = made.frame["hba1c"].isna()
    assert made.risk[~missing].mean() > 1.2 * made.risk[missing].mean()
    assert set(made.frame.columns) == set(cohort.COLUMNS)
    shifted = made.frame["site"] == cohort.SHIFTED
    assert (
        made.frame["creatinine"][shifted].mean() > 1.05 * made.frame["creatinine"][~shifted].mean()
    )


@pytest.mark.parametrize("source", ["csv", "tsv", "parquet", "sql"])
def test_sources_of_ones_own_give_the_same(source: str) -> None:
    frame = table()
    expected = loaded(frame)
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
    assert refused(table(), schema=unreviewed) == (
        "data.schema_file: nobody has reviewed 'schema.yaml'; read it, correct it, and put your "
        "name behind reviewed_by."
    )


# === Splits ===


def test_a_patient_is_in_one_split() -> None:
    data = loaded(table())
    assert_apart(data)
    assert sum(data.sizes().values()) == 180
    assert sum(data.notes["patients"].values()) == 60


def test_folds_hold_every_patient_out_once() -> None:
    frame, held = table(), []
    for fold in range(4):
        data = loaded(frame, "--data.folds", "4", "--data.fold", str(fold))
        assert_apart(data)
        held += [*people(data)[2]]
    assert sorted(held) == sorted(set(frame["who"]))
    assert refused(frame, "--data.folds", "4", "--data.fold", "4") == (
        "data.fold: 4 must be below data.folds, 4."
    )


def test_a_site_is_held_out() -> None:
    frame = table()
    frame.loc[0, "clinic"] = "south"  # of a patient who was at both, one visit is left
    words = ["--data.split", "site", "--data.test_sites", "south"]
    data = loaded(frame, *words)
    assert set(data.test.sites) == {"south"}
    assert "south" not in {*data.train.sites, *data.validation.sites}
    assert_apart(data)
    assert data.notes["left_out"] == 2
    assert refused(frame, "--data.split", "site", "--data.test_sites", "east") == (
        "data.test_sites: 'east' is no site; sites are: north, south, west."
    )


def test_the_latest_patients_are_held_out() -> None:
    data = loaded(table(), "--data.split", "time")
    assert_apart(data)
    seen = table().groupby("who")["seen"].min()
    train, _, test = people(data)
    assert max(seen[[*train]]) <= min(seen[[*test]])


def test_everybody_is_held_out_to_evaluate_elsewhere() -> None:
    data = loaded(table(), "--data.split", "external")
    assert data.sizes() == {"train": 0, "validation": 0, "test": 180}


def test_given_splits_stand_unless_a_patient_is_on_two_sides() -> None:
    columns = SCHEMA.columns | {"part": Column(kind="split")}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = table()
    number = frame["who"].str[1:].astype(int)
    frame["part"] = np.where(number < 40, "train", np.where(number < 48, "val", "test"))
    data = loaded(frame, schema=schema)
    assert [len(part) for part in people(data)] == [40, 8, 12]
    frame.loc[2, "part"] = "test"
    assert refused(frame, schema=schema) == "rows 1 and 3: one patient is in train and in test."


def test_copies_stay_together_where_nobody_is_named() -> None:
    columns = {name: column for name, column in SCHEMA.columns.items() if name != "who"}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = pd.concat([table().drop(columns="who")] * 2)
    data = loaded(frame, schema=schema)
    assert data.duplicates == 180
    rows = [{tuple(row) for row in data.splits[name].numbers.tolist()} for name in SPLITS]
    assert not rows[0] & rows[1]
    assert not (rows[0] | rows[1]) & rows[2]


def test_resampling_is_for_training_alone() -> None:
    plain, data = loaded(table()), loaded(table(), "--train.imbalance", "resample")
    for name in SPLITS:
        np.testing.assert_array_equal(data.splits[name].ids, plain.splits[name].ids)
    epoch = data.train.epoch()
    assert epoch.targets.mean() == 0.5
    assert set(epoch.ids) == set(plain.train.ids)
    places = np.arange(len(epoch))[::-7]
    rows = epoch.ids[places].astype(int) - 1
    np.testing.assert_allclose(epoch.fetch(places)["numbers"][:, 0], table()["age"][rows])
    assert plain.train.epoch() is plain.train


def test_bands_of_an_ignored_column_are_not_used() -> None:
    ignored = SCHEMA.columns["age"].model_copy(update={"kind": "ignored"})
    schema = SCHEMA.model_copy(update={"columns": {**SCHEMA.columns, "age": ignored}})
    assert set(loaded(table(), schema=schema).test.subgroups) == {"sex"}


def test_subgroups_by_value_and_by_band() -> None:
    data = loaded(table())
    assert set(data.test.subgroups["sex"]) == {"f", "m"}
    bands = data.train.subgroups["age"]
    assert set(bands) == {"below 50 years", "50 to 65 years", "65 and more years"}
    ages = data.train.numbers[:, 0]
    assert (ages[bands == "50 to 65 years"] >= 50).all()
    assert (ages[bands == "50 to 65 years"] < 65).all()


# === Bad input ===


def test_words_that_stand_for_missing() -> None:
    column = SCHEMA.columns["age"].model_copy(update={"missing": ("NA", "999")})
    schema = SCHEMA.model_copy(update={"columns": {**SCHEMA.columns, "age": column}})
    frame = table().astype({"age": object})
    frame.loc[3, "age"], frame.loc[5, "age"] = "NA", 999
    data = loaded(frame, schema=schema)
    assert data.unreadable == ()
    assert sum(int(np.isnan(data.splits[name].numbers).sum()) for name in SPLITS) == 2


def test_too_few_patients_for_the_folds() -> None:
    frame = table(patients=20)
    assert refused(frame, "--data.folds", "9") == (
        "data: 8 patients have the outcome yes, fewer than there are folds, 9."
    )


def test_a_table_without_rows() -> None:
    words = written(table())
    table()[:0].to_parquet("none.parquet")
    words += ["--data.source", "parquet", "--data.path", "none.parquet"]
    with pytest.raises(DataProblem, match=r"there are no rows in 'none.parquet'"):
        load(load_config(words))


def test_one_patient_elsewhere() -> None:
    frame = table().assign(who="w1")
    assert refused(frame, "--data.split", "external") == "data: there is one patient alone."


def test_a_few_rows_that_break_the_schema_are_left_out() -> None:
    frame = table()
    frame.loc[3, "age"] = 6000.0
    data = loaded(frame)
    assert data.unreadable == (("row 4", "age is outside 0 to 120 years"),)
    assert refused(frame, "--data.max_unreadable", "0") == (
        "data: 1 of 180 rows cannot be used, more than data.max_unreadable 0 allows; the first is "
        "row 4: age is outside 0 to 120 years."
    )


ANOTHER_UNIT = (
    "column 'age': 100% of its values are outside the plausible range, 0 to 120 years; it may be "
    "in another unit."
)
EMPTY = "column 'age': every value is missing; a column without any is of kind ignored."
UNSEEN = (
    "data: 180 of 180 rows cannot be used, more than data.max_unreadable 0.05 allows; the first is "
    "row 1: sex is not in values."
)
UNLISTED = (
    "column 'mail' is not in the schema; if it is not to be used, write it there with kind: "
    "ignored."
)
ONE_OUTCOME = "data: every row has the same outcome."
ONE_PATIENT = "data: there is one patient alone."


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"age": 6000.0}, ANOTHER_UNIT),
        ({"age": np.nan}, EMPTY),
        ({"sex": "x"}, UNSEEN),
        ({"mail": "a.b@c.org"}, UNLISTED),
        ({"died": 0}, ONE_OUTCOME),
        ({"who": "w1"}, ONE_PATIENT),
    ],
)
def test_tables_that_are_refused(changed: dict, message: str) -> None:
    assert refused(table().assign(**changed)) == message


def test_an_empty_table() -> None:
    assert refused(table()[:0]) == "data: there are no rows in 'table.csv'."


def test_what_may_tell_who_a_patient_is() -> None:
    columns = SCHEMA.columns | {"mrn": Column(kind="number")}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = table().assign(mrn=np.arange(180) + 1_000_003)
    said = refused(frame, schema=schema)
    assert said.startswith("column 'mrn': it looks like a record number.")
    assert said.endswith("--data.allow mrn.")
    assert len(loaded(frame, "--data.allow", "mrn", schema=schema).train) > 0


def test_a_column_that_gives_the_outcome_away(caplog: pytest.LogCaptureFixture) -> None:
    columns = SCHEMA.columns | {"discharged_to": Column(kind="category", values=("morgue", "home"))}
    schema = SCHEMA.model_copy(update={"columns": columns})
    frame = table()
    frame["discharged_to"] = np.where(frame["died"] == 1, "morgue", "home")
    loaded(frame, schema=schema)
    assert "column 'discharged_to' tells the outcome nearly always" in caplog.text


@pytest.mark.parametrize(
    "words",
    [["--data.source", "csv"], ["--data.source", "sql", "--data.path", "sqlite://"]],
)
def test_what_a_source_needs(words: list[str]) -> None:
    with pytest.raises(UsageProblem):
        load(load_config(words))


def test_no_file() -> None:
    with pytest.raises(DataProblem, match=r"^data.path: 'no.csv' is not a file.$"):
        load(load_config(["--data.source", "csv", "--data.path", "no.csv"]))
