"""What a recommender is trained for, and its answers: the likeliest items.

While it learns, a core gives (batch, 2), see ``model.Learner``. What is saved gives
scores of the catalogue (batch, items); of these the best are kept, see ``reduced``.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from .config import Config
from .engine.interfaces import Preprocessing
from .ranking import MOST, best, without


@keras.saving.register_keras_serializable(__package__)
class OwnLoss(keras.losses.Loss):
    """The loss that the core computes itself: column 0 of its outputs."""

    def call(self, y_true, y_pred):
        return ops.cast(y_pred[:, 0], "float32")


@keras.saving.register_keras_serializable(__package__)
class AbovePopularity(keras.metrics.Mean):
    """Share of the places of a history where what came next was likelier than by popularity."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred[:, 1], sample_weight)


# === Losses and metrics ===


def next_item(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Cross-entropy of what came next."""
    return OwnLoss()


def above_popularity(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of events that were likelier than by their popularity."""
    return AbovePopularity(name="above_popularity")


def sample_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weights (size,) of the histories with mean 1: as many as events are learnt from each."""
    counts = preprocessing.encode_targets(targets)
    return (counts / counts.mean()).astype("float32")


def postprocess(
    raw: dict[str, Any], outputs: np.ndarray, preprocessing: Preprocessing
) -> np.ndarray:
    """Scores (batch, items) -> the best recommendations (batch, 100, 2), see ``ranking.best``."""
    scores = np.asarray(outputs)
    if preprocessing.unseen_only:
        scores = without(scores, preprocessing.catalogue_numbers(np.asarray(raw["known"])))
    return best(scores, MOST)


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Recommendations (batch, …, 2) as ``prediction``, the best item, and ``scores`` by item."""
    rows = []
    for row in outputs:
        items = [(int(place), float(score)) for place, score in row if place >= 0]
        scores = {preprocessing.items[place]: score for place, score in items}
        rows.append({"prediction": next(iter(scores), ""), "scores": scores})
    return rows
