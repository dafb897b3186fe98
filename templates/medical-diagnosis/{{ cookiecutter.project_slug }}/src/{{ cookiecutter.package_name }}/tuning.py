"""Models of scikit-learn, tuned on the training split: where risk models begin, and what they must
beat.
"""

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

FOLDS = 5
FEW = 20_000  # rows up to which several threads gain nothing, and lose much on a busy machine
# As many settings of each. C: inverse regularisation.
LOGISTIC = [
    LogisticRegression(C=strength, max_iter=1000) for strength in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
]
BOOSTING = [
    HistGradientBoostingClassifier(
        learning_rate=rate, max_leaf_nodes=leaves, max_iter=trees, early_stopping=False
    )
    for rate, trees in ((0.1, 40), (0.05, 160))
    for leaves in (3, 8, 24)
]


def tune(
    models: list[ClassifierMixin], inputs: np.ndarray, truth: np.ndarray, patients: np.ndarray
) -> ClassifierMixin:
    """The one that predicts other patients best, fitted to all rows.

    Cross-validation within these rows chooses it, by cross-entropy; with too few patients for that
    it is the one in the middle.

    Args:
        inputs: (size, width) of the training split.
        truth: (size,) 1 where the outcome is yes.
        patients: (size,) names or numbers; a patient is in one fold.
    """
    with threadpool_limits(1 if len(inputs) <= FEW else None):
        best = models[len(models) // 2]
        if min(len(np.unique(patients[truth == value])) for value in (0, 1)) >= FOLDS:
            made = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
            folds = list(made.split(inputs, truth, patients))
            best = min(models, key=lambda model: _loss(model, inputs, truth, folds))
        return clone(best).fit(inputs, truth)


def logistic_weights(inputs: np.ndarray, truth: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Weights (width + 1,) of a tuned logistic regression, and its intercept behind them; the
    arguments are those of ``tuned``."""
    model = tune(LOGISTIC, inputs, truth, patients)
    return np.append(model.coef_[0], model.intercept_)


def _loss(model: ClassifierMixin, inputs: np.ndarray, truth: np.ndarray, folds: list) -> float:
    risks = cross_val_predict(clone(model), inputs, truth, cv=folds, method="predict_proba")
    return log_loss(truth, risks[:, 1])
