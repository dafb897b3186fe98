from types import SimpleNamespace

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }} import objective, report
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.datasets.labels import (
    Predictions,
    class_names,
    encode_labels,
    strata,
)
from {{ cookiecutter.package_name }}.engine.lookup import find
from {{ cookiecutter.package_name }}.registry import LOSSES, METRICS

CLASSES = SimpleNamespace(
    classes=("cat", "dog", "owl"),
    separator="",
    encode_targets=lambda targets: np.array([CLASSES.classes.index(t) for t in targets]),
)
MULTILABEL = SimpleNamespace(
    classes=("cat", "dog", "owl"),
    separator=";",
    encode_targets=lambda targets: encode_labels(targets, MULTILABEL.classes, ";"),
)
TRUTH = np.array([0, 1, 2, 2])
LOGITS = np.array([[3.0, 0, 0], [0, 2.0, 0], [0, 0, 1.0], [4.0, 0, 0]], "float32")


def test_weighted_metrics_are_those_of_the_split() -> None:
    random = np.random.default_rng(0)
    names = tuple("abcdef")
    preprocessing = SimpleNamespace(
        classes=names,
        separator="",
        encode_targets=lambda targets: np.array([names.index(name) for name in targets]),
    )
    split = SimpleNamespace(targets=np.array(names)[random.integers(5, size=200)])
    outputs = random.normal(size=(200, 6))
    measured = report.measure(split, outputs, preprocessing)
    weighted = report.weighted_metrics(split, outputs, preprocessing)
    assert list(weighted) == ["accuracy", "macro_f1", "top_3_accuracy", "top_5_accuracy", "loss"]
    twice = np.repeat([[1.0, 2.0]], 100, axis=0).ravel()[None]
    doubled = np.repeat(np.arange(200), twice[0].astype(int))
    again = report.measure(
        SimpleNamespace(targets=split.targets[doubled]), outputs[doubled], preprocessing
    )
    for name, metric in weighted.items():
        assert metric.compute(np.ones((1, 200)))[0] == pytest.approx(measured[name])
        assert metric.compute(twice)[0] == pytest.approx(again[name])


def test_cross_entropy_is_that_of_keras() -> None:
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(TRUTH, LOGITS)
    np.testing.assert_allclose(objective.CrossEntropy()(TRUTH, LOGITS), theirs, rtol=1e-6)
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(
        objective.CrossEntropy(0.1)(TRUTH, LOGITS), smooth(np.eye(3)[TRUTH], LOGITS), rtol=1e-6
    )


def test_focal_loss_is_that_of_keras() -> None:
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)
    np.testing.assert_allclose(
        objective.CrossEntropy(gamma=2.0)(TRUTH, LOGITS),
        theirs(np.eye(3)[TRUTH], LOGITS),
        rtol=1e-5,
    )


def test_losses_and_metrics_can_be_made() -> None:
    config = load_config()
    for name in LOSSES:
        made = find(LOSSES, name)(config, CLASSES)
        again = keras.losses.deserialize(keras.losses.serialize(made))
        np.testing.assert_allclose(made(TRUTH, LOGITS), again(TRUTH, LOGITS))
    assert [find(METRICS, name)(config, CLASSES).name for name in METRICS] == ["accuracy"]


def test_rare_classes_weigh_more() -> None:
    targets = np.array(["cat"] * 8 + ["dog"] * 2)
    weights = objective.sample_weights(targets, CLASSES, load_config())
    assert weights.mean() == pytest.approx(1)
    assert weights[:8].sum() == pytest.approx(weights[8:].sum())
    off = load_config(["--train.class_weights", "none"])
    assert objective.sample_weights(targets, CLASSES, off) is None
    even = np.array(["cat", "dog", "owl"])
    assert objective.sample_weights(even, CLASSES, load_config()) is None


def test_answers() -> None:
    answer = objective.decode_predictions(LOGITS, CLASSES)[0]
    assert answer["prediction"] == "cat"
    assert list(answer["scores"]) == ["cat", "dog", "owl"]
    assert sum(answer["scores"].values()) == pytest.approx(1)


def examples(targets) -> SimpleNamespace:
    return SimpleNamespace(targets=np.array(targets))


