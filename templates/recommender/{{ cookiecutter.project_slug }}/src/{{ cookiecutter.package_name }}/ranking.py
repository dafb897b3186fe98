"""Rank a catalogue by scores, and measure rankings.

keras-rs and scikit-learn have such metrics for dense (users, items) matrices of labels and scores,
which a large catalogue does not fit into; these take the best items of each user.
"""

from collections.abc import Iterator

import numpy as np

from .preprocessing import Preprocessing

MAX_RECOMMENDATIONS = 100  # kept for each user
CUTOFFS = (10, 20)  # k of recall
SCORES_AT_ONCE = 2**22  # sorted at a time: 32 MB in float64
USERS_AT_ONCE = 10_000  # measured at a time
NO_SCORE = -1e8  # masked items are at or below


def rows_at_once(num_items: int) -> int:
    """Return how many rows of scores (rows, items) to handle at a time, to bound the memory."""
    return max(1, SCORES_AT_ONCE // num_items)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Select the best items of each row, the best first; ties go by catalogue index.

    Args:
        scores: (batch, items) floats; items at ``NO_SCORE`` or below are never selected.
        k: number of items to return; may exceed the catalogue.

    Returns:
        (batch, k, 2) float64 catalogue index, -1 where there are no more, and score.
    """
    rows = rows_at_once(scores.shape[1])
    starts = range(0, max(len(scores), 1), rows)
    return np.concatenate([_top_k(scores[start : start + rows], k) for start in starts])


def _top_k(scores: np.ndarray, k: int) -> np.ndarray:
    count = min(k, scores.shape[1])
    top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(scores, top, axis=1)
    order = np.lexsort((top, -values), axis=1)  # ties by catalogue index
    top, values = (np.take_along_axis(part, order, axis=1) for part in (top, values))
    top = np.where(values > NO_SCORE, top, -1)
    pairs = np.stack([top.astype("float64"), np.where(top < 0, 0.0, values)], axis=-1)
    missing = k - count
    return np.pad(pairs, [(0, 0), (0, missing), (0, 0)], constant_values=-1) if missing else pairs


def mask_items(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Set the scores of items to minus infinity.

    Args:
        scores: (batch, items) floats, left as they are.
        items: (batch, …) catalogue indices to exclude, -1 for none.

    Returns:
        A copy (batch, items).
    """
    # The additional last column takes the writes of index -1.
    padded = np.concatenate([scores, np.zeros((len(scores), 1), scores.dtype)], axis=1)
    np.put_along_axis(padded, items, -np.inf, axis=1)
    return padded[:, :-1]


def target_indices(
    targets: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Flatten the targets of users.

    Args:
        targets: (users,) tuples of item ids.

    Returns:
        The row of each target's user, and its catalogue index, -1 outside the catalogue, both
        (targets,).
    """
    rows = np.repeat(np.arange(len(targets)), [len(ids) for ids in targets])
    ids = np.array([name for ids in targets for name in ids], dtype=object)
    return rows, preprocessing.catalogue_indices(ids)


def user_metrics(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, np.ndarray]:
    """Measure the ranking of each user.

    Args:
        targets: (users,) tuples of item ids; an id that occurs twice counts once.
        outputs: (users, k, 2) recommendations, see ``top_k``.

    Returns:
        Metric -> values (users,).
    """
    parts = [
        _user_metrics(targets[rows], outputs[rows], preprocessing) for rows in _batches(targets)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def recall_curve(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> np.ndarray:
    """Measure the mean recall of users at 1, 2, … k recommendations.

    Args:
        targets: (users,) tuples of item ids; an id that occurs twice counts once.
        outputs: (users, k, 2) recommendations, see ``top_k``.

    Returns:
        (k,), which at 10 and 20 is the mean of ``recall_at_10`` and ``recall_at_20``.
    """
    cutoffs = np.arange(1, outputs.shape[1] + 1)
    total = np.zeros(len(cutoffs))
    for rows in _batches(targets):
        hits, count = _find_hits(targets[rows], outputs[rows], preprocessing)
        total += (hits.cumsum(axis=1) / np.minimum(count[:, None], cutoffs)).sum(axis=0)
    return total / len(targets)


def _batches(targets: np.ndarray) -> Iterator[slice]:
    return (slice(i, i + USERS_AT_ONCE) for i in range(0, len(targets), USERS_AT_ONCE))


def _find_hits(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Return which recommendations (users, k) are targets, and the number of targets (users,)."""
    distinct = np.empty(len(targets), dtype=object)
    distinct[:] = [tuple(dict.fromkeys(ids)) for ids in targets]
    rows, indices = target_indices(distinct, preprocessing)
    # Targets outside the catalogue cannot be recommended, but count as missed.
    count = np.bincount(rows, minlength=len(targets))  # (users,)
    top = outputs[:, :, 0].astype(int)  # (users, k)
    num_items, inside = len(preprocessing.items), indices >= 0
    # A pair of user and item is one number, so that all users are looked up at once.
    relevant = rows[inside] * num_items + indices[inside]  # (targets in the catalogue,)
    hits = np.isin(np.arange(len(top))[:, None] * num_items + top, relevant) & (top >= 0)
    return hits, count


def _user_metrics(
    targets: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, np.ndarray]:
    hits, count = _find_hits(targets, outputs, preprocessing)
    discount = 1 / np.log2(np.arange(2, 2 + hits.shape[1]))  # (k,) by rank
    metrics: dict[str, np.ndarray] = {}
    # Every user has a target, so that the index is never -1.
    ideal = np.cumsum(discount)[np.minimum(count, 10) - 1]  # (users,)
    metrics["ndcg_at_10"] = (hits[:, :10] * discount[:10]).sum(axis=1) / ideal
    for k in CUTOFFS:
        metrics[f"recall_at_{k}"] = hits[:, :k].sum(axis=1) / np.minimum(count, k)
    rank = np.where(hits.any(axis=1), hits.argmax(axis=1), np.inf)  # of the first hit
    metrics["mrr"] = 1 / (1 + rank)
    return metrics
