"""The most confident mistakes of a text classifier, and its accuracy by length of the text."""

from pathlib import Path

import numpy as np

from ..datasets.labels import Predictions
from ..engine.figures import figure
from ..engine.interfaces import Split
from ..engine.tables import write_csv
from ..preprocessing import Preprocessing, texts_of

MAX_MISTAKES = 100  # in the table
MAX_CHARACTERS = 500  # of a text in the table
NUM_SLICES = 5  # by length, with about as many texts each


def draw_mistakes(
    folder: Path,
    name: str,
    split: Split,
    predictions: Predictions,
    preprocessing: Preprocessing,
) -> None:
    """Write ``NAME_mistakes.csv`` and ``NAME_lengths.csv``, and draw ``NAME_lengths.svg``.

    Args:
        folder: the run's report.
        name: of the split.
        split: its texts.
        predictions: the model's predictions for them.
        preprocessing: counts their tokens.
    """
    confidence = predictions.confidence
    wrong = np.flatnonzero(~predictions.correct)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_MISTAKES]
    columns = (split.ids, predictions.labels, predictions.predictions)
    rows = (
        (*(column[i] for column in columns), f"{confidence[i]:.6f}", _shorten(text))
        for i, text in zip(wrong, texts_of(split, wrong), strict=True)
    )
    header = ["id", "label", "prediction", "confidence", "text"]
    write_csv(folder / f"{name}_mistakes.csv", header, rows)
    lengths = np.array([len(preprocessing.split(text)) for text in texts_of(split)])
    slices = accuracy_by_length(lengths, predictions.correct)
    header = ["shortest", "longest", "texts", "accuracy"]
    write_csv(folder / f"{name}_lengths.csv", header, slices)
    _draw_lengths(folder / f"{name}_lengths.svg", slices, preprocessing.sequence_length)


def accuracy_by_length(
    lengths: np.ndarray, correct: np.ndarray
) -> list[tuple[int, int, int, float]]:
    """Measure accuracy in slices of about as many texts each.

    Args:
        lengths: (size,) tokens of each text.
        correct: (size,) whether each prediction is correct.

    Returns:
        Shortest length, longest length, number of texts and accuracy of each slice.
    """
    order = np.argsort(lengths, kind="stable")
    slices = [part for part in np.array_split(order, NUM_SLICES) if len(part)]
    return [
        (int(lengths[s].min()), int(lengths[s].max()), len(s), float(correct[s].mean()))
        for s in slices
    ]


def _draw_lengths(path: Path, slices: list[tuple[int, int, int, float]], limit: int) -> None:
    text = "Accuracy of about as many texts each, from the shortest to the longest."
    with figure(path, 6.4, 3.6, description=text) as axis:
        names = [f"{a} to {b}\n({count} texts)" for a, b, count, _ in slices]
        bars = axis.bar(names, [share for *_, share in slices], color="#1d4ed8", width=0.6)
        axis.bar_label(bars, fmt="%.3f", padding=2)
        axis.set(
            ylim=(0, 1.1),
            ylabel="accuracy",
            title=f"Accuracy by length in tokens (truncated after {limit})",
        )


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    # Not textwrap.shorten: it cuts at spaces, and Chinese has none.
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …"
