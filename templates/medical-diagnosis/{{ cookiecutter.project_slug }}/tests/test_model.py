"""Risk models: what they are worth, why they say it, and that nothing of a patient leaks."""

import json
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from {{ cookiecutter.package_name }} import baselines, inputs, model, objective, registry
from {{ cookiecutter.package_name }}.__main__ import evaluate, predict, program, train
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema
from {{ cookiecutter.package_name }}.engine import loop
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.artifact import load as load_model
from {{ cookiecutter.package_name }}.engine.optimizers import make_optimizer
from {{ cookiecutter.package_name }}.engine.runs import all_runs, find_run
from {{ cookiecutter.package_name }}.engine.strategy import connect
from {{ cookiecutter.package_name }}.evaluation import attributions as reasons
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.task import task

UNTRACKED = ["--tracking.enabled", "false"]
SHORT = [*UNTRACKED, "--data.limit", "200", "--train.max_steps", "6"]
TRAITS = list("xyabcdef")
SCHEMA = Schema(
    reviewed_by="a doctor",
    columns={
        "who": Column(kind="patient"),
        **{name: Column(kind="number", least=-9, most=9) for name in TRAITS},
        "sex": Column(kind="category", values=("f", "m")),
        "died": Column(kind="outcome", yes="1", no="0"),
    },
)


def fields(frame: pd.DataFrame, schema: Schema = SCHEMA) -> list[str]:
    frame.to_csv("table.csv", index=False)
    Path("schema.yaml").write_text(schema.to_yaml(), encoding="utf-8")
    return ["--data.source", "csv", "--data.path", "table.csv", "--data.schema_file", "schema.yaml"]


def patients(size: int, visits: int = 1, seed: int = 0) -> pd.DataFrame:
    """Traits of patients, measured at some visits; they say nothing about the outcome."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(size), visits)
    traits = random.normal(size=(size, len(TRAITS))).clip(-8, 8)
    measured = traits[who] + random.normal(0, 0.01, (len(who), len(TRAITS)))
    frame = pd.DataFrame(measured, columns=TRAITS)
    frame.insert(0, "who", [f"w{number}" for number in who])
    frame["sex"] = np.where(random.random(size) < 0.5, "f", "m")[who]
    return frame.assign(died=(random.random(size) < 0.5).astype(int)[who])


def made(config: Config) -> tuple[Artifact, Any]:
    """An untrained model, and its data."""
    data = load(config)
    preprocessing = Preprocessing.fit(data.train, config)
    network = loop.build(task, config, preprocessing, connect(config.runtime, model.SHARDING_RULES))
    return model.finalize(Artifact(network, preprocessing, task), data, config), data


# === What they are worth ===


@pytest.mark.parametrize("name", registry.MODELS)
def test_half_precision_tells_as_many_patients_apart(name: str) -> None:
    words = ["--data.source", "cohort", "--data.limit", "1000", "--model.name", name]
    distinct = {}
    for precision in ("mixed_bfloat16", "float32"):  # in this order: what comes later is float32
        trained, data = made(load_config([*words, "--runtime.precision", precision]))
        outputs = trained.predict_split(data.train, 256)
        assert outputs.dtype == "float32"
        distinct[precision] = len(np.unique(outputs))
    assert distinct["mixed_bfloat16"] >= 0.99 * distinct["float32"] > 600


def test_random_labels_stay_at_chance_although_patients_come_again() -> None:
    """A split by rows would find the patients again, and take that for skill."""
    frame = patients(1200, visits=4)
    learning = ["--model.name", "mlp", "--train.learning_rate", "0.01", "--train.epochs", "40"]
    learning += [*UNTRACKED, "--train.weight_decay", "0", "--data.test_fraction", "0.4"]
    learning += ["--train.early_stopping_patience", "0", "--model.dropout", "0"]
    assert train([*fields(frame), *learning]) == 0
    assert train([*fields(frame.assign(who=np.arange(len(frame)))), *learning]) == 0
    by_patient, by_row = (run.summary["metrics"]["test/auroc"] for run in all_runs())
    assert by_patient == pytest.approx(0.5, abs=0.05)
    assert by_row > 0.6


def test_the_default_finds_what_there_is() -> None:
    frame = patients(600)
    random = np.random.default_rng(1)
    # No straight line tells it.
    risk = 1 / (1 + np.exp(-4 * (np.abs(frame["x"]) - 0.7)))
    frame["died"] = (random.random(len(frame)) < risk).astype(int)
    assert train([*fields(frame), *UNTRACKED, "--train.epochs", "40"]) == 0
    summary = find_run("latest").summary
    baselines = {row["name"]: row["metrics"]["test/auroc"] for row in summary["baselines"]}
    assert summary["metrics"]["test/auroc"] > baselines["logistic regression, tuned"] + 0.2


def test_networks_learn_what_pairs_miss_where_there_are_many_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the decay of a few hundred rows they would not."""
    monkeypatch.setattr(baselines, "measure", lambda *given: [])
    frame = patients(8000)
    random = np.random.default_rng(1)
    risk = 1 / (1 + np.exp(-3 * frame["x"] * frame["y"] * frame["a"]))
    frame["died"] = (random.random(len(frame)) < risk).astype(int)
    words = [*fields(frame), *UNTRACKED, "--model.name", "wide_deep", "--train.epochs", "12"]
    assert train(words) == 0
    assert find_run("latest").summary["metrics"]["test/auroc"] > 0.65


