"""``inspect_data`` says what a table holds, and proposes a schema that a person reviews."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.config import Config, DataConfig
from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema, read
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.findings import Findings
from {{ cookiecutter.package_name }}.inspection.patients import inspect

ROWS = 400
DAYS = pd.Timestamp("2019-01-01")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def visits(**columns: Any) -> pd.DataFrame:
    """Visits of 100 patients; the outcome is rare and nothing tells it."""
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


def inspected(frame: pd.DataFrame, name: str = "t.csv", **data: Any) -> tuple[Findings, Schema]:
    """What is found in a table, and the schema that is proposed."""
    if name.endswith("parquet"):
        frame.to_parquet(name)
    else:
        frame.to_csv(name, index=False, sep="\t" if name.endswith("tsv") else ",")
    findings = inspect(Path(name), Config(data=DataConfig(**data)), set(data))
    suffix, text = findings.beside["schema_file"]
    Path(suffix).write_text(text, encoding="utf-8")
    return findings, read(Path(suffix))


def column_x(values: Any, name: str = "x") -> tuple[Column, str]:
    """The guess for one more column, and what is warned of it."""
    findings, schema = inspected(visits(**{name: values}))
    return schema.columns[name], " ".join(text for text in findings.warnings if name in text)


# === What it says ===


def test_what_it_says_and_writes() -> None:
    findings, schema = inspected(visits())
    assert findings.facts == [
        ("file", "400 rows, csv"),
        ("columns", "8, of which a model sees 4"),
        ("column patient_id", "patient, 100 different"),
        ("column Hospital", "site, south 266, north 134"),
        ("column visit_date", "time, 2019-01-01 to 2020-02-04"),
        ("column age", "number, 20 to 90; plausible 0 to 120 years"),
        ("column sex", "category, F 240, M 160"),
        ("column glucose_mmol_l", "number, 3 to 8.9; plausible 0.5 to 60 mmol/l"),
        ("column smoker", "boolean, 'yes' means yes: 172 of 400 (43.0%)"),
        ("column died", "outcome, '1' means yes: 80 of 400 (20.0%)"),
        ("ranges", "a proposal from this data, except those that are well known"),
    ]
    assert findings.warnings == [
        "patients come repeatedly: 100 of them in 400 rows, 4.0 each in the mean and up to 4; all "
        "rows of a patient stay in one split."
    ]
    assert findings.fields == {"source": "csv", "path": "t.csv"}
    assert schema.columns == {
        "patient_id": Column(kind="patient"),
        "Hospital": Column(kind="site"),
        "visit_date": Column(kind="time"),
        "age": Column(kind="number", unit="years", least=0, most=120, bands=(40, 60, 75)),
        "sex": Column(kind="category", values=("F", "M"), subgroup=True),
        "glucose_mmol_l": Column(kind="number", unit="mmol/l", least=0.5, most=60),
        "smoker": Column(kind="boolean", yes="yes", no="no"),
        "died": Column(kind="outcome", yes="1", no="0"),
    }
    assert schema.parse(pd.read_csv("t.csv", dtype=str, keep_default_na=False)).problems == ()


def test_the_schema_waits_for_a_person() -> None:
    _, text = inspected(visits())[0].beside["schema_file"]
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert text.startswith("\n".join(comment) + "\nreviewed_by: ''\ncolumns:\n")
    assert comment[0].startswith("# What the columns of t.csv hold")
    assert comment[-1] == "#   - then put a name into reviewed_by."


@pytest.mark.parametrize("name", ["t.tsv", "t.parquet"])
def test_other_tables(name: str) -> None:
    frame = visits(
        visit_date=DAYS + pd.to_timedelta(np.arange(ROWS), "D"), smoker=[True, None] * 200
    )
    frame.loc[1::4, "smoker"] = False
    findings, schema = inspected(frame, name)
    assert findings.fields["source"] == ("parquet" if name == "t.parquet" else "csv")
    assert schema.columns["smoker"] == Column(kind="boolean", yes="True", no="False")
    assert ("column smoker", "boolean, 'True' means yes: 200 of 300 (66.7%); 25.0% missing") in (
        findings.facts
    )
    assert (schema.time, schema.outcome) == ("visit_date", "died")


def test_it_is_written_beside_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    from .conftest import inspect

    Path("pyproject.toml").touch()
    visits().to_csv("t.csv", index=False)
    assert inspect(["t.csv"]) == 0
    assert "Written to configs/my_data_schema.yaml" in capsys.readouterr().out
    data = yaml.safe_load(Path("configs/my_data.yaml").read_text())["data"]
    assert Path(data["schema_file"]).name == "my_data_schema.yaml"
    assert read(Path(data["schema_file"])).outcome == "died"
    Path("configs/my_data.yaml").unlink()
    assert inspect(["t.csv"]) == 2
    assert "my_data_schema.yaml' exists; --force replaces it." in capsys.readouterr().err
    assert inspect(["t.csv", "--force"]) == 0


# === Which column is which ===


@pytest.mark.parametrize(
    ("name", "values", "yes", "guessed"),
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
def test_the_outcome(name: str, values: str, yes: str, guessed: bool) -> None:
    written = np.array(values.split())[(np.arange(ROWS) % 4 == 0).astype(int)]
    findings, schema = inspected(visits(**{name: written}).drop(columns="died"))
    assert (schema.outcome, schema.columns[name].yes) == (name, yes)
    warning = (
        f"outcome {name!r}: that {yes!r} means yes is guessed, as it is the rarer of the two; if "
        "it does not, exchange yes and no in the schema file."
    )
    assert (warning in findings.warnings) == guessed


def test_two_columns_may_be_the_outcome() -> None:
    findings, schema = inspected(visits(readmitted=["no", "yes"] * 200))
    assert schema.outcome == "died"
    assert (
        "column 'readmitted' may be an outcome too; if it is not known when a risk is asked for, "
        "its kind is ignored."
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
    findings, schema = inspected(frame)
    assert schema.patient == patient
    warning = (
        "no column is of kind patient; every row counts as a patient of its own. If patients come "
        "repeatedly, the test would hold some that the model was trained on."
    )
    assert (warning in findings.warnings) == (not patient)


def test_splits_that_are_there() -> None:
    assert column_x(["train", "test"] * 200, "split")[0] == Column(kind="split")
    assert column_x(["A", "B"] * 200, "set")[0].kind == "category"
    # A model would see it otherwise.
    assert column_x(["train", "dev"] * 200, "cohort")[0] == Column(kind="split")


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
    assert column_x(50 + np.arange(ROWS) % 97 / 3, name)[0].unit == unit


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [(0, 1, 0, 1.3), (-3, 3, -5, 5), (120, 180, 100, 200), (0.001, 0.0035, 0, 0.0045)],
)
def test_ranges_are_round(low: float, high: float, least: float, most: float) -> None:
    column, _ = column_x(np.linspace(low, high, ROWS))
    assert (column.least, column.most) == (least, most)


def test_dates_count_back_from_the_visit() -> None:
    before = (DAYS - pd.to_timedelta(np.arange(ROWS) % 90, "D")).strftime("%Y-%m-%d")
    assert column_x(before) == (Column(kind="date"), "")
    findings, schema = inspected(visits(x=before).drop(columns="visit_date"))
    assert schema.columns["x"].kind == "ignored"
    assert (
        "column 'x' holds dates, and no column says when a row was recorded (kind time); it is "
        "ignored."
    ) in findings.warnings


def days_later() -> Any:
    return (DAYS + pd.to_timedelta(np.arange(ROWS) + 3, "D")).strftime("%Y-%m-%d")


@pytest.mark.parametrize(
    ("name", "values", "warning"),
    [
        (
            "e_mail",
            ["a"] * ROWS,
            "looks like an e-mail address; it is ignored. If it does not tell who a patient is: "
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
            "holds dates that are not written as 2024-01-31; it is ignored.",
        ),
        (
            "x",
            ["abcdefgh"[row % 8] + "ijklmnop"[row // 8 % 8] for row in range(ROWS)],
            "has 64 different values in 400 rows, too many for a category; it is ignored.",
        ),
    ],
)
def test_columns_that_are_ignored(name: str, values: Any, warning: str) -> None:
    assert column_x(values, name) == (Column(kind="ignored"), f"column {name!r} {warning}")


def test_what_is_allowed_is_used() -> None:
    findings, schema = inspected(visits(zip=["1", "2"] * 200), allow="zip, other")
    assert schema.columns["zip"].kind == "number"
    assert findings.fields["allow"] == "zip, other"


# === What it warns of ===


@pytest.mark.parametrize(
    ("values", "kind", "warning"),
    [
        (
            [f"{row % 70},5" for row in range(ROWS)],
            "ignored",
            "column 'x': 400 numbers are written with a comma or as '<5'; it is ignored until they "
            "are written as numbers.",
        ),
        (
            ["<5", "6"] * 200,
            "category",
            "column 'x': 200 numbers are written with a comma or as '<5'; it is taken for a "
            "category.",
        ),
        (
            ["<5"] * 8 + [f"{5 + row % 70}" for row in range(392)],
            "number",
            "column 'x': 8 numbers are written with a comma or as '<5'; their rows are left out.",
        ),
        (
            ["NA"] * 8 + [f"{5 + row % 70}" for row in range(392)],
            "number",
            "column 'x': 8 cells say 'NA', which is taken for missing; correct it in the schema "
            "file if it is not.",
        ),
        (
            [-9] * 8 + [5 + row % 70 for row in range(392)],
            "number",
            "column 'x': -9 occurs 8 times, far outside the rest; if it stands for missing, write "
            "missing: ['-9'] there in the schema file.",
        ),
        (
            [""] * 300 + [row % 70 for row in range(100)],
            "number",
            "column 'x': 75% of its values are missing.",
        ),
    ],
)
def test_numbers_that_are_none(values: Any, kind: str, warning: str) -> None:
    column, warnings = column_x(values)
    assert column.kind == kind
    assert warning in warnings


def test_words_for_missing_are_proposed() -> None:
    column, _ = column_x(["NA", "n/a"] * 4 + [f"{5 + row % 70}" for row in range(392)])
    assert column.missing == ("NA", "n/a")
    column, _ = column_x(["unknown", "yes", "no", "no"] * 100)
    assert (column.kind, column.missing) == ("boolean", ("unknown",))


@pytest.mark.parametrize(
    ("name", "factor", "told"),
    [("glucose", 18, True), ("creatinine", 1 / 88.4, True), ("crp", 1, False)],
)
def test_two_units_in_one_column(name: str, factor: float, told: bool) -> None:
    values = np.random.default_rng(0).lognormal(4.5, 0.3, ROWS)
    values[: ROWS // 3] /= factor
    _, warnings = column_x(values.round(3), name)
    assert ("lie in two groups far apart" in warnings) == told


def test_values_spread_over_decades_are_of_one_unit() -> None:
    _, warnings = column_x(np.random.default_rng(0).lognormal(1, 1.5, ROWS).round(3))
    assert "two groups" not in warnings


def test_few_numbers_below_zero_are_not_plausible() -> None:
    values = 60 + np.arange(ROWS) % 90.0
    values[:13] = -5
    column, warnings = column_x(values)
    assert column.least == 30
    assert "13 numbers are below zero" in warnings
    signed, warnings = column_x(np.arange(ROWS) % 90.0 - 40)
    assert signed.least < -40
    assert "below zero" not in warnings


def test_known_ranges_follow_the_unit() -> None:
    for name, values, outside in (
        ("glucose_mg_dl", 60 + np.arange(ROWS) % 90, False),
        ("glucose_mmol_l", 60 + np.arange(ROWS) % 90, True),
        ("glucose_mg_dl", 3 + np.arange(ROWS) % 60 / 10, True),
    ):
        frame = visits().drop(columns="glucose_mmol_l").assign(**{name: values})
        assert any("in another unit" in text for text in inspected(frame)[0].warnings) == outside


def test_one_patient_alone_is_not_many() -> None:
    findings, schema = inspected(visits(patient_id="P1"))
    assert schema.patient == "patient_id"
    assert "there is one patient alone; training refuses that." in findings.warnings


def test_record_numbers_that_come_again_with_their_patient() -> None:
    numbers = np.random.default_rng(0).permutation(900_000)[:100] + 1_000_000
    column, warnings = column_x(numbers[np.arange(ROWS) % 100], "folder")
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


def test_rows_that_are_left_out() -> None:
    findings, _ = inspected(
        visits(x=["5"] * 9 + ["many"] * 3 + ["6"] * 388, age=[130, *[50] * 399])
    )
    assert findings.warnings[-2:] == [
        "1 rows are left out: age is outside 0 to 120 years, the first is row 1.",
        "3 rows are left out: x is not a number, the first is row 10.",
    ]


def test_another_unit() -> None:
    column, warnings = column_x(95 + np.arange(ROWS) % 70 / 10, "temperature")
    assert column == Column(kind="number", unit="°C", least=25, most=45)
    assert warnings == (
        "column 'temperature': 100% of its values are outside 25 to 45 °C; it may be in another "
        "unit. Training refuses that until its unit and range are right."
    )


def test_duplicates_few_events_and_what_gives_the_outcome_away() -> None:
    frame = visits(died=[1] * 30 + [0] * 370, ward=["icu"] * 30 + ["home"] * 370)
    findings, _ = inspected(pd.concat([frame, frame[-7:]]))
    assert findings.warnings[1:] == [
        "7 rows are duplicates: another row holds the same in every column.",
        "few events: 30 rows with the rarer outcome for 5 columns, less than 10 a column; a model "
        "with fewer columns may tell more.",
        "column 'ward' alone tells the outcome nearly always (AUROC 1.000); if it is not known yet "
        "when a risk is asked for, its kind is ignored.",
    ]


def test_nothing_of_an_ignored_column_is_shown() -> None:
    findings, _ = inspected(visits(contact=[f"jo{row}@example.org" for row in range(ROWS)]))
    assert ("column contact", "ignored") in findings.facts
    assert "example.org" not in str(findings)


# === What it refuses ===


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("t.txt", "a", "PATH: 't.txt' is no file that ends with .csv, .tsv or .parquet."),
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
            "PATH: the outcome, column 'died', has a single value; two are needed.",
        ),
        (
            "t.csv",
            "phone,country,died\n1,x,0\n1,x,1\n",
            "PATH: no column is left for a model. column 'phone' looks like a phone number; it is "
            "ignored. If it does not tell who a patient is: --data.allow phone. column 'country' "
            "has a single value; it is ignored.",
        ),
    ],
)
def test_refused(path: str, text: str, message: str) -> None:
    Path(path).write_text(text)
    with pytest.raises(DataProblem) as caught:
        inspect(Path(path), Config(), set())
    assert str(caught.value) == message
