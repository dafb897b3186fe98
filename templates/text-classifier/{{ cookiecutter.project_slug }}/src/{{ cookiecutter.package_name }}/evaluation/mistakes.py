"""Where a text classifier is wrong: by length, and the mistakes that it is surest of."""

from pathlib import Path

import numpy as np

from ..datasets.labels import Judged
from ..engine.figures import figure
from ..engine.interfaces import Split
from ..engine.tables import write_csv
from ..preprocessing import Preprocessing, texts_of

SHOWN = 100  # mistakes in the table
CHARACTERS = 500  # of a text in the table
PARTS = 5  # slices by length, with about as many texts each


def draw_mistakes(
    folder: Path,
    name: str,
    split: Split,
    judged: Judged,
    preprocessing: Preprocessing,
) -> None:
    """Write ``NAME_mistakes.csv`` and ``NAME_lengths.csv`` and draw the latter."""
    wrong = np.flatnonzero(~judged.right)
    surest = wrong[np.argsort(-judged.confidence[wrong], kind="stable")][:SHOWN]
    rows = (
        (split.ids[i], judged.labels[i], judged.predictions[i], f"{judged.confidence[i]:.6f}", text)
        for i, text in zip(surest, map(_shortened, texts_of(split, surest)), strict=True)
    )
    header = ["id", "label", "prediction", "confidence", "text"]
    write_csv(folder / f"{name}_mistakes.csv", header, rows)
    lengths = np.array([len(preprocessing.split(text)) for text in texts_of(split)])
    slices = by_length(lengths, judged.right)
    header = ["shortest", "longest", "texts", "accuracy"]
    write_csv(folder / f"{name}_lengths.csv", header, slices)
    _draw_lengths(folder / f"{name}_lengths.png", slices, preprocessing.max_tokens)


def by_length(lengths: np.ndarray, right: np.ndarray) -> list[tuple[int, int, int, float]]:
    """Slices of about as many texts each: shortest, longest, texts, share right."""
    order = np.argsort(lengths, kind="stable")
    parts = [part for part in np.array_split(order, PARTS) if len(part)]
    return [
        (int(lengths[p].min()), int(lengths[p].max()), len(p), float(right[p].mean()))
        for p in parts
    ]


def _draw_lengths(path: Path, slices: list[tuple[int, int, int, float]], most: int) -> None:
    with figure(path, 6.4, 3.6) as axis:
        names = [f"{a} to {b}\n({count} texts)" for a, b, count, _ in slices]
        bars = axis.bar(names, [share for *_, share in slices], color="#1d4ed8", width=0.6)
        axis.bar_label(bars, fmt="%.3f", padding=2)
        axis.set(
            ylim=(0, 1.1),
            ylabel="accuracy",
            title=f"Accuracy by length in tokens (cut after {most})",
        )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} …"