@pytest.mark.parametrize(("rows", "decay"), [(300, 5.0), (1000, 5.0), (40_000, 0.125)])
def test_decay_counts_less_with_many_rows(rows: int, decay: float) -> None:
    config = load_config([])
    (phase,) = model.phases(config)
    scale = phase.decay_scale(rows)
    optimizer = make_optimizer(config.train, phase.learning_rate, 10, scale)
    assert optimizer.weight_decay == pytest.approx(decay)


def test_weights_that_are_fitted_are_named() -> None:
    trained, _ = made(load_config(["--data.source", "cohort"]))
    fitted = [
        weight.path
        for weight in trained.network.weights
        if any(re.search(pattern, weight.path) for pattern in model.WEIGHTS_FROM_DATA)
    ]
    assert fitted == ["additive/kernel", "additive/bias"]


@pytest.mark.parametrize("imbalance", ["weights", "resample"])
def test_what_is_learnt_of_a_rare_outcome_is_set_right(imbalance: str) -> None:
    frame = patients(800)
    random = np.random.default_rng(1)
    risk = 1 / (1 + np.exp(-(frame["x"] - 2.5)))
    frame["died"] = (random.random(len(frame)) < risk).astype(int)
    words = ["--train.imbalance", imbalance, "--train.epochs", "6", *UNTRACKED]
    assert train([*fields(frame), *words]) == 0
    run = find_run("latest")
    trained, data = load_model(run.model_file, task), load(load_config(words, base=run.config_file))
    told = objective.risks(trained.predict_split(data.test, 64))
    assert told.mean() == pytest.approx(data.test.targets.mean(), abs=0.07)


@pytest.mark.parametrize("way", ["platt", "isotonic", "none"])
def test_recalibration_is_part_of_the_model(way: str) -> None:
    assert train([*SHORT, "--model.recalibration", way]) == 0
    run = find_run("latest")
    trained = load_model(run.model_file, task)
    assert trained.preprocessing.recalibration == way
    assert trained.network.output_shape == (None, 1)
    assert run.summary["preprocessing"]["operating_point"] == trained.preprocessing.operating_point


def test_costs_choose_the_operating_point() -> None:
    config = load_config(["--data.source", "cohort", "--model.name", "logistic"])
    points = []
    for ratio in (1.0, 10.0, 100.0):
        chosen = config.model.model_copy(update={"cost_ratio": ratio})
        trained, _ = made(config.model_copy(update={"model": chosen}))
        points.append(trained.preprocessing.operating_point)
    assert points == sorted(points, reverse=True)
    assert points[0] > points[-1]


@pytest.mark.parametrize("name", ["logistic", "ensemble"])
def test_earlier_weights_leave_a_regression_that_stays_as_it_was_fitted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*fields(patients(200)), "--model.name", name]
    earlier, _ = made(load_config(words))
    monkeypatch.setattr(loop, "find_artifact", lambda *_: (earlier, None))
    later = load_config([*words, "--data.split_seed", "1", "--train.init_from", "latest"])
    monkeypatch.setattr(model, "finalize", lambda artifact, *_: artifact)
    trained, _ = made(later)
    theirs = {weight.path: np.array(weight) for weight in earlier.network.weights}
    fitted = np.array(trained.preprocessing.additive, "float32")
    before = earlier.preprocessing.additive
    assert len(fitted) != len(before) or not np.allclose(fitted, before, atol=1e-3)
    copied = 0
    for weight in trained.network.weights:
        if weight.path.startswith("additive/"):
            expected = fitted[:-1, None] if "kernel" in weight.path else fitted[-1:]
            np.testing.assert_allclose(weight, np.broadcast_to(expected, weight.shape))
        else:
            np.testing.assert_array_equal(weight, theirs[weight.path])
            copied += 1
    assert copied >= 2


