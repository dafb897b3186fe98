"""Loss, training metric and predictions of a recommender.

In training, the network outputs (batch, 2), see ``model.NextItemLoss``. The saved one outputs
scores of the catalogue (batch, items), of which ``postprocess`` keeps the best.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from .config import Config
from .preprocessing import Preprocessing
from .ranking import MAX_RECOMMENDATIONS, mask_items, top_k

Tensor = Any  # of Keras' backend; Keras has no types


@keras.saving.register_keras_serializable(__package__)
class PrecomputedLoss(keras.losses.Loss):
    """Return the loss that the network computes itself: column 0 of its outputs."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return ops.cast(y_pred[:, 0], "float32")


@keras.saving.register_keras_serializable(__package__)
class AbovePopularity(keras.metrics.Mean):
    """Average the share of positions where the next item was likelier than by its popularity."""

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        super().update_state(y_pred[:, 1], sample_weight)


# === Losses and metrics ===


def next_item(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Return the mean cross-entropy of the next items of a history; the network computes it."""
    return PrecomputedLoss()


def above_popularity(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Return the share of next items that were likelier than by their popularity."""
    return AbovePopularity(name="above_popularity")


def sample_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weight each history by its number of targets, so that all targets count alike.

    Args:
        targets: (size,) of ``Histories``.

    Returns:
        (size,) float32 with mean 1.
    """
    counts = preprocessing.encode_targets(targets)
    return (counts / counts.mean()).astype("float32")


def postprocess(
    raw: dict[str, Any], outputs: np.ndarray, preprocessing: Preprocessing
) -> np.ndarray:
    """Reduce scores of the catalogue to the best recommendations, as all of them take much memory.

    Args:
        raw: inputs of the preprocessing, with the ``history`` (batch, …); of a request also
            ``only`` (batch, …), the ids to recommend, '' behind them, and ``top_k`` (batch,).
        outputs: (batch, items) scores.

    Returns:
        (batch, 100, 2) catalogue index and score, see ``ranking.top_k``.
    """
    scores = np.asarray(outputs)
    if preprocessing.exclude_seen:
        seen = preprocessing.catalogue_indices(np.asarray(raw["history"]))
        scores = mask_items(scores, seen)
    if "only" in raw:
        only = preprocessing.catalogue_indices(np.asarray(raw["only"]))
        has_any = (only >= 0).any(axis=1, keepdims=True)
        others = np.isneginf(mask_items(np.zeros_like(scores), only))
        scores = np.where(has_any & ~others, -np.inf, scores)
    best = top_k(scores, MAX_RECOMMENDATIONS)
    if "top_k" in raw:
        best[np.arange(MAX_RECOMMENDATIONS) >= np.asarray(raw["top_k"])[:, None]] = (-1, 0)
    return best


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Convert recommendations to rows with ``prediction`` and ``scores``.

    Args:
        outputs: (batch, k, 2) see ``ranking.top_k``.

    Returns:
        For each row the best item, '' where there is none, and scores by item, the best first.
    """
    rows = []
    for row in outputs:
        scores = {
            preprocessing.items[int(index)]: float(score) for index, score in row if index >= 0
        }
        rows.append({"prediction": next(iter(scores), ""), "scores": scores})
    return rows
