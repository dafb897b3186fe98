"""Baselines that a model must beat: popularity, item-kNN and EASE."""

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
    """Fit each baseline on the training split; return its name and test metrics."""

    def row(name: str, scores: linear.Scores, half_life: float | None = None) -> dict[str, Any]:
        outputs = linear.recommend(data.test, preprocessing, scores, half_life)
        return baseline_row(name, data.test, outputs, preprocessing)

    counts = np.array(preprocessing.item_counts, float)
    recent_counts = np.array(preprocessing.recent_item_counts, float)
    matrix = linear.build_matrix(data.train, preprocessing)
    similarities = linear.fit_item_knn(matrix)
    rows = [
        row("popularity", lambda history: np.tile(counts, (history.shape[0], 1))),
        row("recent popularity", lambda history: np.tile(recent_counts, (history.shape[0], 1))),
        row("item-kNN", lambda history: (history @ similarities).toarray()),
    ]
    if len(preprocessing.items) <= linear.MAX_EASE_ITEMS:
        for name, half_life in (("EASE", None), ("EASE, recency-weighted", linear.HALF_LIFE)):
            weights = linear.tune_ease(matrix, data.validation, preprocessing, half_life)
            rows.append(row(name, lambda history, weights=weights: history @ weights, half_life))
    return rows
