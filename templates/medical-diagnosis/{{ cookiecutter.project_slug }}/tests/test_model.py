"""Models: what they learn, recalibration, operating point and attributions."""

import logging
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from {{ cookiecutter.package_name }} import model, objective, registry
from {{ cookiecutter.package_name }}.__main__ import train
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import VisitSplits, load
from {{ cookiecutter.package_name }}.engine import loop
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.artifact import load as load_model
from {{ cookiecutter.package_name }}.engine.runs import all_runs, find_run
from {{ cookiecutter.package_name }}.engine.strategy import connect
from {{ cookiecutter.package_name }}.evaluation import attributions
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.task import task

from .clinic import TRAITS, draw_outcome, make_patients, write_table

SINGLE = ["--runtime.strategy", "single"]
UNTRACKED = [*SINGLE, "--tracking.enabled", "false"]
COHORT = [*SINGLE, "--data.source", "cohort", "--data.limit", "1000"]


@pytest.fixture(scope="module")
def data() -> VisitSplits:
    return load(load_config(COHORT, environment={}))


@pytest.fixture(scope="module")
def preprocessing(data: VisitSplits) -> Preprocessing:
    return Preprocessing.fit(data.train, load_config(COHORT, environment={}))


def build(
    config: Config, data: VisitSplits, preprocessing: Preprocessing, noise: float = 0.0
) -> Artifact:
    """Build a model without training it; noise moves its weights away from where they start."""
    strategy = connect(config.runtime, model.SHARDING_RULES)
    network = loop.build(task, config, preprocessing, strategy)
    random = np.random.default_rng(0)
    for weight in network.trainable_variables if noise else ():
        weight.assign_add(random.normal(0, noise, weight.shape))
    return model.finalize(Artifact(network, preprocessing, task), data, config)


def predict(trained: Artifact, data: VisitSplits) -> np.ndarray:
    return objective.risks(trained.predict_split(data.test, 256))


# === What models learn ===


@pytest.mark.parametrize("name", registry.MODELS)
def test_half_precision_distinguishes_as_many_patients(
    name: str, data: VisitSplits, preprocessing: Preprocessing
) -> None:
    distinct = {}
    for precision in ("mixed_bfloat16", "float32"):  # in this order: later tests are in float32
        words = [*COHORT, "--model.name", name, "--runtime.precision", precision]
        outputs = build(load_config(words), data, preprocessing).predict_split(data.train, 256)
        assert outputs.dtype == "float32"
        distinct[precision] = len(np.unique(outputs))
    assert distinct["mixed_bfloat16"] >= 0.99 * distinct["float32"] > 600


@pytest.mark.usefixtures("fit_alone")
def test_random_labels_stay_at_chance_although_patients_have_several_visits() -> None:
    """A split by rows would let the model recognize patients, which looks like skill."""
    frame = make_patients(1200, visits=4)
    words = ["--model.name", "mlp", "--train.learning_rate", "0.02", "--train.epochs", "20"]
    words += [*UNTRACKED, "--train.weight_decay", "0", "--data.test_fraction", "0.4"]
    words += ["--train.early_stopping_patience", "0", "--model.dropout", "0"]
    words += ["--data.batch_size", "128"]
    assert train([*write_table(frame), *words]) == 0
    assert train([*write_table(frame.assign(who=np.arange(len(frame)))), *words]) == 0
    by_patient, by_row = (run.summary["metrics"]["test/auroc"] for run in all_runs())
    assert by_patient == pytest.approx(0.5, abs=0.05)
    assert by_row > 0.6


@pytest.mark.usefixtures("fit_alone")
def test_the_default_model_learns_curves() -> None:
    frame = make_patients(600)
    frame["died"] = draw_outcome(4 * (np.abs(frame["x"]) - 0.7))
    assert train([*write_table(frame), *UNTRACKED, "--train.epochs", "4"]) == 0
    run = find_run("latest")
    trained, data = load_model(run.model_file, task), load(load_config(base=run.config_file))
    *weights, _ = trained.preprocessing.logistic_weights
    logistic = trained.preprocessing.transform(data.test) @ np.array(weights)
    baseline = roc_auc_score(data.test.targets, logistic)
    assert run.summary["metrics"]["test/auroc"] > baseline + 0.2


