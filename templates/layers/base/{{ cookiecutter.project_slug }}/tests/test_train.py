"""The whole way: train, what it leaves, load, evaluate."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

from {{ cookiecutter.package_name }}.__main__ import evaluate
from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import PACKAGE, artifact, loop
from {{ cookiecutter.package_name }}.engine.requests import decode_bytes, read_frame
from {{ cookiecutter.package_name }}.engine.runs import all_runs, find_run
from {{ cookiecutter.package_name }}.engine.strategy import connect
from {{ cookiecutter.package_name }}.task import task

from .conftest import QUICK, UNRECORDED


def test_a_run_leaves_everything(trained: Path) -> None:
    run = find_run("latest")
    for name in ("config.yaml", "metrics.jsonl", "train.log", "model.keras", "summary.json"):
        assert (run.path / name).stat().st_size > 0, name
    assert {path.suffix for path in run.report_dir.iterdir()} >= {".svg", ".csv"}
    summary = run.summary
    assert summary["steps"] == 6
    assert summary["data"]["train"] > 0
    assert all(np.isfinite(value) for value in summary["metrics"].values())
    assert [row["name"] for row in summary["baselines"]]
    assert summary["resumed_from_step"] is None
    lines = run.read_metrics()
    assert {"step", "epoch", "time", "metrics"} == set(lines[0])
    assert lines[-1]["step"] == 6
    assert {"train/loss", "validation/loss"} <= set(lines[-1]["metrics"])


def test_everything_is_in_mlflow(trained: Path) -> None:
    recorded = find_run("latest").summary["mlflow"]
    mlflow.set_tracking_uri(recorded["tracking_uri"])
    run = mlflow.get_run(recorded["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.max_steps"] == "6"
    for name, value in find_run("latest").summary["metrics"].items():
        assert run.data.metrics[name] == value
    assert "validation/loss" in run.data.metrics
    inputs = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "validation", "test"}
    assert json.loads(inputs["train"].profile)["num_rows"] > 0
    artifacts = {entry.path for entry in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)}
    assert {"config.yaml", "environment.txt", "report"} <= artifacts
    model = mlflow.models.get_model_info(recorded["model_uri"])
    assert model.signature is not None
    assert model.saved_input_example_info is not None
    assert recorded["registered_version"] == 1


def test_mlflow_serves_the_same_answers(trained: Path) -> None:
    recorded = find_run("latest").summary["mlflow"]
    mlflow.set_tracking_uri(recorded["tracking_uri"])
    served = mlflow.pyfunc.load_model(recorded["model_uri"])
    example = served.input_example
    answer = served.predict(example).iloc[0]
    model = artifact.load(find_run("latest").model_file, task)
    requests = task.read_requests(read_frame(example), model.preprocessing, None)
    assert not requests.problems
    expected = model.answer(requests.split, None, 32)[0]
    assert answer["prediction"] == expected["prediction"]
    assert answer.get("scores", {}) == pytest.approx(expected.get("scores", {}))


def test_a_request_of_its_schema_is_answered(trained: Path) -> None:
    model = artifact.load(find_run("latest").model_file, task)
    schema = task.request_schema(model.preprocessing)
    rows = [decode_bytes(row, schema) for row in schema["examples"]]
    assert all(row.keys() <= schema["properties"].keys() for row in rows)
    wrong = [{}, {"no such field": 1}, {name: float("nan") for name in rows[0]}]
    requests = task.read_requests([*wrong, *rows, *wrong], model.preprocessing, None)
    after = len(wrong) + len(rows)
    assert sorted(requests.problems) == [0, 1, 2, after, after + 1, after + 2]
    assert len(requests.split) == len(rows)
    assert len(model.answer(requests.split, None, 2)) == len(rows)
    assert len(task.read_requests([], model.preprocessing, None).split) == 0
    json.dumps(schema, allow_nan=False)


def test_evaluate_repeats_what_training_measured(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = find_run("latest").summary
    for name in ("latest", f"models:/{PACKAGE}/1", summary["mlflow"]["model_uri"]):
        assert evaluate(["--run", name, "--output", "somewhere"]) == 0
        shown = capsys.readouterr().out
        for metric, value in summary["metrics"].items():
            assert f"{metric}  {value:.4f}\n" in shown
    assert list((trained / "somewhere").iterdir())


@pytest.mark.usefixtures("fit_alone")
def test_same_seed_same_weights() -> None:
    words = UNRECORDED
    for seed in (1, 1, 2):
        assert main([*words, "--train.seed", str(seed)]) == 0
    runs = [run.summary for run in all_runs()]
    by_seed = {1: [], 2: []}
    for run, summary in zip(all_runs(), runs, strict=True):
        seed = yaml.safe_load(run.config_file.read_text())["train"]["seed"]
        by_seed[seed].append(summary["weights_sha256"])
    assert len(set(by_seed[1])) == 1
    assert by_seed[2][0] not in by_seed[1]


def test_weights_of_an_earlier_run(trained: Path) -> None:
    config = load_config([*QUICK, "--train.init_from", "latest"])

    data = task.load(config, None)
    preprocessing = task.preprocessing.fit(data.train, config)
    network = loop.build(task, config, preprocessing, connect(config.runtime, {}))
    earlier = artifact.load(find_run("latest").model_file, task)
    # What is saved may have more than what learns.
    theirs = {weight.path: np.array(weight) for weight in earlier.network.weights}
    shared = [weight for weight in network.trainable_weights if weight.path in theirs]
    assert len(shared) == len(network.trainable_weights)
    for weight in shared:
        np.testing.assert_array_equal(weight, theirs[weight.path])


def test_changed_data_is_said_and_reported_elsewhere(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = find_run("latest")
    before = {path: path.stat().st_mtime_ns for path in run.report_dir.iterdir()}
    summary = run.summary
    changed = {**summary, "data": {**summary["data"], "digest": "another"}}
    run.write_summary(changed)
    try:
        assert evaluate([]) == 0
    finally:
        run.write_summary(summary)
    assert "the data or its split is not that of the training" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.report_dir.iterdir()} == before
    assert list((trained / "reports").iterdir())
