"""Baselines that a model must beat: prevalence, logistic regression and gradient boosting."""

from typing import Any, cast

import numpy as np
from scipy.special import expit

from .config import Config
from .data import Visits, VisitSplits
from .engine.interfaces import DatasetSplits, Split
from .preprocessing import Preprocessing
from .report import baseline_row


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Measure the baselines on the test split.

    Args:
        data: the ``VisitSplits`` of the run.
        preprocessing: of the model; baselines have the same inputs.
        config: part of the engine's interface.

    Returns:
        ``name`` and ``metrics`` of each baseline.
    """
    splits = cast(VisitSplits, data)
    risks = predict(splits, preprocessing)
    return [baseline_row(name, splits.test, risk) for name, risk in risks.items()]


def simple_inputs(split: Split, preprocessing: Preprocessing) -> np.ndarray:
    """Return the inputs (size, features) of the rows of a split.

    Args:
        split: the ``Visits``.
        preprocessing: fitted on the training split.
    """
    return preprocessing.transform(cast(Visits, split))


def predict(data: VisitSplits, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Fit the baselines on the training split and predict the test split.

    Args:
        data: training and test split.
        preprocessing: of the model; baselines have the same inputs.

    Returns:
        Name -> risks (size,) of the test rows.
    """
    train, test = preprocessing.transform(data.train), preprocessing.transform(data.test)
    *weights, intercept = preprocessing.logistic_weights
    from .tuning import BOOSTING_CANDIDATES, tune  # scikit-learn, which a service does without

    boosting = tune(BOOSTING_CANDIDATES, train, data.train.targets, data.train.patient_keys)
    return {
        "prevalence": np.full(len(test), data.train.targets.mean()),
        "logistic regression, tuned": expit(test @ np.array(weights) + intercept),
        "gradient boosting, tuned": boosting.predict_proba(test)[:, 1],
    }
