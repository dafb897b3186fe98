"""What of users is watched once the model is in use, in requests as in the training data."""

import numpy as np

from ..engine.interfaces import Split
from ..inputs import SEPARATOR
from ..preprocessing import Preprocessing

AT_ONCE = 1_024  # users whose histories are in memory


def describe_inputs(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return columns (size,) that describe users and their items, of which none is named.

    Items of the training split are targets, those of a request its history; of both, all items
    that are known of a user count.

    Args:
        split: users.
        preprocessing: knows the catalogue and the users of the training split.

    Returns:
        Number of items, share of those outside the catalogue, mean popularity of the others as a
        rank (0: the least popular, 1: the most), and whether the user is new.
    """
    counts = np.array(preprocessing.item_counts)
    rank = np.empty(len(counts))
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts)) / max(len(counts) - 1, 1)
    parts, users = [np.zeros((0, 3))], [np.zeros(0, dtype=str)]
    for raw in split.batches(AT_ONCE):
        items = np.concatenate(
            [np.asarray(raw[name]) for name in ("history", "next_items")], axis=1
        )
        parts.append(_describe(items.astype(str), rank, preprocessing))
        users.append(np.asarray(raw["user"]).astype(str))
    length, unknown, popularity = np.concatenate(parts).T
    is_known = np.isin(np.concatenate(users), preprocessing.users)
    return {
        "history length": length,
        "unknown items": unknown,
        "popularity": popularity,
        "user": np.where(is_known, "known", "new"),
    }


def parse_labels(texts: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Split texts (size,) such as ``item|item`` into tuples of the items that users chose."""
    targets = np.empty(len(texts), dtype=object)
    for place, text in enumerate(texts):
        targets[place] = tuple(item for item in text.split(SEPARATOR) if item)
    return targets


def _describe(items: np.ndarray, rank: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return numbers (batch, 3) of items (batch, length), '' where there is none."""
    present = items != ""
    indices = preprocessing.catalogue_indices(items)
    known = present & (indices >= 0)
    length, number = present.sum(axis=1), known.sum(axis=1)
    total = np.where(known, rank[np.maximum(indices, 0)], 0.0).sum(axis=1)
    columns = (
        length,
        np.where(length > 0, 1 - number / np.maximum(length, 1), np.nan),
        np.where(number > 0, total / np.maximum(number, 1), np.nan),
    )
    return np.stack(columns, axis=1)