# === Reasons ===


def test_reasons_of_a_logistic_regression_are_its_weights() -> None:
    trained, data = made(load_config(["--data.source", "cohort", "--model.name", "logistic"]))
    inputs = trained.preprocessing.of(data.test)[:50]
    preprocessing = trained.preprocessing
    slope = float(trained.network.get_layer("recalibration").slope)
    weights = slope * np.array(preprocessing.reference[:-1])
    of_inputs = weights * (inputs - np.array(preprocessing.usual))
    found = reasons.contributions(trained, inputs)
    for place, name in enumerate(reasons.columns(trained)):
        own = np.array(preprocessing.inputs) == name
        np.testing.assert_allclose(found[:, place], of_inputs[:, own].sum(axis=1), atol=1e-4)


@pytest.mark.parametrize("name", registry.MODELS)
def test_reasons_add_up(name: str) -> None:
    assert train([*SHORT, "--model.name", name]) == 0
    run = find_run("latest")
    trained, data = load_model(run.model_file, task), load(load_config(base=run.config_file))
    inputs = trained.preprocessing.of(data.test)
    network = reasons.before_recalibration(trained)
    usual = np.array(trained.preprocessing.usual, "float32")[None]
    difference = (np.asarray(network(inputs)) - np.asarray(network(usual))).mean(axis=-1)
    difference *= float(trained.network.get_layer("recalibration").slope)
    found = reasons.contributions(trained, inputs).sum(axis=1)
    np.testing.assert_allclose(found, difference, atol=0.02 * np.abs(difference).max() + 1e-3)


def test_reasons_add_up_to_the_risk() -> None:
    words = ["--data.source", "cohort", "--train.loss", "focal", "--model.name", "mlp"]
    trained, data = made(load_config(words))
    inputs = trained.preprocessing.of(data.test)
    slope = float(trained.network.get_layer("recalibration").slope)
    assert abs(slope - 1) > 0.05
    usual = np.array(trained.preprocessing.usual, "float32")[None]
    logits = (np.asarray(trained.network(rows))[:, 0] for rows in (inputs, usual))
    found = reasons.contributions(trained, inputs).sum(axis=1)
    difference = np.subtract(*logits)
    np.testing.assert_allclose(found, difference, atol=0.02 * np.abs(difference).max() + 1e-3)


# === Answers ===


def test_the_model_that_answers_is_told_from_others() -> None:
    config = load_config(["--data.source", "cohort", "--model.name", "logistic"])
    others = config.model.model_copy(update={"min_sensitivity": 0.97})
    (first, _), (second, _) = made(config), made(config.model_copy(update={"model": others}))
    assert first.weights_sha256() == second.weights_sha256()
    assert first.preprocessing.operating_point != second.preprocessing.operating_point
    assert first.preprocessing.model_version != second.preprocessing.model_version


def test_what_a_model_holds_tells_no_row() -> None:
    frame = patients(200)
    frame.loc[7, "x"] = 7.7731
    trained, _ = made(load_config([*fields(frame), *SHORT]))
    learnt = trained.preprocessing
    centre, spread = np.array(learnt.centre[:8]), np.array(learnt.spread[:8])
    for name, place in zip(TRAITS, range(8), strict=True):
        borders = np.array(learnt.quantiles[place]) * spread[place] + centre[place]
        gaps = np.abs(np.subtract.outer(borders, frame[name].to_numpy()))
        assert (gaps[[0, -1]].min(axis=1) > 1e-4).all()
    assert max(learnt.quantiles[0]) * spread[0] + centre[0] < 6


def test_a_column_that_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    frame = patients(200)
    assert train([*fields(frame), *SHORT, "--model.name", "logistic"]) == 0
    frame.drop(columns=["who", "died"])[:9].assign(y="").to_csv("asked.csv", index=False)
    capsys.readouterr()
    assert predict(["asked.csv"]) == 0
    assert capsys.readouterr().err == (
        "warning: column 'y' is missing in every row, and hardly was in training; the model takes "
        "it for usual.\n"
    )


