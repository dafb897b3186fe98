"""Explanations of risks, of every model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }} import registry
from {{ cookiecutter.package_name }}.__main__ import predict, train
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import VisitSplits, load
from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.explanations import TOLERANCE, delete_parts
from {{ cookiecutter.package_name }}.evaluation import attributions
from {{ cookiecutter.package_name }}.evaluation.explanations import describe_row
from {{ cookiecutter.package_name }}.inputs import read_requests, read_rows
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

from .clinic import make_patients, write_table
from .test_model import COHORT, UNTRACKED, build

POSITIONS = np.arange(40)


@pytest.fixture(scope="module")
def data() -> VisitSplits:
    return load(load_config(COHORT, environment={}))


@pytest.fixture(scope="module")
def preprocessing(data: VisitSplits) -> Preprocessing:
    return Preprocessing.fit(data.train, load_config(COHORT, environment={}))


@pytest.fixture(scope="module", params=registry.MODELS)
def model(
    request: pytest.FixtureRequest, data: VisitSplits, preprocessing: Preprocessing
) -> Artifact:
    words = [*COHORT, "--model.name", request.param, "--model.recalibration", "platt"]
    return build(load_config(words, environment={}), data, preprocessing, noise=0.1)


def test_values_add_up_to_the_difference_of_the_log_odds(
    model: Artifact, data: VisitSplits
) -> None:
    inputs = model.preprocessing.transform(data.test)[POSITIONS]
    average = np.array(model.preprocessing.input_means, "float32")[None]
    wanted = (model.outputs(inputs) - model.outputs(average))[:, 0]
    told = model.explain(data.test, POSITIONS)
    sums = [sum(part.value for part in explanation.parts) for explanation in told]
    np.testing.assert_allclose(sums, wanted, rtol=TOLERANCE, atol=2e-3)
    np.testing.assert_allclose([e.difference for e in told], wanted, rtol=1e-3, atol=1e-3)
    assert all(explanation.error <= TOLERANCE for explanation in told)


def test_deleting_what_is_named_changes_most(model: Artifact, data: VisitSplits) -> None:
    inputs = model.preprocessing.transform(data.test)[POSITIONS]
    average = np.array(model.preprocessing.input_means, "float32")
    columns = attributions.input_columns(model)
    is_of_column = np.array(columns)[:, None] == np.array(model.preprocessing.inputs)
    falls = []
    for row, told in zip(inputs, model.explain(data.test, POSITIONS), strict=True):

        def output(kept: np.ndarray, row: np.ndarray = row) -> np.ndarray:
            return model.outputs(np.where(kept @ is_of_column, row, average))[:, 0]

        falls.append(delete_parts(output, np.array([part.value for part in told.parts])))
    named, others = np.mean(falls, axis=0)
    assert named > others + 0.3, (named, others)


def test_the_other_outcome_has_the_opposite_reasons(model: Artifact, data: VisitSplits) -> None:
    column = data.test.schema.columns[data.test.schema.outcome]
    (yes,) = model.explain(data.test, [0])
    (no,) = model.explain(data.test, [0], [column.no])
    assert (yes.target, no.target) == (column.yes, column.no)
    np.testing.assert_allclose(yes.score + no.score, 1)
    for one, other in zip(yes.parts, no.parts, strict=True):
        assert one.text == other.text
        assert one.value == -other.value
    with pytest.raises(DataProblem, match="outcome: 'maybe' is neither"):
        model.explain(data.test, [0], ["maybe"])


def test_values_are_shown_as_a_person_reads_them() -> None:
    schema = Schema(
        reviewed_by="a doctor",
        columns={
            "age": Column(kind="number", unit="years"),
            "smoker": Column(kind="boolean", yes="yes", no="no"),
            "ward": Column(kind="category", values=("A", "B")),
            "admitted": Column(kind="date"),
            "seen": Column(kind="time"),
            "died": Column(kind="outcome", yes="1", no="0"),
        },
    )
    frame = pd.DataFrame(
        {
            "age": ["63.5", ""],
            "smoker": ["yes", "no"],
            "ward": ["B", ""],
            "admitted": ["2024-01-01", ""],
            "seen": ["2024-01-11", "2024-01-11"],
        }
    )
    frame.to_csv("rows.csv", index=False)

    class Holder:
        """As much of a preprocessing as reading rows needs."""

    Holder.schema = schema  # type: ignore[attr-defined]
    (rows,) = read_rows(Path("rows.csv"), Holder)  # type: ignore[arg-type]
    columns = ("age", "smoker", "ward", "admitted")
    shown = ["age 63.5 years", "smoker yes", "ward B", "admitted 10 days"]
    assert describe_row(rows, 0, columns) == shown
    missing = ["age missing", "smoker no", "ward missing", "admitted missing"]
    assert describe_row(rows, 1, columns) == missing
    sent = read_requests(frame.to_dict("records"), Holder, None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(sent.split.numbers, rows.numbers)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("fit_alone")
def test_predict_shows_values_to_the_one_who_asks_only(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    frame = make_patients(200)
    words = [*UNTRACKED, "--data.limit", "200", "--train.max_steps", "4"]
    assert train([*write_table(frame), *words]) == 0
    rows = frame[:3].drop(columns=["who", "died"]).assign(x=[1.2345, 0.5, -2.25])
    rows.to_csv("rows.csv", index=False)
    capsys.readouterr()
    assert predict(["rows.csv", "--explain", "--json"]) == 0
    told = [json.loads(line)["explanation"] for line in capsys.readouterr().out.splitlines()]
    assert "x 1.2345" in [part["text"] for part in told[0]["parts"]]
    assert told[0]["target"] == "1"
    assert predict(["rows.csv", "--explain"]) == 0
    assert told[1]["summary"] in capsys.readouterr().out
    assert predict(["rows.csv", "--explain", "--output", "out.jsonl"]) == 0
    written = Path("out.jsonl").read_text()
    assert "1.2345" not in written
    explained = json.loads(written.splitlines()[0])["explanation"]
    assert [part["text"] for part in explained["parts"]][:2] == ["x", "y"]
    np.testing.assert_allclose(
        [part["value"] for part in explained["parts"]],
        [part["value"] for part in told[0]["parts"]],
    )
    assert "1.2345" not in caplog.text
