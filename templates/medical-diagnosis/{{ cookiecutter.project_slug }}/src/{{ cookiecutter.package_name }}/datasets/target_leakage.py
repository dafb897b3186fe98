"""Columns that give the outcome away: each alone tells it nearly without fault.

Such a column mostly was written after the outcome was known, or is the outcome in other words.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

from ..engine.findings import MIN_ROWS
from .schema import Records, Schema

ALONE = 0.99  # AUROC of one column from which it gives the outcome away
FEWEST_EACH = 5  # rows with and without the outcome


def find_giveaways(records: Records, schema: Schema) -> dict[str, float]:
    """Columns that tell the outcome alone -> their AUROC.

    A number counts where it is there, a category by the share of the outcome in other rows with the
    same value, and each of them by its being missing.
    """
    truth = records.outcome == 1
    if not _enough(truth):
        return {}
    told = {
        name: max(_number_auroc(values, truth), _auroc_either_way(np.isnan(values), truth))
        for name, values in zip(schema.numbers, records.numbers.T, strict=True)
    }
    told |= {
        name: max(_category_auroc(values, truth), _auroc_either_way(values == "", truth))
        for name, values in zip(schema.categories, records.categories.T, strict=True)
    }
    return {name: told[name] for name in schema.columns if told.get(name, 0) >= ALONE}


def _enough(truth: np.ndarray) -> bool:
    return len(truth) >= MIN_ROWS and min(truth.sum(), (~truth).sum()) >= FEWEST_EACH


def _auroc_either_way(scores: np.ndarray, truth: np.ndarray) -> float:
    value = float(roc_auc_score(truth, scores))
    return max(value, 1 - value)


def _number_auroc(values: np.ndarray, truth: np.ndarray) -> float:
    there = ~np.isnan(values)
    return _auroc_either_way(values[there], truth[there]) if _enough(truth[there]) else 0.0


def _category_auroc(values: np.ndarray, truth: np.ndarray) -> float:
    """Of categories (size,). Not folded: left out, a row has the lower share for its own outcome,
    so that a value that tells nothing ranks rows the wrong way round."""
    _, places = np.unique(values, return_inverse=True)
    rows = np.bincount(places)[places] - 1
    events = np.bincount(places, weights=truth)[places] - truth
    shares = np.where(rows > 0, events / np.maximum(rows, 1), truth.mean())
    return float(roc_auc_score(truth, shares))
