"""Find columns that leak the outcome: each one alone predicts it almost perfectly.

Such a column was mostly recorded after the outcome was known, or is the outcome in other words.
"""

import numpy as np

from ..engine.findings import MIN_ROWS
from .schema import Records, Schema

MIN_AUROC = 0.99  # of a single column, from which it counts as a leak
MIN_OUTCOMES = 5  # rows with and without the outcome


def find_giveaways(records: Records, schema: Schema) -> dict[str, float]:
    """Return the columns that predict the outcome alone, with their AUROC.

    A number predicts by its value, a category by the rate of the outcome in other rows with the
    same value, and either by being missing.

    Args:
        records: rows with outcomes.
        schema: of the records.
    """
    truth = records.outcome == 1
    if not _has_enough_rows(truth):
        return {}
    aurocs = {
        name: max(_number_auroc(values, truth), _symmetric_auroc(np.isnan(values), truth))
        for name, values in zip(schema.numbers, records.numbers.T, strict=True)
    }
    aurocs |= {
        name: max(_category_auroc(values, truth), _symmetric_auroc(values == "", truth))
        for name, values in zip(schema.categories, records.categories.T, strict=True)
    }
    return {name: aurocs[name] for name in schema.columns if aurocs.get(name, 0) >= MIN_AUROC}


def _has_enough_rows(truth: np.ndarray) -> bool:
    return len(truth) >= MIN_ROWS and min(truth.sum(), (~truth).sum()) >= MIN_OUTCOMES


def _symmetric_auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the AUROC of the scores or of their negatives, whichever is larger."""
    value = _auroc(truth, scores)
    return max(value, 1 - value)


def _number_auroc(values: np.ndarray, truth: np.ndarray) -> float:
    present = ~np.isnan(values)
    if not _has_enough_rows(truth[present]):
        return 0.0
    return _symmetric_auroc(values[present], truth[present])


def _category_auroc(values: np.ndarray, truth: np.ndarray) -> float:
    """Return the AUROC of leave-one-out outcome rates of categories (size,).

    Without a row's own outcome its rate is lower if the outcome is yes, so uninformative values
    rank rows in reverse. Their AUROC is therefore below 0.5 and must not be mirrored.
    """
    _, codes = np.unique(values, return_inverse=True)
    rows = np.bincount(codes)[codes] - 1
    events = np.bincount(codes, weights=truth)[codes] - truth
    rates = np.where(rows > 0, events / np.maximum(rows, 1), truth.mean())
    return _auroc(truth, rates)


def _auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))