def test_metrics_by_hand() -> None:
    measured = report.measure(examples(["cat", "dog", "owl", "owl"]), LOGITS, CLASSES)
    assert measured["accuracy"] == 0.75
    assert measured["macro_recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert measured["weighted_recall"] == pytest.approx(0.75)
    probability = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    expected = -np.log(probability[range(4), TRUTH]).mean()
    assert measured["loss"] == pytest.approx(expected, rel=1e-6)
    assert "top_3_accuracy" not in measured
    # The wrong prediction looks more like a cat than the cat, and less like an owl than all others.
    assert measured["auroc"] == pytest.approx((2 / 3 + 1 + 2 / 4) / 3)


def test_classes_without_examples_do_not_count() -> None:
    ten = SimpleNamespace(classes=tuple("abcdefghij"), separator="")
    truth = np.arange(8)
    right = report.measure_probabilities(truth, np.eye(10)[truth], ten)
    assert right["macro_f1"] == right["macro_precision"] == right["macro_recall"] == 1.0
    # Predicted as a class without examples, an example lowers the recall of its own class.
    wrong = np.where(truth == 0, 9, truth)
    assert report.measure_probabilities(truth, np.eye(10)[wrong], ten)["macro_f1"] == 7 / 8
    multilabel = SimpleNamespace(classes=ten.classes, separator=";")
    both = report.measure_probabilities(np.eye(10)[truth], np.eye(10)[truth], multilabel)
    assert both["macro_f1"] == 1.0
    assert report.measure_probabilities(np.eye(10)[truth], np.eye(10)[wrong], multilabel)[
        "micro_f1"
    ] == pytest.approx(7 / 8), "a false positive"


def test_calibration_error_by_hand() -> None:
    # Four predictions with confidence 0.75, three of them right, and two with 0.95, none right.
    scores = np.array([[0.75, 0.25]] * 4 + [[0.95, 0.05]] * 2)
    truth = np.array([0, 0, 0, 1, 1, 1])
    two = SimpleNamespace(classes=("a", "b"), separator="")
    measured = report.measure_probabilities(truth, scores, two)
    assert measured["expected_calibration_error"] == pytest.approx(4 / 6 * 0 + 2 / 6 * 0.95)
    assert measured["auroc"] == pytest.approx(1.5 / 9)


def test_several_labels() -> None:
    targets = np.array(["cat; dog", "owl", "", "dog"])
    assert class_names(targets, ";") == MULTILABEL.classes
    truth = MULTILABEL.encode_targets(targets)
    np.testing.assert_array_equal(truth, [[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    logits = np.array([[2.0, 1, -1], [-1, -2, 3], [-3, -1, 0.5], [-1, 2, -2]], "float32")
    answers = objective.decode_predictions(logits, MULTILABEL)
    assert [answer["prediction"] for answer in answers] == ["cat;dog", "owl", "owl", "dog"]
    assert answers[0]["scores"]["cat"] == pytest.approx(1 / (1 + np.exp(-2)))
    measured = report.measure(examples(targets), logits, MULTILABEL)
    assert next(iter(measured)) == "micro_f1"
    assert measured["micro_f1"] == pytest.approx(2 * 4 / (4 + 5))  # 5 predicted, all of 4 found
    assert measured["subset_accuracy"] == 0.75
    assert measured["auroc"] == pytest.approx((1 + 1 + 1) / 3)
    theirs = keras.losses.BinaryCrossentropy(from_logits=True)(truth, logits)
    assert measured["loss"] == pytest.approx(float(theirs), rel=1e-5)
    predictions = Predictions.from_scores(truth, 1 / (1 + np.exp(-logits)), MULTILABEL)
    assert predictions.labels == ["cat;dog", "owl", "", "dog"]
    np.testing.assert_array_equal(predictions.correct, [True, True, False, True])
    assert predictions.confidence[2] == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_losses_of_several_labels_decrease() -> None:
    truth = MULTILABEL.encode_targets(np.array(["cat; dog", "owl", "", "dog"]))
    sure = (truth * 2 - 1).astype("float32")
    for name in LOSSES:
        loss = find(LOSSES, name)(load_config(), MULTILABEL)
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert loss(truth, 3 * sure) < loss(truth, sure) < loss(truth, -sure)
        assert float(again(truth, sure)) == pytest.approx(float(loss(truth, sure)))


def test_rarest_class_decides_strata_and_weights() -> None:
    targets = np.array(["a"] * 10 + ["a;b"] * 4 + ["b;c"] * 3 + ["a;b;c;d"] * 3 + [""])
    assert list(strata(targets, ";")) == ["a"] * 10 + ["b"] * 4 + ["c"] * 3 + ["d"] * 3 + ["a"]
    weights = objective.sample_weights(targets, MULTILABEL, load_config())
    assert weights.mean() == pytest.approx(1)
    assert weights[:10].sum() + weights[-1] == pytest.approx(weights[17:20].sum())


def test_classes_in_any_script(tmp_path, capfd, caplog) -> None:
    names = ("故障", "ปัญหา", "$1", "fault")
    classes = SimpleNamespace(classes=names, separator="")
    report._draw_confusion(tmp_path / "c.svg", np.arange(4), np.eye(4), classes)
    assert (tmp_path / "c.svg").stat().st_size > 1000
    assert "Glyph" not in capfd.readouterr().err
    assert all("no glyph in the installed fonts" in record.message for record in caplog.records)
