"""A schema rejects invalid rows and names the rule, never the value."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema, read_schema
from {{ cookiecutter.package_name }}.engine.errors import DataProblem, UsageProblem

SCHEMA = Schema(
    reviewed_by="A. Reader",
    columns={
        "patient": Column(kind="patient"),
        "clinic": Column(kind="site"),
        "visit": Column(kind="time"),
        "part": Column(kind="split"),
        "age": Column(kind="number", unit="years", min=0, max=120, bands=(40, 60)),
        "glucose": Column(kind="number", unit="mmol/l", min=1),
        "smoker": Column(kind="boolean", yes="yes", no="no"),
        "onset": Column(kind="date"),
        "stage": Column(kind="category", values=("I", "II"), subgroup=True),
        "note": Column(kind="ignored"),
        "died": Column(kind="outcome", yes="1", no="0"),
    },
)
NUMBERS = ("age", "glucose", "smoker", "onset")


def make_table(size: int = 10, **cells: Any) -> pd.DataFrame:
    """Rows that fit; ``cells`` replaces the first cell of a column."""
    frame = pd.DataFrame(
        {
            "patient": [f"p{row}" for row in range(size)],
            "clinic": "north",
            "visit": "2020-03-11",
            "part": "train",
            "age": [str(50 + row) for row in range(size)],
            "glucose": "5.5",
            "smoker": "yes",
            "onset": "2020-03-01",
            "stage": "I",
            "note": "",
            "died": "0",
        }
    )
    for name, value in cells.items():
        frame.loc[0, name] = value
    return frame


def find_problems(**cells: Any) -> tuple[tuple[str, str], ...]:
    return SCHEMA.parse(make_table(**cells)).problems


# === Rows ===


def test_valid_rows() -> None:
    frame = make_table(3, smoker="no", died="1", age=" 61.5 ", glucose="", stage="", part="test")
    records = SCHEMA.parse(frame)
    assert (SCHEMA.numbers, SCHEMA.categories) == (NUMBERS, ("stage",))
    assert records.rows.tolist() == [1, 2, 3]
    assert records.numbers.dtype == np.float32
    np.testing.assert_array_equal(
        records.numbers, [[61.5, np.nan, 0, 10], [51, 5.5, 1, 10], [52, 5.5, 1, 10]]
    )
    assert records.categories.tolist() == [[""], ["I"], ["I"]]
    assert records.outcome.tolist() == [1, 0, 0]
    assert records.patients.tolist() == ["p0", "p1", "p2"]
    assert records.sites.tolist() == ["north"] * 3
    assert records.splits.tolist() == ["test", "train", "train"]
    assert records.times.tolist() == [18332] * 3
    assert records.problems == ()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("visit", "11.03.2020", "visit is not a date"),
        ("visit", "", "visit is missing"),
        ("age", "old", "age is not a number"),
        ("age", "inf", "age is not a number"),
        ("age", "3,5", "age is not a number"),
        ("age", "-1", "age is outside 0 to 120 years"),
        ("age", "120.5", "age is outside 0 to 120 years"),
        ("glucose", "0.9", "glucose is outside 1 to any mmol/l"),
        ("smoker", "Yes", "smoker is neither yes nor no"),
        ("onset", "long ago", "onset is not a date"),
        ("onset", "2020-03-12", "onset lies after visit"),
        ("stage", "III", "stage is not in values"),
        ("died", "", "died is missing"),
        ("died", "2", "died is neither 1 nor 0"),
        ("patient", "", "patient is missing"),
    ],
)
def test_rows_that_break_a_rule(column: str, value: str, reason: str) -> None:
    records = SCHEMA.parse(make_table(**{column: value}))
    assert records.problems == (("row 1", reason),)
    assert records.rows.tolist() == list(range(2, 11))
    assert len(records.numbers) == len(records.outcome) == len(records.patients) == 9


def test_the_borders_of_a_range_are_plausible() -> None:
    assert find_problems(age="0", glucose="1") == find_problems(age="120") == ()


def test_the_first_rule_that_a_row_breaks_is_named() -> None:
    assert find_problems(age="700", stage="IV", patient="") == (
        ("row 1", "age is outside 0 to 120 years"),
    )


def test_a_row_without_any_value() -> None:
    empty = dict.fromkeys((*NUMBERS, "stage"), "")
    assert find_problems(**empty) == (("row 1", "every value is missing"),)


def test_no_value_of_a_patient_is_shown() -> None:
    secret = dict.fromkeys(("visit", *NUMBERS, "stage", "died"), "Secret1")
    for name, value in secret.items():
        assert "Secret1" not in str(find_problems(**{name: value}))
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(make_table(20).assign(age="9876"))
    assert "9876" not in str(caught.value)


# === Columns ===


def test_another_unit() -> None:
    frame = make_table(20).assign(age=["600"] * 6 + ["60"] * 14)
    message = (
        "column 'age': 30% of its values are outside the plausible range, 0 to 120 years; it may "
        "be in another unit."
    )
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(frame)
    assert str(caught.value) == message
    few = SCHEMA.parse(frame[:10])
    assert len(few.problems) == 6, "of ten values a share says little: each is named"


def test_a_column_without_a_value() -> None:
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(make_table().assign(glucose=""))
    assert str(caught.value) == (
        "column 'glucose': every value is missing; give an empty column kind: ignored."
    )
    assert len(SCHEMA.parse(make_table().assign(glucose=""), for_prediction=True)) == 10


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        (
            {"glucose": "glucos"},
            "column 'glucose' of the schema is missing. Has it been renamed to 'glucos'?",
        ),
        (
            {"smoker": "x1", "stage": "x2"},
            "column 'smoker' of the schema is missing.",
        ),
    ],
)
def test_a_column_is_missing(renamed: dict[str, str], message: str) -> None:
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(make_table().rename(columns=renamed))
    assert str(caught.value) == message


def test_a_missing_column_is_not_taken_for_a_known_one() -> None:
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(make_table().drop(columns="age"))
    assert str(caught.value) == "column 'age' of the schema is missing."


def test_a_column_occurs_twice() -> None:
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(pd.concat([make_table(), make_table()[["age"]]], axis=1))
    assert str(caught.value) == "column 'age' occurs twice."


def test_a_visit_in_the_future() -> None:
    assert find_problems(visit="2999-01-01", onset="") == (("row 1", "visit lies in the future"),)


def test_a_column_that_the_schema_does_not_have() -> None:
    frame = make_table().assign(potassium="4")
    with pytest.raises(DataProblem) as caught:
        SCHEMA.parse(frame)
    assert str(caught.value) == (
        "column 'potassium' is not in the schema; to leave it out, add it with kind: ignored."
    )
    assert len(SCHEMA.parse(frame, for_prediction=True)) == 10


def test_an_ignored_column_may_be_missing() -> None:
    assert len(SCHEMA.parse(make_table().drop(columns="note"))) == 10


def test_a_patient_to_be_predicted_needs_no_outcome() -> None:
    bare = make_table(1).drop(columns=["died", "patient", "clinic", "part"])
    records = SCHEMA.parse(bare, for_prediction=True)
    assert (len(records), len(records.outcome), records.patients.tolist()) == (1, 0, [""])
    with pytest.raises(DataProblem, match="column 'visit' of the schema is missing"):
        SCHEMA.parse(bare.drop(columns="visit"), for_prediction=True)
    undated = {n: c for n, c in SCHEMA.columns.items() if c.kind != "date"}
    frame = bare.drop(columns=["visit", "onset"])
    records = Schema(columns=undated).parse(frame, for_prediction=True)
    assert np.isnan(records.times).all()


# === Types ===


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, "", " "])
def test_missing_cells(missing: Any) -> None:
    frame = make_table().astype({"age": object, "stage": object})
    frame.loc[0, ["age", "stage"]] = missing
    records = SCHEMA.parse(frame)
    assert records.problems == ()
    assert np.isnan(records.numbers[0, 0])
    assert records.categories[0, 0] == ""


def test_types_of_parquet() -> None:
    frame = make_table(4).assign(
        age=pd.array([61, None, 63, 64], dtype="Int64"),
        glucose=np.array([5.5, np.nan, 4, 5], "float64"),
        smoker=pd.array([True, None, False, True], dtype="boolean"),
        visit=pd.to_datetime(["2020-03-11 08:30"] * 4),
        onset=pd.to_datetime(["2020-03-01", None, "2020-03-02", "2020-03-11"]),
        stage=pd.Categorical(["I", "II", None, "I"]),
        patient=[7.0, 8.0, 9.0, 10.0],
        died=[True, False, True, False],
    )
    booleans = {
        "smoker": Column(kind="boolean", yes="True", no="False"),
        "died": Column(kind="outcome", yes="True", no="False"),
    }
    records = Schema(columns=SCHEMA.columns | booleans).parse(frame)
    assert records.problems == ()
    np.testing.assert_array_equal(
        records.numbers,
        [[61, 5.5, 1, 10], [np.nan, np.nan, np.nan, np.nan], [63, 4, 0, 9], [64, 5, 1, 0]],
    )
    assert records.categories[:, 0].tolist() == ["I", "II", "", "I"]
    assert records.patients.tolist() == ["7", "8", "9", "10"]
    assert records.outcome.tolist() == [1, 0, 1, 0]


# === Files ===


def test_a_file_gives_the_same_schema(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(SCHEMA.to_yaml(), encoding="utf-8")
    assert read_schema(tmp_path / "schema.yaml") == SCHEMA
    unreviewed = SCHEMA.model_copy(update={"reviewed_by": ""})
    assert unreviewed.digest == SCHEMA.digest
    columns = SCHEMA.columns | {"glucose": Column(kind="number", unit="mg/dl", min=1)}
    assert SCHEMA.model_copy(update={"columns": columns}).digest != SCHEMA.digest


def test_words_that_yaml_parses_as_other_types(tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    columns = ("a: {kind: category, values: [yes, off, 1]}", "y: {kind: outcome, yes: yes, no: no}")
    file.write_text("columns:\n" + "".join(f"  {line}\n" for line in columns))
    schema = read_schema(file)
    assert schema.columns["a"].values == ("yes", "off", "1")
    assert (schema.columns["y"].yes, schema.columns["y"].no) == ("yes", "no")


A = "a: {kind: number}"
Y = "y: {kind: outcome, 'yes': '1', 'no': '0'}"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((A, "b: {kind: number}"), "the schema: no column is of kind outcome."),
        (("b: {kind: site}", Y), "the schema: no column is a number, category, boolean or date."),
        ((A, Y, Y.replace("y:", "z:")), "the schema: one column may be of kind outcome, not y, z."),
        (
            ("b: {kind: date}", Y),
            "the schema: kind date needs a column of kind time: dates become days before the row's "
            "time.",
        ),
        (
            ("b: {kind: category, values: [x, x]}", Y),
            "columns.b: a category needs at least two values, and none of them empty.",
        ),
        (
            ("b: {kind: boolean, 'yes': '1', 'no': '1'}", Y),
            "columns.b: boolean needs two different texts, yes and no.",
        ),
        (
            (A, "y: {kind: outcome}"),
            "columns.y: outcome needs two different texts, yes and no.",
        ),
        (("b: {kind: number, min: 5, max: 5}", Y), "columns.b: min must be below max."),
        (
            ("b: {kind: patient, bands: [40]}", Y),
            "columns.b: bands are for kind number, not patient.",
        ),
        (
            ("b: {kind: number, min: high}", Y),
            "columns.b.min: Input should be a valid number, unable to parse string as a number.",
        ),
        (("b: {kind: number, minn: 5}", Y), "columns.b.minn: Extra inputs are not permitted."),
    ],
)
def test_invalid_files(
    columns: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("columns:\n" + "".join(f"  {line}\n" for line in columns))
    with pytest.raises(UsageProblem) as caught:
        read_schema(Path("s.yaml"))
    assert str(caught.value) == f"data.schema_file: 's.yaml': {message}"


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageProblem) as caught:
        read_schema(Path("s.yaml"))
    assert str(caught.value) == "data.schema_file: 's.yaml': No such file or directory."
    Path("s.yaml").write_text("columns: [")
    with pytest.raises(UsageProblem, match=r"^data.schema_file: 's.yaml' is not YAML: "):
        read_schema(Path("s.yaml"))
