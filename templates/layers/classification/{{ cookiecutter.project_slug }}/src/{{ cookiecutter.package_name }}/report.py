"""Evaluation of a classifier: metrics, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .datasets.labels import Predictions, predict_classes
from .engine.figures import figure
from .engine.interfaces import Split
from .engine.tables import write_csv
from .engine.weighted_metrics import WeightedMetric
from .evaluation.mistakes import draw_mistakes
from .objective import example_loss, mean_loss, probabilities, to_logits

if TYPE_CHECKING:
    from .preprocessing import Preprocessing

MAX_CONFUSION_CLASSES = 30  # a larger matrix is unreadable
MAX_ROC_CLASSES = 10  # more curves are unreadable
TOP_K = (3, 5)
MAX_F1_CLASSES = 100  # of more, F1 of resamples takes much memory
CALIBRATION_BINS = 10
BASELINE_METRICS = ("accuracy", "micro_f1", "loss", "macro_f1")


def measure(split: Split, outputs: np.ndarray, preprocessing: Preprocessing) -> dict[str, float]:
    """Return metrics of a split from the model's logits (size, classes)."""
    truth = preprocessing.encode_targets(split.targets)
    scores = probabilities(outputs, preprocessing)
    return measure_probabilities(truth, scores, preprocessing)


def measure_probabilities(
    truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, float]:
    """Return metrics of probabilities, the most important first.

    Macro averages are over the classes that occur in ``truth``. ``auroc`` is one-vs-rest, averaged
    over classes; ``expected_calibration_error`` has 10 bins (Guo et al. 2017).
    ``subset_accuracy``, for several labels, is the share of examples with every label correct.

    Args:
        truth: class indices (size,), or 0 and 1 (size, classes).
        scores: probabilities (size, classes).
        preprocessing: knows the classes.
    """
    from sklearn import metrics as sk

    multilabel = bool(preprocessing.separator)
    classes = range(len(preprocessing.classes))
    # Recall of a class without examples is undefined; micro averages count its false positives.
    present = np.flatnonzero(truth.any(axis=0)) if multilabel else np.unique(truth)
    predicted = predict_classes(scores, preprocessing.separator)
    accuracy = float(sk.accuracy_score(truth, predicted))
    measured: dict[str, float] = {} if multilabel else {"accuracy": accuracy}
    for average in ("micro",) * multilabel + ("macro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(
            truth,
            predicted,
            labels=present if average == "macro" and len(present) else classes,
            average=average,
            zero_division=0,
        )
        names = (f"{average}_{name}" for name in ("f1", "precision", "recall"))
        measured |= dict(zip(names, map(float, (f, p, r)), strict=True))
    if multilabel:
        measured["subset_accuracy"] = accuracy
    else:
        for k in TOP_K:
            if len(classes) > k:
                top_k = sk.top_k_accuracy_score(truth, scores, k=k, labels=classes)
                measured[f"top_{k}_accuracy"] = float(top_k)
    indicators = truth > 0 if multilabel else truth[:, None] == classes  # (size, classes)
    if np.all(indicators.any(axis=0) & ~indicators.all(axis=0)):
        # One-vs-rest needs examples of each class and of its rest.
        measured["auroc"] = float(sk.roc_auc_score(indicators, scores, average="macro"))
    measured["loss"] = mean_loss(truth, scores)
    error = _calibration_error(*_decisions(truth, scores, preprocessing))
    measured["expected_calibration_error"] = error
    return measured


