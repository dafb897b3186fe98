"""scikit-learn models, tuned on the training split: starting points and baselines."""

from collections.abc import Sequence

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

NUM_FOLDS = 5
# Up to so many rows, threads gain nothing, and on a busy machine they wait for each other.
SINGLE_THREAD_ROWS = 20_000
# Six candidates of each kind, so that no baseline is tuned harder than another.
LOGISTIC_CANDIDATES = [
    LogisticRegression(C=strength, max_iter=1000) for strength in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
]
BOOSTING_CANDIDATES = [
    HistGradientBoostingClassifier(
        learning_rate=rate, max_leaf_nodes=leaves, max_iter=trees, early_stopping=False
    )
    for rate, trees in ((0.1, 40), (0.05, 160))
    for leaves in (3, 8, 24)
]


def tune(
    candidates: Sequence[ClassifierMixin],
    inputs: np.ndarray,
    truth: np.ndarray,
    patients: np.ndarray,
) -> ClassifierMixin:
    """Fit the candidate with the lowest cross-entropy in cross-validation by patient.

    With fewer than five patients of either outcome, the middle candidate is fitted instead.

    Args:
        candidates: models from simple to complex.
        inputs: (size, width) of the training split.
        truth: (size,) 1 where the outcome is yes, else 0.
        patients: (size,) identifiers; a patient is in one fold.

    Returns:
        The selected model, fitted to all rows.
    """
    with threadpool_limits(1 if len(inputs) <= SINGLE_THREAD_ROWS else None):
        best = candidates[len(candidates) // 2]
        if min(len(np.unique(patients[truth == value])) for value in (0, 1)) >= NUM_FOLDS:
            k_fold = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=0)
            folds = list(k_fold.split(inputs, truth, patients))
            best = min(candidates, key=lambda model: _cv_loss(model, inputs, truth, folds))
        return clone(best).fit(inputs, truth)


def fit_logistic_weights(inputs: np.ndarray, truth: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Fit a tuned logistic regression.

    Args:
        inputs: (size, width) of the training split.
        truth: (size,) 1 where the outcome is yes, else 0.
        patients: (size,) identifiers; a patient is in one fold.

    Returns:
        Weights (width + 1,), the intercept last.
    """
    model = tune(LOGISTIC_CANDIDATES, inputs, truth, patients)
    return np.append(model.coef_[0], model.intercept_)


def _cv_loss(model: ClassifierMixin, inputs: np.ndarray, truth: np.ndarray, folds: list) -> float:
    """Return the mean cross-entropy of held-out rows, in nats."""
    risks = cross_val_predict(clone(model), inputs, truth, cv=folds, method="predict_proba")
    return float(log_loss(truth, risks[:, 1]))
