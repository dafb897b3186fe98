"""The most confident mistakes of a text classifier."""

from pathlib import Path

import numpy as np

from ..datasets.labels import Predictions
from ..engine.interfaces import Split
from ..engine.tables import write_csv
from ..preprocessing import Preprocessing, texts_of

MAX_MISTAKES = 100  # in the table
MAX_CHARACTERS = 500  # of a text in the table


def draw_mistakes(
    folder: Path,
    name: str,
    split: Split,
    predictions: Predictions,
    preprocessing: Preprocessing,
) -> None:
    """Write ``NAME_mistakes.csv``.

    Args:
        folder: the run's report.
        name: of the split.
        split: its texts.
        predictions: the model's predictions for them.
        preprocessing: of the model; not needed here.
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


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    # Not textwrap.shorten: it cuts at spaces, and Chinese has none.
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …"