def test_a_table_is_predicted_part_by_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = patients(200)
    assert train([*fields(frame), *SHORT, "--model.name", "logistic"]) == 0
    asked = frame.drop(columns=["who", "died"])[:50]
    asked.to_csv("asked.csv", index=False)
    said, sizes, predict_split = [], [], Artifact.predict_split

    def recorded(model: Artifact, split: Any, batch_size: int) -> np.ndarray:
        sizes.append(len(split))
        return predict_split(model, split, batch_size)

    monkeypatch.setattr(Artifact, "predict_split", recorded)
    for rows in (4_096, 20):
        monkeypatch.setattr(inputs, "ROWS", rows)
        capsys.readouterr()
        assert predict(["asked.csv", "--json", "--reasons", "1"]) == 0
        said.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert sizes == [50, 20, 20, 10]
    assert [row["id"] for row in said[1]] == [str(number) for number in range(1, 51)]
    assert [row["risk"] for row in said[1]] == pytest.approx([row["risk"] for row in said[0]])
    asked.assign(x=["1"] * 45 + ["zzz"] * 5).to_csv("asked.csv", index=False)
    assert predict(["asked.csv", "--json"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "error: asked.csv: row 46: x is not a number; nothing was predicted.\n"
    assert captured.out == ""


def test_every_answer_can_be_traced(capsys: pytest.CaptureFixture[str]) -> None:
    frame = patients(200)
    assert train([*fields(frame), *SHORT]) == 0
    asked = frame.drop(columns=["who", "died"])[:3]
    asked.to_csv("asked.csv", index=False)
    capsys.readouterr()
    assert predict(["asked.csv", "--json", "--reasons", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    preprocessing = load_model(find_run("latest").model_file, task).preprocessing
    for row in rows:
        assert (row["model"], row["schema"]) == (preprocessing.model_version, SCHEMA.digest)
        assert row["prediction"] == ("1" if row["risk"] >= row["operating_point"] else "0")
        assert len(row["reasons"]) == 2
        assert row["notice"] == objective.NOTICE
    card = (find_run("latest").report_dir / "MODEL_CARD.md").read_text()
    assert preprocessing.model_version in card
    assert SCHEMA.digest in card
    assert objective.NOTICE in card
    assert predict(["asked.csv"]) == 0
    assert objective.NOTICE in capsys.readouterr().out


def test_a_served_model_takes_missing_values() -> None:
    words = ["--data.source", "cohort", "--model.name", "logistic"]
    assert train([*words, "--train.max_steps", "2"]) == 0
    recorded = find_run("latest").summary["mlflow"]
    mlflow.set_tracking_uri(recorded["tracking_uri"])
    served = mlflow.pyfunc.load_model(recorded["model_uri"])
    schema = served.metadata.get_input_schema()
    row = served.input_example.iloc[0].to_dict()
    for name in ("first_visit", "age", "sex", "smoker", "hba1c"):
        values = [None if column == name else value for column, value in row.items()]
        body = json.dumps({"dataframe_split": {"columns": list(row), "data": [values]}})
        answer = scoring_server.invocations(body, "application/json", served, schema)
        assert answer.status == 200, name
        (prediction,) = json.loads(answer.response)["predictions"]
        assert 0 < prediction["risk"] < 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sex": "zzz-secret"}, "row 2: sex is not in values; nothing was predicted."),
        ({"x": "777.125"}, "row 2: x is outside -9 to 9; nothing was predicted."),
        ({"x": "zzz-secret"}, "row 2: x is not a number; nothing was predicted."),
    ],
)
def test_requests_that_break_the_schema(
    changed: dict, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = patients(200)
    assert train([*fields(frame), *SHORT, "--model.name", "logistic"]) == 0
    asked = frame.drop(columns=["who", "died"])[:3].astype(object)
    for name, value in changed.items():
        asked.loc[1, name] = value
    asked.to_csv("asked.csv", index=False)
    capsys.readouterr()
    assert predict(["asked.csv"]) == 3
    captured = capsys.readouterr()
    assert captured.err == f"error: asked.csv: {reason}\n"
    asked.drop(columns="x").to_csv("asked.csv", index=False)
    assert predict(["asked.csv"]) == 3
    assert capsys.readouterr().err == "error: column 'x' of the schema is missing.\n"


def test_nothing_of_a_patient_is_left_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("APP__TRACKING__URI")  # the store, too, lies here then
    frame = patients(200)
    frame["who"] = [f"zq{number}qz" for number in range(200)]
    frame.loc[7, "x"] = 7.03125  # a value of one patient alone
    frame.loc[8, "x"] = 99.5  # and one that is not plausible
    assert train([*fields(frame), "--data.limit", "150", "--train.max_steps", "4"]) == 0
    printed = "".join(capsys.readouterr())
    texts = {"what is printed": printed}
    for path in Path().rglob("*"):
        known = path.name in ("table.csv", "schema.yaml")
        if path.is_file() and not known and path.suffix not in (".png", ".npz"):
            texts[str(path)] = path.read_bytes().decode("utf-8", "replace")
    assert any(name.endswith("input_example.json") for name in texts)
    for name, text in texts.items():
        for secret in ("zq7qz", "zq8qz", "zq100qz", "7.03125", "99.5"):
            assert secret not in text, name


# === Elsewhere, and again and again ===


def test_evaluation_at_another_hospital(capsys: pytest.CaptureFixture[str]) -> None:
    frame = patients(200)
    assert train([*fields(frame), *SHORT]) == 0
    patients(90, seed=5).to_csv("elsewhere.csv", index=False)
    capsys.readouterr()
    words = ["--data.path", "elsewhere.csv", "--data.split", "external", "--data.limit", "null"]
    assert evaluate([*words, "--output", "there"]) == 0
    assert "test/auroc" in capsys.readouterr().out
    assert Path("there/test_calibration.png").exists()
    assert train([*fields(frame), *SHORT, "--data.split", "external"]) == 2
    assert capsys.readouterr().err == (
        "error: data.split: external leaves nothing to train on; it is to evaluate.\n"
    )


def test_a_model_is_evaluated_by_its_own_schema(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    frame = patients(200)
    assert train([*fields(frame), *SHORT]) == 0
    frame = patients(90, seed=5)
    frame.to_csv("elsewhere.csv", index=False)
    words = ["--data.path", "elsewhere.csv", "--data.split", "external", "--data.limit", "null"]
    words += ["--output", "there"]

    def evaluated() -> str:
        capsys.readouterr()
        caplog.clear()
        assert evaluate(words) == 0
        return capsys.readouterr().out

    expected = evaluated()
    assert "not the schema" not in caplog.text
    columns = dict(reversed(SCHEMA.columns.items()))
    columns["died"] = Column(kind="outcome", yes="0", no="1")
    changed = SCHEMA.model_copy(update={"columns": columns})
    Path("schema.yaml").write_text(changed.to_yaml(), encoding="utf-8")
    frame[list(columns)].to_csv("elsewhere.csv", index=False)
    assert evaluated() == expected
    assert "schema.yaml is not the schema that the model was trained with" in caplog.text
    Path("schema.yaml").unlink()
    assert evaluated() == expected
    frame.rename(columns={"x": "x_mmol"}).to_csv("elsewhere.csv", index=False)
    assert evaluate(words) == 3
    assert "column 'x' of the schema is missing" in capsys.readouterr().err


def test_evaluation_on_patients_of_the_training_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train([*fields(patients(200)), *SHORT]) == 0
    capsys.readouterr()
    words = ["--data.split", "external", "--output", "there"]
    assert evaluate(words) == 0
    assert "some of these examples may have been trained on" in capsys.readouterr().err
    assert evaluate([*words, "--split", "validation"]) == 2
    assert "error: --split: the validation split has no examples.\n" in capsys.readouterr().err


def test_each_row_is_held_out_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*fields(patients(200)), *SHORT, "--model.name", "logistic"]
    assert program.script("cross-validate")([*words, "--folds", "2", "--repeats", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 x 2 folds" in out
    (file,) = Path("reports").iterdir()
    found = json.loads(file.read_text())
    assert len(found["runs"]) == len(all_runs()) == 4
    assert set(found["metrics"]) == {
        "model",
        "prevalence",
        "logistic regression, tuned",
        "gradient boosting, tuned",
    }
    assert 0 <= found["metrics"]["model"]["ece"] <= 1
    assert program.script("cross-validate")([*words, "--folds", "1"]) == 2
    assert capsys.readouterr().err == "error: --folds: 1 is not allowed: 2 to 20.\n"