def weighted_metrics(
    split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, WeightedMetric]:
    """Return those metrics of weighted examples that are sums over examples.

    ``auroc`` and the calibration error are not: they would have to be sorted for each resample.

    Args:
        split: labelled examples.
        outputs: logits (size, classes) for them.
        preprocessing: knows the classes.
    """
    truth = preprocessing.encode_targets(split.targets)
    scores = probabilities(outputs, preprocessing)
    predicted = predict_classes(scores, preprocessing.separator)
    loss = WeightedMetric.mean(example_loss(truth, scores), lower_is_better=True)
    if not preprocessing.separator:
        top = {
            f"top_{k}_accuracy": WeightedMetric.mean(_is_among_best(truth, scores, k))
            for k in TOP_K
            if scores.shape[1] > k
        }
        f1 = {"macro_f1": _macro_f1(truth, predicted)} if scores.shape[1] <= MAX_F1_CLASSES else {}
        return {"accuracy": WeightedMetric.mean(predicted == truth), **f1, **top, "loss": loss}
    hits = (predicted * truth).sum(axis=-1, dtype="float64")
    named = (predicted + truth).sum(axis=-1, dtype="float64")  # hits twice, and all mistakes

    def micro_f1(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 2 * (weights @ hits) / (weights @ named)

    return {"micro_f1": WeightedMetric(micro_f1), "loss": loss}


def _is_among_best(truth: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Return whether fewer than k classes (size,) are likelier than the true one."""
    own = scores[np.arange(len(truth)), truth]
    return (scores > own[:, None]).sum(axis=1) < k


def _macro_f1(truth: np.ndarray, predicted: np.ndarray) -> WeightedMetric:
    """Return the mean F1 over the classes that occur, from class indices (size,)."""
    present = np.unique(truth)
    is_true, is_predicted = (labels[:, None] == present for labels in (truth, predicted))
    hits = (is_true & is_predicted).astype("float64")  # (size, classes)
    named = is_true.astype("float64") + is_predicted

    def compute(weights: np.ndarray) -> np.ndarray:
        occurs = weights @ is_true > 0  # a resample may lack a class
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.nan_to_num(2 * (weights @ hits) / (weights @ named))
            return (f1 * occurs).sum(axis=1) / occurs.sum(axis=1)

    return WeightedMetric(compute)


def majority_row(
    train: np.ndarray, test: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Evaluate the baseline that always predicts the class frequencies of the training split."""
    if preprocessing.separator:
        shares = train.mean(axis=0)
    else:
        shares = np.bincount(train, minlength=len(preprocessing.classes)) / len(train)
    return baseline_row("majority class", test, np.tile(shares, (len(test), 1)), preprocessing)


def baseline_row(
    name: str, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Return a baseline's name and test metrics.

    Args:
        name: of the baseline.
        truth: class indices (size,), or 0 and 1 (size, classes).
        scores: the baseline's probabilities (size, classes).
        preprocessing: knows the classes.
    """
    metrics = measure_probabilities(truth, scores, preprocessing)
    names = [metric for metric in BASELINE_METRICS if metric in metrics]
    return {
        "name": name,
        "metrics": {f"test/{metric}": metrics[metric] for metric in names},
        "outputs": to_logits(scores, preprocessing),
    }


def draw(
    folder: Path, name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write the figures and tables of a split, ``NAME_*.svg`` and ``NAME_*.csv``.

    Args:
        folder: the run's report.
        name: of the split.
        split: its examples.
        outputs: the model's logits (size, classes).
        preprocessing: knows the classes.
    """
    truth = preprocessing.encode_targets(split.targets)
    scores = probabilities(outputs, preprocessing)
    predictions = Predictions.from_scores(truth, scores, preprocessing)
    _write_classes(folder / f"{name}_classes.csv", truth, scores, preprocessing)
    _write_predictions(folder / f"{name}_predictions.csv", split, predictions)
    if not preprocessing.separator:
        _draw_confusion(folder / f"{name}_confusion.svg", truth, scores, preprocessing)
    decisions = _decisions(truth, scores, preprocessing)
    _draw_reliability(folder / f"{name}_reliability.svg", *decisions)
    _draw_roc(folder / f"{name}_roc.svg", truth, scores, preprocessing)
    draw_mistakes(folder, name, split, predictions, preprocessing)


def _decisions(
    truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each decision is correct, and its confidence.

    An example is one decision (size,); with several labels, one for each class (size * classes,).
    """
    if preprocessing.separator:
        correct = (scores >= 0.5) == (truth > 0)
        return correct.ravel(), np.maximum(scores, 1 - scores).ravel()
    return scores.argmax(axis=-1) == truth, scores.max(axis=-1)


def _calibration_error(correct: np.ndarray, confidence: np.ndarray) -> float:
    bins = _calibration_bins(correct, confidence)
    return float(sum(share * abs(accuracy - mean) for share, accuracy, mean in bins))


def _calibration_bins(
    correct: np.ndarray, confidence: np.ndarray
) -> list[tuple[float, float, float]]:
    """Return the share of decisions, accuracy and mean confidence of each bin that has any.

    scikit-learn's ``calibration_curve`` does not tell the shares.
    """
    bin_of = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        (float(inside.mean()), float(correct[inside].mean()), float(confidence[inside].mean()))
        for inside in (bin_of == number for number in range(CALIBRATION_BINS))
        if inside.any()
    ]


def _write_classes(
    path: Path, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> None:
    from sklearn import metrics as sk

    table = sk.precision_recall_fscore_support(
        truth,
        predict_classes(scores, preprocessing.separator),
        labels=range(len(preprocessing.classes)),
        zero_division=0,
    )
    rows = zip(preprocessing.classes, *table, strict=True)
    write_csv(path, ["class", "precision", "recall", "f1", "examples"], rows)


def _write_predictions(path: Path, split: Split, found: Predictions) -> None:
    """Write every example, the most confident mistakes first."""
    rows = (
        (split.ids[i], found.labels[i], found.predictions[i], f"{found.confidence[i]:.6f}")
        for i in np.lexsort((-found.confidence, found.correct))
    )
    write_csv(path, ["id", "label", "prediction", "confidence"], rows)


def _draw_confusion(
    path: Path, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> None:
    from sklearn import metrics as sk

    predicted = scores.argmax(axis=-1)
    classes = len(preprocessing.classes)
    # Of many classes, the ones with most mistakes.
    mistakes = np.bincount(truth[predicted != truth], minlength=classes)
    selected = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_CONFUSION_CLASSES])
    counts = sk.confusion_matrix(truth, predicted, labels=range(classes))
    counts = counts[np.ix_(selected, selected)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [preprocessing.classes[i][:20] for i in selected]
    note = f", the {len(selected)} classes with most mistakes" if len(selected) < classes else ""
    size = 3 + 0.45 * len(selected)
    text = (
        "A row for each true class, a column for each predicted one: numbers of examples; the "
        "darker, the larger their share of the row. Mistakes are off the diagonal."
    )
    with figure(path, size, size * 0.9, description=text) as axis:
        display = sk.ConfusionMatrixDisplay(shares, display_labels=names)
        limits = {"vmin": 0, "vmax": 1}
        display.plot(ax=axis, cmap="Blues", colorbar=False, im_kw=limits, text_kw={"fontsize": 8})
        # Shares of the true class as colours, numbers of examples as text.
        for cell, text in np.ndenumerate(display.text_):
            text.set_text(counts[cell] or "")
        if max(map(len, names)) > 3:
            axis.set_xticks(axis.get_xticks(), names, rotation=45, ha="right")
        axis.set(xlabel="predicted class", ylabel="true class", title=f"Confusion (examples{note})")
        axis.spines[:].set_visible(False)


def _draw_roc(
    path: Path, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Draw ROC and precision-recall curves of each class against the rest.

    Of two classes, that of the second one; of many, those of the classes that are told apart worst.
    """
    from sklearn import metrics as sk

    classes = np.arange(len(preprocessing.classes))
    indicators = truth > 0 if truth.ndim == 2 else truth[:, None] == classes  # (size, classes)
    defined = classes[indicators.any(axis=0) & ~indicators.all(axis=0)]
    if len(classes) == 2 and truth.ndim == 1:
        defined = defined[1:]
    areas = {c: float(sk.roc_auc_score(indicators[:, c], scores[:, c])) for c in defined}
    worst = sorted(areas, key=lambda c: (areas[c], c))[:MAX_ROC_CLASSES]
    note = (
        f", the {len(worst)} classes that are told apart worst" if len(worst) < len(areas) else ""
    )
    text = f"Each class against all others{note}. The nearer to the upper corner, the better."
    with figure(path, 9.6, 4.4, description=text, ncols=2) as (roc_axis, pr_axis):
        for c in sorted(worst):
            false_rate, true_rate, _ = sk.roc_curve(indicators[:, c], scores[:, c])
            label = f"{preprocessing.classes[c][:20]} ({areas[c]:.3f})"
            roc_axis.plot(false_rate, true_rate, label=label, linewidth=1.2)
            precision, recall, _ = sk.precision_recall_curve(indicators[:, c], scores[:, c])
            pr_axis.step(recall, precision, where="post", linewidth=1.2)
        roc_axis.plot([0, 1], [0, 1], color="#7a8ba3", linestyle=":")
        roc_axis.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC (AUROC)")
        pr_axis.set(xlabel="recall", ylabel="precision", ylim=(0, 1.03), title="Precision, recall")
        if worst:
            roc_axis.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_reliability(path: Path, correct: np.ndarray, confidence: np.ndarray) -> None:
    from sklearn.calibration import CalibrationDisplay

    shares, accuracies, means = zip(*_calibration_bins(correct, confidence), strict=True)
    error = _calibration_error(correct, confidence)
    text = (
        "Accuracy against confidence. Points below the diagonal: the model is more confident than "
        "it is right; the larger a point, the more predictions."
    )
    with figure(path, 4.8, 4.8, description=text) as axis:
        display = CalibrationDisplay(accuracies, means, confidence)
        name = "this model (size: share of predictions)"
        display.plot(ax=axis, name=name, marker="", color="#1d4ed8")
        sizes = [20 + 400 * share for share in shares]
        axis.scatter(means, accuracies, s=sizes, color="#1d4ed8", alpha=0.6, zorder=3)
        axis.set(
            xlabel="confidence",
            ylabel="accuracy",
            xlim=(0, 1.02),
            ylim=(0, 1.04),
            title=f"Reliability (expected calibration error {error:.3f})",
        )