@pytest.mark.usefixtures("fit_alone")
def test_networks_learn_what_pairs_miss_where_there_are_many_rows() -> None:
    """With the weight decay of a few hundred rows they would not."""
    frame = make_patients(8000)
    frame["died"] = draw_outcome(3 * frame["x"] * frame["y"] * frame["a"])
    words = [*write_table(frame), *UNTRACKED, "--model.name", "wide_deep", "--train.epochs", "12"]
    words += ["--data.batch_size", "128", "--train.learning_rate", "0.006"]
    assert train(words) == 0
    assert find_run("latest").summary["metrics"]["test/auroc"] > 0.65


@pytest.mark.parametrize(("rows", "decay"), [(300, 5.0), (1000, 5.0), (40_000, 0.125)])
def test_weight_decay_falls_with_many_rows(rows: int, decay: float) -> None:
    config = load_config([])
    (phase,) = model.phases(config)
    assert phase.decay(config.train.weight_decay, rows) == pytest.approx(decay)


@pytest.mark.usefixtures("fit_alone")
@pytest.mark.parametrize("imbalance", ["class_weights", "oversample"])
def test_risks_of_a_rare_outcome_are_recalibrated(imbalance: str) -> None:
    frame = make_patients(800)
    frame["died"] = draw_outcome(frame["x"] - 2.5)
    words = ["--train.imbalance", imbalance, "--train.epochs", "6", *UNTRACKED]
    assert train([*write_table(frame), *words]) == 0
    run = find_run("latest")
    trained, data = load_model(run.model_file, task), load(load_config(words, base=run.config_file))
    assert predict(trained, data).mean() == pytest.approx(data.test.targets.mean(), abs=0.07)


# === Weights ===


def test_weights_from_data_are_named(data: VisitSplits, preprocessing: Preprocessing) -> None:
    trained = build(load_config(COHORT), data, preprocessing)
    paths = [
        weight.path
        for weight in trained.network.weights
        if any(re.search(pattern, weight.path) for pattern in model.WEIGHTS_FROM_DATA)
    ]
    assert paths == ["additive/kernel", "additive/bias"]


@pytest.mark.parametrize("name", ["logistic", "ensemble"])
def test_earlier_weights_do_not_replace_the_additive_model(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "finalize", lambda artifact, *_: artifact)
    words = [*SINGLE, *write_table(make_patients(200)), "--model.name", name]

    def build_on(*more: str) -> Artifact:
        config = load_config([*words, *more])
        splits = load(config)
        return build(config, splits, Preprocessing.fit(splits.train, config))

    earlier = build_on()
    monkeypatch.setattr(loop, "find_artifact", lambda *_: (earlier, None))
    trained = build_on("--data.split_seed", "1", "--train.init_from", "latest")
    theirs = {weight.path: np.array(weight) for weight in earlier.network.weights}
    additive = np.array(trained.preprocessing.additive_weights, "float32")
    before = earlier.preprocessing.additive_weights
    assert len(additive) != len(before) or not np.allclose(additive, before, atol=1e-3)
    copied = 0
    for weight in trained.network.weights:
        if weight.path.startswith("additive/"):
            expected = additive[:-1, None] if "kernel" in weight.path else additive[-1:]
            np.testing.assert_allclose(weight, np.broadcast_to(expected, weight.shape))
        else:
            np.testing.assert_array_equal(weight, theirs[weight.path])
            copied += 1
    assert copied >= 2


# === Recalibration and operating point ===


@pytest.mark.parametrize("method", ["platt", "isotonic", "none"])
def test_recalibration_is_saved_with_the_model(
    method: str, data: VisitSplits, preprocessing: Preprocessing
) -> None:
    config = load_config([*COHORT, "--model.recalibration", method])
    trained = build(config, data, preprocessing, noise=0.1)
    assert trained.network.output_shape == (None, 1)
    trained.save(Path("model.keras"))
    again = load_model(Path("model.keras"), task)
    assert again.preprocessing == trained.preprocessing
    assert again.preprocessing.notes()["recalibration"] == method
    assert 0 < again.preprocessing.notes()["operating_point"] < 1
    np.testing.assert_allclose(predict(again, data), predict(trained, data), atol=1e-6)
    if method != "none":
        risks = objective.risks(again.predict_split(data.validation, 256))
        assert risks.mean() == pytest.approx(data.validation.targets.mean(), abs=0.05)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others trace each shape")
