"""What a model must beat: the prevalence, logistic regression and gradient boosting."""

from typing import Any

import numpy as np
from scipy.special import expit

from .config import Config
from .engine.interfaces import DatasetSplits
from .preprocessing import Preprocessing
from .report import baseline_row
from .tuning import BOOSTING, tune


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    risks = predict(data, preprocessing)
    return [baseline_row(name, data.test, risk) for name, risk in risks.items()]


def predict(data: DatasetSplits, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Each baseline's risks (size,) of the test rows; they see what the model sees."""
    inputs, test = (preprocessing.of(split) for split in (data.train, data.test))
    # The one that models begin at.
    *weights, intercept = preprocessing.reference
    boosted = tune(BOOSTING, inputs, data.train.targets, data.train.people)
    return {
        "prevalence": np.full(len(test), data.train.targets.mean()),
        "logistic regression, tuned": expit(test @ np.array(weights) + intercept),
        "gradient boosting, tuned": boosted.predict_proba(test)[:, 1],
    }
