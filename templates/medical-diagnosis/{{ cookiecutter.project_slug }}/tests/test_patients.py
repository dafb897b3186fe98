"""``inspect`` describes a table and proposes a schema for a person to review."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import Config, DataConfig
from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema, read_schema
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.findings import Findings
from {{ cookiecutter.package_name }}.inspection.patients import inspect

ROWS = 400
DAYS = pd.Timestamp("2019-01-01")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def visits(**columns: Any) -> pd.DataFrame:
    """Return visits of 100 patients with a rare outcome that is independent of all columns."""
    chance, rows = np.random.default_rng(0), np.arange(ROWS)
    frame = pd.DataFrame(
        {
            "patient_id": [f"P{row % 100:03}" for row in rows],
            "Hospital": np.where(rows % 3, "south", "north"),
            "visit_date": (DAYS + pd.to_timedelta(rows, "D")).strftime("%Y-%m-%d"),
            "age": 20 + rows % 71,
            "sex": np.where(rows % 5 < 3, "F", "M"),
            "glucose_mmol_l": 3 + rows % 60 / 10,
            "smoker": np.where(rows % 7 < 3, "yes", "no"),
            "died": (chance.permutation(ROWS) < 80).astype(int),
        }
    )
    return frame.assign(**columns)


def inspect_table(frame: pd.DataFrame, name: str = "t.csv", **data: Any) -> tuple[Findings, Schema]:
    """Return the findings of a table and the proposed schema."""
    if name.endswith("parquet"):
        frame.to_parquet(name)
    else:
        frame.to_csv(name, index=False, sep="\t" if name.endswith("tsv") else ",")
    findings = inspect(Path(name), Config(data=DataConfig(**data)), set(data))
    suffix, text = findings.beside["schema_file"]
    Path(suffix).write_text(text, encoding="utf-8")
    return findings, read_schema(Path(suffix))


def infer(values: Any, name: str = "x") -> tuple[Column, str]:
    """Return the column that is inferred from values, and its warnings."""
    findings, schema = inspect_table(visits(**{name: values}))
    return schema.columns[name], " ".join(text for text in findings.warnings if name in text)


# === Facts and files ===


def test_facts_and_schema() -> None:
    findings, schema = inspect_table(visits())
    assert findings.facts == [
        ("file", "400 rows, csv"),
        ("columns", "8, of which 4 are inputs of the model"),
        ("column patient_id", "patient, 100 different"),
        ("column Hospital", "site, south 266, north 134"),
        ("column visit_date", "time, 2019-01-01 to 2020-02-04"),
        ("column age", "number, 20 to 90; plausible 0 to 120 years"),
        ("column sex", "category, F 240, M 160"),
        ("column glucose_mmol_l", "number, 3 to 8.9; plausible 0.5 to 60 mmol/l"),
        ("column smoker", "boolean, 'yes' means yes: 172 of 400 (43.0%)"),
        ("column died", "outcome, '1' means yes: 80 of 400 (20.0%)"),
        ("ranges", "derived from this data, except well-known ones"),
    ]
    assert findings.warnings == [
        "patients have several rows: 100 patients in 400 rows, 4.0 on average and up to 4; all "
        "rows of a patient stay in one split."
    ]
    assert findings.fields == {"source": "csv", "path": "t.csv"}
    assert schema.columns == {
        "patient_id": Column(kind="patient"),
        "Hospital": Column(kind="site"),
        "visit_date": Column(kind="time"),
        "age": Column(kind="number", unit="years", min=0, max=120, bands=(40, 60, 75)),
        "sex": Column(kind="category", values=("F", "M"), subgroup=True),
        "glucose_mmol_l": Column(kind="number", unit="mmol/l", min=0.5, max=60),
        "smoker": Column(kind="boolean", yes="yes", no="no"),
        "died": Column(kind="outcome", yes="1", no="0"),
    }
    assert schema.parse(pd.read_csv("t.csv", dtype=str, keep_default_na=False)).problems == ()


def test_the_schema_waits_for_a_person() -> None:
    _, text = inspect_table(visits())[0].beside["schema_file"]
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert text.startswith("\n".join(comment) + "\nreviewed_by: ''\ncolumns:\n")
    assert comment[0].startswith("# Columns of t.csv, as proposed by inspect.")
    assert comment[-1] == "#   - then enter a name in reviewed_by."


@pytest.mark.parametrize("name", ["t.tsv", "t.parquet"])
def test_other_tables(name: str) -> None:
    frame = visits(
        visit_date=DAYS + pd.to_timedelta(np.arange(ROWS), "D"), smoker=[True, None] * 200
    )
    frame.loc[1::4, "smoker"] = False
    findings, schema = inspect_table(frame, name)
    assert findings.fields["source"] == ("parquet" if name == "t.parquet" else "csv")
    assert schema.columns["smoker"] == Column(kind="boolean", yes="True", no="False")
    assert ("column smoker", "boolean, 'True' means yes: 200 of 300 (66.7%); 25.0% missing") in (
        findings.facts
    )
    assert (schema.time, schema.outcome) == ("visit_date", "died")


def test_it_is_written_beside_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    run = program.script("inspect")
    Path("pyproject.toml").touch()
    visits().to_csv("t.csv", index=False)
    assert run(["t.csv"]) == 0
    assert "Written to configs/my_data_schema.yaml" in capsys.readouterr().out
    data = yaml.safe_load(Path("configs/my_data.yaml").read_text())["data"]
    assert Path(data["schema_file"]).name == "my_data_schema.yaml"
    assert read_schema(Path(data["schema_file"])).outcome == "died"
    Path("configs/my_data.yaml").unlink()
    assert run(["t.csv"]) == 2
    assert "my_data_schema.yaml' exists; --force replaces it." in capsys.readouterr().err
    assert run(["t.csv", "--force"]) == 0


# === Kinds of columns ===


@pytest.mark.parametrize(
    ("name", "values", "yes", "is_assumed"),
    [
        ("diagnosis", "B M", "M", False),
        ("Outcome", "positive negative", "positive", False),
        ("death_event", "0 1", "1", False),
        ("class", "control cancer", "cancer", False),
        ("readmitted_30d", "True False", "True", False),
        ("target", "2 1", "1", True),
        ("label", "x z", "z", True),
    ],
)
def test_the_outcome(name: str, values: str, yes: str, is_assumed: bool) -> None:
    cells = np.array(values.split())[(np.arange(ROWS) % 4 == 0).astype(int)]
    findings, schema = inspect_table(visits(**{name: cells}).drop(columns="died"))
    assert (schema.outcome, schema.columns[name].yes) == (name, yes)
    warning = (
        f"outcome {name!r}: {yes!r} is assumed to mean yes, as the rarer of the two values; if it "
        "means no, exchange yes and no in the schema file."
    )
    assert (warning in findings.warnings) == is_assumed


def test_two_columns_that_may_be_the_outcome() -> None:
    findings, schema = inspect_table(visits(readmitted=["no", "yes"] * 200))
    assert schema.outcome == "died"
    assert (
        "column 'readmitted' may be an outcome too; if it is not known yet when a risk is "
        "predicted, set kind: ignored."
    ) in findings.warnings


@pytest.mark.parametrize(
    ("columns", "patient"),
    [
        ("subject", "subject"),
        ("PatientNumber encounter_id", "PatientNumber"),
        ("case_id", "case_id"),
        ("id", "id"),
        ("mrn", "mrn"),
        ("patient_weight number", ""),
    ],
)
def test_the_patient(columns: str, patient: str) -> None:
    ids = [f"{row % 90}" for row in range(ROWS)]
    frame = visits(**dict.fromkeys(columns.split(), ids)).drop(columns="patient_id")
    findings, schema = inspect_table(frame)
    assert schema.patient == patient
    warning = (
        "no column is of kind patient, so every row counts as a patient. If patients have several "
        "rows, the model is tested on patients that it was trained on."
    )
    assert (warning in findings.warnings) == (not patient)


def test_splits_that_are_there() -> None:
    assert infer(["train", "test"] * 200, "split")[0] == Column(kind="split")
    assert infer(["A", "B"] * 200, "set")[0].kind == "category"
    # A model would see it otherwise.
    assert infer(["train", "dev"] * 200, "cohort")[0] == Column(kind="split")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("weight_kg", "kg"),
        ("creatinine (mg/dl)", "mg/dl"),
        ("creatinineUmol_l", "µmol/l"),
        ("temperature_f", "°F"),
        ("crp", ""),
    ],
)
def test_units(name: str, unit: str) -> None:
    assert infer(50 + np.arange(ROWS) % 97 / 3, name)[0].unit == unit


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, (0, 1.3)), (-3, 3, (-5, 5)), (120, 180, (100, 200)), (0.001, 0.0035, (0, 0.0045))],
)
def test_ranges_are_round(low: float, high: float, expected: tuple) -> None:
    column, _ = infer(np.linspace(low, high, ROWS))
    assert (column.min, column.max) == expected


def test_dates_count_back_from_the_visit() -> None:
    before = (DAYS - pd.to_timedelta(np.arange(ROWS) % 90, "D")).strftime("%Y-%m-%d")
    assert infer(before) == (Column(kind="date"), "")
    findings, schema = inspect_table(visits(x=before).drop(columns="visit_date"))
    assert schema.columns["x"].kind == "ignored"
    assert (
        "column 'x' has dates, but no column has the time of each row (kind: time); it is ignored."
    ) in findings.warnings


def days_later() -> Any:
    return (DAYS + pd.to_timedelta(np.arange(ROWS) + 3, "D")).strftime("%Y-%m-%d")


@pytest.mark.parametrize(
    ("name", "values", "warning"),
    [
        (
            "e_mail",
            ["a"] * ROWS,
            "looks like an e-mail address; it is ignored. If it does not identify patients: "
            "--data.allow e_mail.",
        ),
        ("x", ["a"] * ROWS, "has a single value; it is ignored."),
        ("x", [""] * ROWS, "is empty; it is ignored."),
        ("x", range(ROWS), "numbers the rows; it is ignored."),
        ("visit_id", [3 * row % 401 for row in range(ROWS)], "is an identifier; it is ignored."),
        (
            "x",
            days_later(),
            "often lies after the row's time, when it is not known yet; it is ignored.",
        ),
        (
            "x",
            [f"{10 + row % 9}.01.2019" for row in range(ROWS)],
            "has dates that are not written as 2024-01-31; it is ignored.",
        ),
        (
            "x",
            ["abcdefgh"[row % 8] + "ijklmnop"[row // 8 % 8] for row in range(ROWS)],
            "has 64 different values in 400 rows, too many for a category; it is ignored.",
        ),
    ],
)
def test_columns_that_are_ignored(name: str, values: Any, warning: str) -> None:
    assert infer(values, name) == (Column(kind="ignored"), f"column {name!r} {warning}")


def test_columns_that_are_allowed() -> None:
    findings, schema = inspect_table(visits(zip=["1", "2"] * 200), allow="zip, other")
    assert schema.columns["zip"].kind == "number"
    assert findings.fields["allow"] == "zip, other"


# === Warnings ===


@pytest.mark.parametrize(
    ("values", "kind", "warning"),
    [
        (
            [f"{row % 70},5" for row in range(ROWS)],
            "ignored",
            "column 'x': 400 numbers are written with a comma or as '<5'; the column is ignored "
            "until they are written as plain numbers.",
        ),
        (
            ["<5", "6"] * 200,
            "category",
            "column 'x': 200 numbers are written with a comma or as '<5'; the column is taken for "
            "a category.",
        ),
        (
            ["<5"] * 8 + [f"{5 + row % 70}" for row in range(392)],
            "number",
            "column 'x': 8 numbers are written with a comma or as '<5'; their rows are rejected.",
        ),
        (
            ["NA"] * 8 + [f"{5 + row % 70}" for row in range(392)],
            "number",
            "column 'x': 8 cells with 'NA' are assumed to be missing; if they are not, correct "
            "missing in the schema file.",
        ),
        (
            [-9] * 8 + [5 + row % 70 for row in range(392)],
            "number",
            "column 'x': -9 occurs 8 times, far outside the rest; if it means missing, add "
            "missing: ['-9'] to the column in the schema file.",
        ),
        (
            [""] * 300 + [row % 70 for row in range(100)],
            "number",
            "column 'x': 75% of its values are missing.",
        ),
    ],
)
def test_odd_numbers(values: Any, kind: str, warning: str) -> None:
    column, warnings = infer(values)
    assert column.kind == kind
    assert warning in warnings


def test_texts_for_missing_are_proposed() -> None:
    column, _ = infer(["NA", "n/a"] * 4 + [f"{5 + row % 70}" for row in range(392)])
    assert column.missing == ("NA", "n/a")
    column, _ = infer(["unknown", "yes", "no", "no"] * 100)
    assert (column.kind, column.missing) == ("boolean", ("unknown",))


@pytest.mark.parametrize(
    ("name", "factor", "expected"),
    [("glucose", 18, True), ("creatinine", 1 / 88.4, True), ("crp", 1, False)],
)
def test_two_units_in_one_column(name: str, factor: float, expected: bool) -> None:
    values = np.random.default_rng(0).lognormal(4.5, 0.3, ROWS)
    values[: ROWS // 3] /= factor
    _, warnings = infer(values.round(3), name)
    assert ("form two distant groups" in warnings) == expected


def test_values_spread_over_decades_are_of_one_unit() -> None:
    _, warnings = infer(np.random.default_rng(0).lognormal(1, 1.5, ROWS).round(3))
    assert "two distant groups" not in warnings


def test_small_whole_numbers_are_of_one_unit() -> None:
    days = np.ceil(np.random.default_rng(0).gamma(2.0, 2.2, ROWS))
    _, warnings = infer(days.astype(int), "days_in_hospital")
    assert "two distant groups" not in warnings


def test_few_numbers_below_zero_are_not_plausible() -> None:
    values = 60 + np.arange(ROWS) % 90.0
    values[:13] = -5
    column, warnings = infer(values)
    assert column.min == 30
    assert "13 numbers are negative" in warnings
    signed, warnings = infer(np.arange(ROWS) % 90.0 - 40)
    assert signed.min < -40
    assert "negative" not in warnings


def test_known_ranges_follow_the_unit() -> None:
    for name, values, outside in (
        ("glucose_mg_dl", 60 + np.arange(ROWS) % 90, False),
        ("glucose_mmol_l", 60 + np.arange(ROWS) % 90, True),
        ("glucose_mg_dl", 3 + np.arange(ROWS) % 60 / 10, True),
    ):
        frame = visits().drop(columns="glucose_mmol_l").assign(**{name: values})
        assert (
            any("in another unit" in text for text in inspect_table(frame)[0].warnings) == outside
        )


def test_a_column_named_by_a_number() -> None:
    column, _ = infer(50 + np.arange(ROWS) % 97 / 3, "1")
    assert (column.kind, column.unit) == ("number", "")


def test_one_patient_alone_is_not_many() -> None:
    findings, schema = inspect_table(visits(patient_id="P1"))
    assert schema.patient == "patient_id"
    assert "all rows are of one patient; training needs at least two." in findings.warnings


def test_record_numbers_that_repeat_with_their_patient() -> None:
    numbers = np.random.default_rng(0).permutation(900_000)[:100] + 1_000_000
    column, warnings = infer(numbers[np.arange(ROWS) % 100], "folder")
    assert column.kind == "ignored"
    assert "looks like a record number" in warnings


def test_a_first_line_of_values_is_not_shown() -> None:
    visits().to_csv("t.csv", index=False, header=False)
    with pytest.raises(DataProblem) as caught:
        inspect(Path("t.csv"), Config(), set())
    expected = "t.csv: the first line holds values; it must hold the names of the columns."
    assert str(caught.value) == expected


def test_rows_with_more_fields_than_names() -> None:
    text = visits().to_csv(header=False)
    Path("t.csv").write_text(",".join(visits().columns) + "\n" + text)
    with pytest.raises(DataProblem, match="some rows have more fields than the header has names"):
        inspect(Path("t.csv"), Config(), set())


def test_rejected_rows() -> None:
    findings, _ = inspect_table(
        visits(x=["5"] * 9 + ["many"] * 3 + ["6"] * 388, age=[130, *[50] * 399])
    )
    assert findings.warnings[-2:] == [
        "1 rows are rejected: age is outside 0 to 120 years; the first is row 1.",
        "3 rows are rejected: x is not a number; the first is row 10.",
    ]


def test_another_unit() -> None:
    column, warnings = infer(95 + np.arange(ROWS) % 70 / 10, "temperature")
    assert column == Column(kind="number", unit="°C", min=25, max=45)
    assert warnings == (
        "column 'temperature': 100% of its values are outside 25 to 45 °C; it may be in another "
        "unit. Training requires the right unit and range."
    )


def test_duplicates_few_events_and_a_leak() -> None:
    frame = visits(died=[1] * 30 + [0] * 370, ward=["icu"] * 30 + ["home"] * 370)
    findings, _ = inspect_table(pd.concat([frame, frame[-7:]]))
    assert findings.warnings[1:] == [
        "7 rows are duplicates: they equal an earlier row in all columns.",
        "few events: 30 rows with the rarer outcome for 5 columns, less than 10 a column; a model "
        "with fewer columns may be better.",
        "column 'ward' alone predicts the outcome (AUROC 1.000); if it is not known yet when a "
        "risk is predicted, set kind: ignored.",
    ]


def test_values_of_an_ignored_column_are_not_shown() -> None:
    findings, _ = inspect_table(visits(contact=[f"jo{row}@example.org" for row in range(ROWS)]))
    assert ("column contact", "ignored") in findings.facts
    assert "example.org" not in str(findings)


# === Errors ===


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("t.txt", "a", "PATH: 't.txt' is not a .csv, .tsv or .parquet file."),
        ("t.csv", "age,died\n", "PATH: 't.csv' has no rows."),
        ("t.csv", "", "t.csv: the file has no rows."),
        ("t.csv", "age,age ,died\n1,2,0\n", "PATH: two columns are named 'age'."),
        (
            "t.csv",
            "age,stage\n50,1\n51,2\n",
            "PATH: no column looks like the outcome; it has two values and a name such as outcome, "
            "diagnosis, target, label, event, death. Columns: age, stage.",
        ),
        (
            "t.csv",
            "age,died\n50,1\n51,1\n",
            "PATH: the outcome, column 'died', has a single value; it needs two.",
        ),
        (
            "t.csv",
            "phone,country,died\n1,x,0\n1,x,1\n",
            "PATH: no column is left as an input of the model. column 'phone' looks like a phone "
            "number; it is ignored. If it does not identify patients: --data.allow phone. column "
            "'country' has a single value; it is ignored.",
        ),
    ],
)
def test_invalid_tables(path: str, text: str, message: str) -> None:
    Path(path).write_text(text)
    with pytest.raises(DataProblem) as caught:
        inspect(Path(path), Config(), set())
    assert str(caught.value) == message
