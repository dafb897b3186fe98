"""What a model must beat: popularity, neighbours of items, and EASE."""

from typing import Any

import numpy as np

from .config import Config
from .engine.interfaces import DatasetSplits
from .networks import linear
from .preprocessing import Preprocessing
from .report import baseline_row


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""

    def row(name: str, scores: linear.Scores, half_life: float | None = None) -> dict[str, Any]:
        outputs = linear.recommended(data.test, preprocessing, scores, half_life)
        return baseline_row(name, data.test, outputs, preprocessing)

    counts, recent = (
        np.array(part, float) for part in (preprocessing.counts, preprocessing.recent)
    )
    known = linear.matrix(data.train, preprocessing)
    nearest = linear.neighbours(known)
    rows = [
        row("popularity", lambda had: np.tile(counts, (had.shape[0], 1))),
        row("recent popularity", lambda had: np.tile(recent, (had.shape[0], 1))),
        row("item-kNN", lambda had: (had @ nearest).toarray()),
    ]
    if len(preprocessing.items) <= linear.MOST_ITEMS:
        for name, half_life in (("EASE", None), ("EASE, fading", linear.HALF_LIFE)):
            weights = linear.fitted_ease(known, data.validation, preprocessing, half_life)
            rows.append(row(name, lambda had, weights=weights: had @ weights, half_life))
    return rows
