"""``predict``, ``evaluate`` and serving, with one trained model; and no patient's data leaks."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from {{ cookiecutter.package_name }} import inputs, objective, tuning
from {{ cookiecutter.package_name }}.__main__ import evaluate, predict, train
from {{ cookiecutter.package_name }}.datasets.schema import Column
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.artifact import load as load_model
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.task import task

from .clinic import SCHEMA, make_patients, write_table
from .conftest import clean_environment

SINGLE = ["--runtime.strategy", "single"]
UNTRACKED = [*SINGLE, "--tracking.enabled", "false"]
ELSEWHERE = ["--data.path", "elsewhere.csv", "--data.split", "external", "--data.limit", "null"]


@pytest.fixture(scope="module", autouse=True)
def few_candidates() -> Iterator[None]:
    """Tune boosting over one setting: all of them take longer than the runs of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "BOOSTING_CANDIDATES", tuning.BOOSTING_CANDIDATES[:1])
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 200 patients, its schema and a run of the default model."""
    folder = tmp_path_factory.mktemp("clinic")
    (folder / "pyproject.toml").touch()
    clean_environment()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = [*UNTRACKED, "--data.limit", "200", "--train.max_steps", "6"]
        assert train([*write_table(make_patients(200)), *words]) == 0
    return folder


@pytest.fixture
def clinic(project: Path, own_folder: Path) -> pd.DataFrame:
    """Work in a copy of the project; the patients that its model was trained on."""
    shutil.copytree(project, own_folder, dirs_exist_ok=True)
    return make_patients(200)


def write_rows(frame: pd.DataFrame, **cells: Any) -> None:
    """Write rows to predict, with changed columns, to ``rows.csv``."""
    frame.drop(columns=["who", "died"]).assign(**cells).to_csv("rows.csv", index=False)


# === Prediction ===


def test_every_answer_can_be_traced(
    clinic: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(clinic[:3])
    assert predict(["rows.csv", "--json", "--reasons", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    preprocessing = load_model(find_run("latest").model_file, task).preprocessing
    for row in rows:
        assert (row["model"], row["schema"]) == (preprocessing.model_version, SCHEMA.digest)
        assert row["prediction"] == ("1" if row["risk"] >= row["operating_point"] else "0")
        assert len(row["reasons"]) == 2
        assert row["reasons_unit"] == "log-odds added to those of the average patient"
        assert row["notice"] == objective.NOTICE
    assert predict(["rows.csv"]) == 0
    assert objective.NOTICE in capsys.readouterr().out


def test_an_empty_column_is_reported(
    clinic: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(clinic[:9], y="")
    assert predict(["rows.csv"]) == 0
    assert capsys.readouterr().err == (
        "warning: column 'y' is empty in every row, but rarely was in training; the model assumes "
        "average values.\n"
    )


def test_a_table_is_predicted_in_parts(
    clinic: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(clinic[:50])
    answers, sizes, predict_split = [], [], Artifact.predict_split

    def record_size(model: Artifact, split: Any, batch_size: int) -> np.ndarray:
        sizes.append(len(split))
        return predict_split(model, split, batch_size)

    monkeypatch.setattr(Artifact, "predict_split", record_size)
    for batch_rows in (4_096, 20):
        monkeypatch.setattr(inputs, "BATCH_ROWS", batch_rows)
        assert predict(["rows.csv", "--json", "--reasons", "1"]) == 0
        answers.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert sizes == [50, 20, 20, 10]
    assert [row["id"] for row in answers[1]] == [str(number) for number in range(1, 51)]
    risks = [[row["risk"] for row in part] for part in answers]
    assert risks[1] == pytest.approx(risks[0])
    write_rows(clinic[:50], x=["1"] * 45 + ["zzz"] * 5)
    assert predict(["rows.csv", "--json"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "error: rows.csv: row 46: x is not a number; nothing was predicted.\n"
    assert captured.out == ""


def test_requests_that_break_the_schema(
    clinic: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value, reason in (
        ("sex", "zzz-secret", "sex is not in values"),
        ("x", "777.125", "x is outside -9 to 9"),
        ("x", "zzz-secret", "x is not a number"),
    ):
        frame = clinic[:3].astype(object)
        frame.loc[1, name] = value
        write_rows(frame)
        assert predict(["rows.csv"]) == 3
        expected = f"error: rows.csv: row 2: {reason}; nothing was predicted.\n"
        assert capsys.readouterr().err == expected
    write_rows(clinic[:3].drop(columns="x"))
    assert predict(["rows.csv"]) == 3
    assert capsys.readouterr().err == "error: column 'x' of the schema is missing.\n"


@pytest.mark.usefixtures("fit_alone")
def test_a_served_model_takes_missing_values() -> None:
    words = ["--data.source", "cohort", "--data.limit", "500", "--model.name", "logistic"]
    assert train([*words, *SINGLE, "--train.max_steps", "2"]) == 0
    reference = find_run("latest").summary["mlflow"]
    mlflow.set_tracking_uri(reference["tracking_uri"])
    model = mlflow.pyfunc.load_model(reference["model_uri"])
    schema = model.metadata.get_input_schema()
    row = model.input_example.iloc[0].to_dict()
    for name in ("first_visit", "age", "sex", "smoker", "hba1c"):
        values = [None if column == name else value for column, value in row.items()]
        body = json.dumps({"dataframe_split": {"columns": list(row), "data": [values]}})
        answer = scoring_server.invocations(body, "application/json", model, schema)
        assert answer.status == 200, name
        (prediction,) = json.loads(answer.response)["predictions"]
        assert 0 < prediction["risk"] < 1


# === Evaluation ===


def test_evaluation_at_another_hospital(
    clinic: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    make_patients(90, seed=5).to_csv("elsewhere.csv", index=False)
    assert evaluate([*ELSEWHERE, "--output", "there"]) == 0
    assert "test/auroc" in capsys.readouterr().out
    assert Path("there/test_calibration.svg").exists()
    words = [*write_table(clinic), *UNTRACKED, "--data.split", "external"]
    assert train(words) == 2
    assert capsys.readouterr().err == (
        "error: data.split: external leaves no training rows; it is for evaluate.\n"
    )


@pytest.mark.usefixtures("clinic")
def test_a_model_is_evaluated_by_its_own_schema(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    frame = make_patients(90, seed=5)
    frame.to_csv("elsewhere.csv", index=False)
    words = [*ELSEWHERE, "--output", "there"]

    def run_evaluate() -> str:
        capsys.readouterr()
        caplog.clear()
        assert evaluate(words) == 0
        return capsys.readouterr().out

    expected = run_evaluate()
    assert "not the schema" not in caplog.text
    columns = dict(reversed(SCHEMA.columns.items()))
    columns["died"] = Column(kind="outcome", yes="0", no="1")
    other = SCHEMA.model_copy(update={"columns": columns})
    Path("schema.yaml").write_text(other.to_yaml(), encoding="utf-8")
    frame[list(columns)].to_csv("elsewhere.csv", index=False)
    assert run_evaluate() == expected
    assert "schema.yaml is not the schema that the model was trained with" in caplog.text
    Path("schema.yaml").unlink()
    assert run_evaluate() == expected
    frame.rename(columns={"x": "x_mmol"}).to_csv("elsewhere.csv", index=False)
    assert evaluate(words) == 3
    assert "column 'x' of the schema is missing" in capsys.readouterr().err


@pytest.mark.usefixtures("clinic")
def test_evaluation_on_training_patients_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--data.split", "external", "--output", "there"]
    assert evaluate(words) == 0
    assert "some of these examples may have been trained on" in capsys.readouterr().err
    assert evaluate([*words, "--split", "validation"]) == 2
    assert "error: --split: the validation split has no examples.\n" in capsys.readouterr().err


# === Privacy ===


def test_nothing_of_a_patient_is_left_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("APP__TRACKING__URI")  # so that the store is in this folder, too
    frame = make_patients(200)
    frame["who"] = [f"zq{number}qz" for number in range(200)]
    frame.loc[7, "x"] = 7.03125  # a value of a single patient
    frame.loc[8, "x"] = 99.5  # an implausible one
    words = [*write_table(frame), "--data.limit", "150", "--train.max_steps", "4"]
    assert train([*words, *SINGLE]) == 0
    texts = {"printed": "".join(capsys.readouterr())}
    for path in Path().rglob("*"):
        is_input = path.name in ("table.csv", "schema.yaml")
        if path.is_file() and not is_input and path.suffix not in (".png", ".npz"):
            texts[str(path)] = path.read_bytes().decode("utf-8", "replace")
    assert any(name.endswith("input_example.json") for name in texts)
    for name, text in texts.items():
        for secret in ("zq7qz", "zq8qz", "zq100qz", "7.03125", "99.5"):
            assert secret not in text, name
