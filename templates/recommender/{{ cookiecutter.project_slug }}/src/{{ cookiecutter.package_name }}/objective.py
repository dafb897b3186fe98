"""What a recommender is trained for, and its answers: the likeliest items.

While it learns, a core gives (batch, 2): each history's loss and share of hits. What is saved gives
scores of the catalogue (batch, items); of these the best are kept, see ``reduced``.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from .config import Config
from .contract import Preprocessing

MOST = 100  # recommendations that are kept of each user


@keras.saving.register_keras_serializable(__package__)
class OwnLoss(keras.losses.Loss):
    """The loss that the core computes itself: column 0 of its outputs."""

    def call(self, y_true, y_pred):
        return ops.cast(y_pred[:, 0], "float32")


@keras.saving.register_keras_serializable(__package__)
class Hits(keras.metrics.Mean):
    """Share of the places of a history where what came next was among the ten likeliest."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred[:, 1], sample_weight)


# === Losses and metrics ===


def next_item(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Cross-entropy of what came next."""
    return OwnLoss()


def hit_10(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of hits among ten."""
    return Hits(name="hit_10")


LOSSES: dict[str, Callable[..., keras.losses.Loss]] = {
    "next_item": next_item,
}
METRICS: dict[str, Callable[..., keras.metrics.Metric]] = {
    "hit_10": hit_10,
}


def loss(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """The configured loss."""
    return LOSSES[config.train.loss](config, preprocessing)


def metrics(config: Config, preprocessing: Preprocessing) -> list[keras.metrics.Metric]:
    """All metrics, measured in training and validation."""
    return [make(config, preprocessing) for make in METRICS.values()]


def example_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weights (size,) of the histories with mean 1: as many as events are learnt from each."""
    counts = preprocessing.encode_targets(targets)
    return (counts / counts.mean()).astype("float32")


def reduced(raw: dict[str, Any], outputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Scores (batch, items) -> the best recommendations (batch, 100, 2), the best first: place in
    the catalogue, -1 where there are no more, and score."""
    scores = np.array(outputs)
    places = np.arange(len(scores))[:, None]
    if preprocessing.unseen_only:
        # A column behind the catalogue takes what is not in it.
        had = preprocessing.catalogue_numbers(np.asarray(raw["known"]))
        beyond = np.concatenate([scores, np.zeros((len(scores), 1), scores.dtype)], axis=1)
        beyond[places, had] = -np.inf
        scores = beyond[:, :-1]
    return best(scores, MOST)


def best(scores: np.ndarray, most: int) -> np.ndarray:
    """The best of scores (batch, items) as ``reduced`` gives them."""
    count = min(most, scores.shape[1])
    top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(scores, top, axis=1)
    order = np.lexsort((top, -values), axis=1)
    top, values = (np.take_along_axis(part, order, axis=1) for part in (top, values))
    # What no score speaks for is no recommendation.
    top = np.where(values > -1e8, top, -1)
    pairs = np.stack([top.astype("float64"), np.where(top < 0, 0.0, values)], axis=-1)
    missing = most - count
    return np.pad(pairs, [(0, 0), (0, missing), (0, 0)], constant_values=-1) if missing else pairs


def answers(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Recommendations (batch, …, 2) as ``prediction``, the best item, and ``scores`` by item."""
    rows = []
    for row in outputs:
        items = [(int(place), float(score)) for place, score in row if place >= 0]
        scores = {preprocessing.items[place]: score for place, score in items}
        rows.append({"prediction": next(iter(scores), ""), "scores": scores})
    return rows
