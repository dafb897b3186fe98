"""Baselines that a model must beat: popularity, item-kNN and EASE."""

from typing import Any

import numpy as np

from .config import Config
from .data import as_histories
from .engine.interfaces import DatasetSplits
from .networks import linear
from .preprocessing import Preprocessing
from .report import baseline_row


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Fit each baseline on the training split and measure it on the test split.

    EASE is left out where the catalogue is too large for it, see ``linear.MAX_EASE_ITEMS``.

    Args:
        preprocessing: fitted on the training split, so that all rank the same catalogue.

    Returns:
        Rows of ``report.baseline_row``.
    """
    train, validation, test = map(as_histories, (data.train, data.validation, data.test))

    def row(name: str, scores: linear.Scores, half_life: float | None = None) -> dict[str, Any]:
        outputs = linear.recommend(test, preprocessing, scores, half_life)
        return baseline_row(name, test, outputs, preprocessing)

    counts = np.array(preprocessing.item_counts, float)
    recent_counts = np.array(preprocessing.recent_item_counts, float)
    matrix = linear.build_matrix(train, preprocessing)  # (users, items)
    similarities = linear.fit_item_knn(matrix)
    rows = [
        row("popularity", lambda history: np.tile(counts, (history.shape[0], 1))),
        row("recent popularity", lambda history: np.tile(recent_counts, (history.shape[0], 1))),
        row("item-kNN", lambda history: (history @ similarities).toarray()),
    ]
    if len(preprocessing.items) <= linear.MAX_EASE_ITEMS:
        for name, half_life in (("EASE", None), ("EASE, recency-weighted", linear.HALF_LIFE)):
            weights = linear.tune_ease(matrix, validation, preprocessing, half_life)
            rows.append(row(name, linear.score_by(weights), half_life))
    return rows
