"""How good a classifier is: metrics, and figures that a person can read."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn import metrics as sk

from .contract import Preprocessing, Split
from .figures import figure
from .mistakes import draw_mistakes
from .objective import probabilities
from .tables import write_csv

SHOWN_CLASSES = 30  # a confusion matrix with more of them cannot be read
BINS = 10
OF_BASELINES = ("accuracy", "loss", "macro_f1")  # metrics that are shown of them


def measure(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, float]:
    """Metrics of logits (size, classes) against targets (size,) as the source gives them."""
    return measure_probabilities(
        preprocessing.encode_targets(targets), probabilities(outputs), preprocessing
    )


def measure_probabilities(
    truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, float]:
    """Metrics of probabilities (size, classes) against class indices (size,).

    ``auroc`` is that of each class against the others, their mean; ``calibration_error`` is the
    expected calibration error (Guo 2017) with 10 bins.
    """
    classes = len(preprocessing.classes)
    predicted = scores.argmax(axis=-1)
    of_truth = scores[np.arange(len(truth)), truth]
    measured = {
        "accuracy": float(np.mean(predicted == truth)),
        "loss": float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
    }
    for average in ("macro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(
            truth, predicted, labels=range(classes), average=average, zero_division=0
        )
        names = (f"{average}_{name}" for name in ("precision", "recall", "f1"))
        measured |= dict(zip(names, map(float, (p, r, f)), strict=True))
    for k in (3, 5):
        if classes > k:
            rank = (scores > of_truth[:, None]).sum(axis=-1)
            measured[f"top_{k}_accuracy"] = float(np.mean(rank < k))
    if len(np.unique(truth)) == classes:
        # Each class against all others, of which a split must have both.
        shown = scores if classes > 2 else scores[:, 1]
        measured["auroc"] = float(sk.roc_auc_score(truth, shown, multi_class="ovr"))
    measured["calibration_error"] = _calibration_error(truth, scores)
    return measured


def majority_row(
    train: np.ndarray, test: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """The baseline that always answers with the training split's shares of the classes."""
    shares = np.bincount(train, minlength=len(preprocessing.classes)) / len(train)
    return baseline_row("majority class", test, np.tile(shares, (len(test), 1)), preprocessing)


def baseline_row(
    name: str, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """A baseline's name and test metrics, from probabilities (size, classes)."""
    metrics = measure_probabilities(truth, scores, preprocessing)
    return {"name": name, "metrics": {f"test/{metric}": metrics[metric] for metric in OF_BASELINES}}


def draw(
    folder: Path, name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write ``NAME_*.png`` and ``NAME_*.csv`` about a split to the folder."""
    truth, scores = preprocessing.encode_targets(split.targets), probabilities(outputs)
    _write_classes(folder / f"{name}_classes.csv", truth, scores, preprocessing)
    _write_predictions(folder / f"{name}_predictions.csv", split, truth, scores, preprocessing)
    _draw_confusion(folder / f"{name}_confusion.png", truth, scores, preprocessing)
    _draw_reliability(folder / f"{name}_reliability.png", truth, scores)
    draw_mistakes(folder, name, split, truth, scores, preprocessing)


def _calibration_error(truth: np.ndarray, scores: np.ndarray) -> float:
    return float(sum(share * abs(right - sure) for share, right, sure in _bins(truth, scores)))


def _bins(truth: np.ndarray, scores: np.ndarray) -> list[tuple[float, float, float]]:
    """For each bin of confidence with examples: share of all, share right, mean confidence."""
    confidence, right = scores.max(axis=-1), scores.argmax(axis=-1) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        (float(inside.mean()), float(right[inside].mean()), float(confidence[inside].mean()))
        for inside in (place == number for number in range(BINS))
        if inside.any()
    ]


def _write_classes(
    path: Path, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> None:
    table = sk.precision_recall_fscore_support(
        truth, scores.argmax(axis=-1), labels=range(len(preprocessing.classes)), zero_division=0
    )
    rows = zip(preprocessing.classes, *table, strict=True)
    write_csv(path, ["class", "precision", "recall", "f1", "examples"], rows)


def _write_predictions(
    path: Path, split: Split, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Every example, the most confident mistakes first."""
    predicted, confidence = scores.argmax(axis=-1), scores.max(axis=-1)
    order = np.lexsort((-confidence, predicted == truth))
    classes = preprocessing.classes
    rows = (
        (split.ids[i], classes[truth[i]], classes[predicted[i]], f"{confidence[i]:.6f}")
        for i in order
    )
    write_csv(path, ["id", "label", "prediction", "confidence"], rows)


def _draw_confusion(
    path: Path, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> None:
    predicted = scores.argmax(axis=-1)
    # With many classes: those in which most mistakes happen.
    wrong = np.bincount(truth[predicted != truth], minlength=len(preprocessing.classes))
    shown = np.sort(np.argsort(-wrong, kind="stable")[:SHOWN_CLASSES])
    counts = sk.confusion_matrix(truth, predicted, labels=range(len(preprocessing.classes)))
    counts = counts[np.ix_(shown, shown)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [preprocessing.classes[i][:20] for i in shown]
    size = 3 + 0.45 * len(shown)
    with figure(path, size, size * 0.9) as axis:
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "#333333"
                axis.text(column, row, count, ha="center", va="center", color=color, fontsize=8)
        ticks = range(len(shown))
        slanted = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 3 else {}
        axis.set_xticks(ticks, names, **slanted)
        axis.set_yticks(ticks, names)
        left_out = len(preprocessing.classes) - len(shown)
        note = f", the {len(shown)} classes with most mistakes" if left_out else ""
        axis.set(xlabel="predicted class", ylabel="true class", title=f"Confusion (examples{note})")
        axis.spines[:].set_visible(False)


def _draw_reliability(path: Path, truth: np.ndarray, scores: np.ndarray) -> None:
    shares, right, sure = zip(*_bins(truth, scores), strict=True)
    with figure(path, 4.8, 4.8) as axis:
        axis.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", label="perfectly calibrated")
        sizes = [20 + 400 * share for share in shares]
        axis.scatter(sure, right, s=sizes, color="#1d4ed8", alpha=0.6, zorder=3)
        axis.plot(sure, right, color="#1d4ed8", label="this model (size: share of examples)")
        error = _calibration_error(truth, scores)
        axis.set(
            xlabel="confidence",
            ylabel="accuracy",
            xlim=(0, 1.02),
            ylim=(0, 1.04),
            title=f"Reliability (expected calibration error {error:.3f})",
        )
        axis.legend(frameon=False, loc="lower right")
