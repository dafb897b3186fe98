"""The best of a catalogue by scores, and how good they are."""

import numpy as np

from .contract import Preprocessing

MOST = 100  # recommendations that are kept of each user
CUTS = (10, 20)


def best(scores: np.ndarray, most: int) -> np.ndarray:
    """The best of scores (batch, items) -> (batch, most, 2), the best first: place in the
    catalogue, -1 where there are no more, and score."""
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


def without(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Scores (batch, items) of which places (batch, …) are out of the question; -1 is none."""
    beyond = np.concatenate([scores, np.zeros((len(scores), 1), scores.dtype)], axis=1)
    np.put_along_axis(beyond, places, -np.inf, axis=1)
    return beyond[:, :-1]


def per_user(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, np.ndarray]:
    """The ranking metrics of each user (size,)."""
    # -1 is not in the catalogue, which nobody can recommend; -2 is nothing.
    wanted = np.where(targets == "", -2, preprocessing.catalogue_numbers(targets))
    top = outputs[:, :, 0].astype(int)
    top = np.where(top < 0, -3, top)
    hits = (top[:, :, None] == wanted[:, None, :]).any(axis=2)
    count = (wanted != -2).sum(axis=1)
    discount = 1 / np.log2(np.arange(2, 2 + hits.shape[1]))
    found: dict[str, np.ndarray] = {}
    reachable = np.cumsum(discount)[np.minimum(count, 10) - 1]
    found["ndcg_10"] = (hits[:, :10] * discount[:10]).sum(axis=1) / reachable
    for cut in CUTS:
        found[f"recall_{cut}"] = hits[:, :cut].sum(axis=1) / np.minimum(count, cut)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1), np.inf)
    found["mrr"] = 1 / (1 + first)
    return found
