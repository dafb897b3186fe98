"""How good a classifier is: metrics, and figures that a person can read."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn import metrics as sk

from .config import Config
from .datasets.labels import Judged, chosen
from .engine.figures import figure
from .engine.interfaces import DatasetSplits, Preprocessing, Split
from .engine.tables import write_csv
from .evaluation.mistakes import draw_mistakes
from .objective import mean_loss, probabilities

SHOWN_CLASSES = 30  # a confusion matrix with more of them cannot be read
BINS = 10
OF_BASELINES = ("accuracy", "micro_f1", "loss", "macro_f1")  # metrics that are shown of them


def measure(split: Split, outputs: np.ndarray, preprocessing: Preprocessing) -> dict[str, float]:
    """Metrics of logits (size, classes)."""
    truth = preprocessing.encode_targets(split.targets)
    scores = probabilities(outputs, preprocessing)
    return measure_probabilities(truth, scores, preprocessing)


def measure_probabilities(
    truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, float]:
    """Metrics of probabilities (size, classes) against targets as numbers.

    Macro averages are over the classes that stand in ``truth``. ``auroc`` is that of each class
    against the others, their mean; ``calibration_error`` is the expected calibration error (Guo
    2017) with 10 bins. Where an example may have several classes,
    ``micro_f1`` counts all their yeses alike, and ``exact`` is the share of examples of which
    nothing is wrong.
    """
    several = bool(preprocessing.separator)
    classes = len(preprocessing.classes)
    # A class that the split lacks can be neither found nor missed; for ``micro`` it can be wrong.
    there = np.flatnonzero(truth.any(axis=0)) if several else np.unique(truth)
    predicted = chosen(scores, preprocessing.separator)
    measured: dict[str, float] = {}
    if not several:
        measured["accuracy"] = float(np.mean(predicted == truth))
    for average in ("micro",) * several + ("macro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(
            truth,
            predicted,
            labels=there if average == "macro" and len(there) else range(classes),
            average=average,
            zero_division=0,
        )
        names = (f"{average}_{name}" for name in ("f1", "precision", "recall"))
        measured |= dict(zip(names, map(float, (f, p, r)), strict=True))
    if several:
        measured["exact"] = float(np.mean(np.all(predicted == truth, axis=-1)))
    else:
        rank = (scores > scores[np.arange(len(truth)), truth][:, None]).sum(axis=-1)
        for k in (3, 5):
            if classes > k:
                measured[f"top_{k}_accuracy"] = float(np.mean(rank < k))
    yes = truth > 0 if several else truth[:, None] == range(classes)
    if np.all(yes.any(axis=0) & ~yes.all(axis=0)):
        # Each class against all others, of which a split must have both.
        measured["auroc"] = float(sk.roc_auc_score(yes, scores, average="macro"))
    measured["loss"] = mean_loss(truth, scores)
    measured["calibration_error"] = _calibration_error(*_decisions(truth, scores, preprocessing))
    return measured


def majority_row(
    train: np.ndarray, test: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """The baseline that always answers with the training split's shares of the classes."""
    if preprocessing.separator:
        shares = train.mean(axis=0)
    else:
        shares = np.bincount(train, minlength=len(preprocessing.classes)) / len(train)
    return baseline_row("majority class", test, np.tile(shares, (len(test), 1)), preprocessing)


def baseline_row(
    name: str, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """A baseline's name and test metrics, from probabilities (size, classes)."""
    metrics = measure_probabilities(truth, scores, preprocessing)
    shown = [metric for metric in OF_BASELINES if metric in metrics]
    return {"name": name, "metrics": {f"test/{metric}": metrics[metric] for metric in shown}}


def draw(
    folder: Path, name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write ``NAME_*.png`` and ``NAME_*.csv`` about a split to the folder."""
    truth = preprocessing.encode_targets(split.targets)
    scores = probabilities(outputs, preprocessing)
    judged = Judged.of(truth, scores, preprocessing)
    _write_classes(folder / f"{name}_classes.csv", truth, scores, preprocessing)
    _write_predictions(folder / f"{name}_predictions.csv", split, judged)
    if not preprocessing.separator:
        _draw_confusion(folder / f"{name}_confusion.png", truth, scores, preprocessing)
    decisions = _decisions(truth, scores, preprocessing)
    _draw_reliability(folder / f"{name}_reliability.png", *decisions)
    draw_mistakes(folder, name, split, judged, preprocessing)


def conclude(
    folder: Path, model: Any, data: DatasetSplits, summary: dict[str, Any], config: Config
) -> None:
    """Nothing more than the figures is written."""


def _decisions(
    truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is right, and how sure it is; an example with several classes has an
    answer for each of them."""
    if preprocessing.separator:
        right = (scores >= 0.5) == (truth > 0)
        return right.ravel(), np.maximum(scores, 1 - scores).ravel()
    return scores.argmax(axis=-1) == truth, scores.max(axis=-1)


def _calibration_error(right: np.ndarray, confidence: np.ndarray) -> float:
    return float(sum(share * abs(hit - sure) for share, hit, sure in _bins(right, confidence)))


def _bins(right: np.ndarray, confidence: np.ndarray) -> list[tuple[float, float, float]]:
    """For each bin of confidence with answers: share of all, share right, mean confidence."""
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
        truth,
        chosen(scores, preprocessing.separator),
        labels=range(len(preprocessing.classes)),
        zero_division=0,
    )
    rows = zip(preprocessing.classes, *table, strict=True)
    write_csv(path, ["class", "precision", "recall", "f1", "examples"], rows)


def _write_predictions(path: Path, split: Split, judged: Judged) -> None:
    """Every example, the most confident mistakes first."""
    rows = (
        (split.ids[i], judged.labels[i], judged.predictions[i], f"{judged.confidence[i]:.6f}")
        for i in np.lexsort((-judged.confidence, judged.right))
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


def _draw_reliability(path: Path, right: np.ndarray, confidence: np.ndarray) -> None:
    shares, hits, sure = zip(*_bins(right, confidence), strict=True)
    with figure(path, 4.8, 4.8) as axis:
        axis.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", label="perfectly calibrated")
        sizes = [20 + 400 * share for share in shares]
        axis.scatter(sure, hits, s=sizes, color="#1d4ed8", alpha=0.6, zorder=3)
        axis.plot(sure, hits, color="#1d4ed8", label="this model (size: share of answers)")
        error = _calibration_error(right, confidence)
        axis.set(
            xlabel="confidence",
            ylabel="accuracy",
            xlim=(0, 1.02),
            ylim=(0, 1.04),
            title=f"Reliability (expected calibration error {error:.3f})",
        )
        axis.legend(frameon=False, loc="lower right")