def test_many_models_and_batch_sizes_warn_of_nothing(
    data: VisitSplits,
    preprocessing: Preprocessing,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    config = load_config([*COHORT, "--model.name", "logistic"], environment={})
    inputs = preprocessing.transform(data.test)
    for _ in range(8):
        trained = build(config, data, preprocessing)
        for size in (1, 5, 32):
            trained.outputs(inputs[:size])
        assert trained._run.experimental_get_tracing_count() == 1
    assert "retracing" not in caplog.text


def test_costs_move_the_operating_point(data: VisitSplits, preprocessing: Preprocessing) -> None:
    words = [*COHORT, "--model.name", "logistic", "--model.cost_ratio"]
    trained = [
        build(load_config([*words, ratio]), data, preprocessing) for ratio in ("1", "10", "100")
    ]
    points = [artifact.preprocessing.operating_point for artifact in trained]
    assert points == sorted(points, reverse=True)
    assert points[0] > points[-1]
    # Weights alone do not identify a model: its decisions differ.
    assert len({artifact.weights_sha256() for artifact in trained}) == 1
    assert len({artifact.preprocessing.model_version for artifact in trained}) == 3


def test_a_model_reveals_no_row() -> None:
    frame = make_patients(200)
    frame.loc[7, "x"] = 7.7731
    config = load_config([*write_table(frame), "--data.limit", "200"])
    fit = Preprocessing.fit(load(config).train, config)
    for i, name in enumerate(TRAITS):
        borders = np.array(fit.quantiles[i]) * fit.std[i] + fit.mean[i]
        distances = np.abs(np.subtract.outer(borders, frame[name].to_numpy()))
        assert (distances[[0, -1]].min(axis=1) > 1e-4).all()
    assert max(fit.quantiles[0]) * fit.std[0] + fit.mean[0] < 6


# === Attributions ===


def test_contributions_of_a_logistic_regression_are_its_weights(
    data: VisitSplits, preprocessing: Preprocessing
) -> None:
    trained = build(load_config([*COHORT, "--model.name", "logistic"]), data, preprocessing)
    inputs = preprocessing.transform(data.test)[:50]
    slope = float(trained.network.get_layer("recalibration").slope)
    weights = slope * np.array(preprocessing.logistic_weights[:-1])
    by_input = weights * (inputs - np.array(preprocessing.input_means))
    contributions = attributions.contributions(trained, inputs)
    for i, name in enumerate(attributions.input_columns(trained)):
        is_own = np.array(preprocessing.inputs) == name
        expected = by_input[:, is_own].sum(axis=1)
        np.testing.assert_allclose(contributions[:, i], expected, atol=1e-4)


@pytest.mark.parametrize("name", registry.MODELS)
def test_contributions_add_up_to_the_difference_of_the_log_odds(
    name: str, data: VisitSplits, preprocessing: Preprocessing
) -> None:
    config = load_config([*COHORT, "--train.loss", "focal", "--model.name", name])
    trained = build(config, data, preprocessing, noise=0.1)
    inputs = preprocessing.transform(data.test)
    average = np.array(preprocessing.input_means, "float32")[None]
    layer = trained.network.get_layer("recalibration")
    assert abs(float(layer.slope) - 1) > 0.02, "else it would not matter"
    logits = (np.asarray(trained.network(rows))[:, 0] for rows in (inputs, average))
    difference = np.subtract(*logits)
    contributions = attributions.contributions(trained, inputs).sum(axis=1)
    tolerance = 0.02 * np.abs(difference).max() + 1e-3
    np.testing.assert_allclose(contributions, difference, atol=tolerance)


def test_contributions_leave_out_isotonic_regression(
    data: VisitSplits, preprocessing: Preprocessing
) -> None:
    words = [*COHORT, "--model.name", "mlp", "--model.recalibration"]
    isotonic, none = (
        build(load_config([*words, method]), data, preprocessing, noise=0.1)
        for method in ("isotonic", "none")
    )
    assert isotonic.weights_sha256() != none.weights_sha256()
    inputs = preprocessing.transform(data.test)[:20]
    expected = attributions.contributions(none, inputs)
    np.testing.assert_allclose(attributions.contributions(isotonic, inputs), expected, atol=1e-6)
