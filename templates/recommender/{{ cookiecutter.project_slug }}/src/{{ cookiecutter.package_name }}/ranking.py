"""The best of a catalogue by scores, and how good they are."""

import numpy as np

from .engine.interfaces import Preprocessing

MOST = 100  # recommendations that are kept of each user
CUTS = (10, 20)
SCORES = 2**22  # that are ordered at a time: 32 MB in float64
USERS = 10_000  # that are measured at a time


def rows_at_a_time(items: int) -> int:
    """Rows of scores (rows, items) that are ordered at a time, whatever the catalogue's size."""
    return max(1, SCORES // items)


def best(scores: np.ndarray, most: int) -> np.ndarray:
    """The best of scores (batch, items) -> (batch, most, 2), the best first: place in the
    catalogue, -1 where there are no more, and score."""
    rows = rows_at_a_time(scores.shape[1])
    starts = range(0, max(len(scores), 1), rows)
    return np.concatenate([_best(scores[start : start + rows], most) for start in starts])


def _best(scores: np.ndarray, most: int) -> np.ndarray:
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


def places_of(targets: np.ndarray, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Tuples of ids (users,) -> of each id its user's row and its place in the catalogue, -1 where
    it is not in it."""
    rows = np.repeat(np.arange(len(targets)), [len(ids) for ids in targets])
    ids = np.array([name for ids in targets for name in ids], dtype=object)
    return rows, preprocessing.catalogue_numbers(ids)


def per_user(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, np.ndarray]:
    """The ranking metrics of each user (size,).

    Args:
        targets: (size,) tuples of the ids that came next; an item that came again is one.
        outputs: (size, most, 2) see ``best``.
    """
    parts = [
        _per_user(targets[start : start + USERS], outputs[start : start + USERS], preprocessing)
        for start in range(0, len(targets), USERS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _per_user(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, np.ndarray]:
    distinct = np.empty(len(targets), dtype=object)
    distinct[:] = [tuple(dict.fromkeys(ids)) for ids in targets]
    rows, places = places_of(distinct, preprocessing)
    count = np.bincount(rows, minlength=len(targets))
    top = outputs[:, :, 0].astype(int)
    # What is not in the catalogue nobody can recommend, but it counts.
    items, there = len(preprocessing.items), places >= 0
    wanted = rows[there] * items + places[there]
    hits = np.isin(np.arange(len(top))[:, None] * items + top, wanted) & (top >= 0)
    discount = 1 / np.log2(np.arange(2, 2 + hits.shape[1]))
    found: dict[str, np.ndarray] = {}
    reachable = np.cumsum(discount)[np.minimum(count, 10) - 1]
    found["ndcg_10"] = (hits[:, :10] * discount[:10]).sum(axis=1) / reachable
    for cut in CUTS:
        found[f"recall_{cut}"] = hits[:, :cut].sum(axis=1) / np.minimum(count, cut)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1), np.inf)
    found["mrr"] = 1 / (1 + first)
    return found
