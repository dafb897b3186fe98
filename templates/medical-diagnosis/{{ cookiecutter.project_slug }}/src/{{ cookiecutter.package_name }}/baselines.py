"""What a model must beat: the prevalence, logistic regression and gradient boosting."""

from typing import Any

import numpy as np

from .config import Config
from .contract import Data
from .data import Visits
from .preprocessing import Preprocessing
from .report import baseline_row
from .tuning import BOOSTING, LOGISTIC, tuned


def measure(data: Data, preprocessing: Preprocessing, config: Config) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    risks = predicted(data, preprocessing)
    return [baseline_row(name, data.test, risk) for name, risk in risks.items()]


def predicted(data: Data, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Each baseline's risks (size,) of the test rows; they see what the model sees."""
    train, test = data.train, _inputs(data.test, preprocessing)
    learnt = (_inputs(train, preprocessing), train.targets, train.people)
    return {
        "prevalence": np.full(len(test), train.targets.mean()),
        "logistic regression, tuned": tuned(LOGISTIC, *learnt).predict_proba(test)[:, 1],
        "gradient boosting, tuned": tuned(BOOSTING, *learnt).predict_proba(test)[:, 1],
    }


def _inputs(split: Visits, preprocessing: Preprocessing) -> np.ndarray:
    """What the model sees of all rows (size, width)."""
    return preprocessing(split.fetch(np.arange(len(split)))).numpy()
