"""What a model must beat: the most frequent class, and logistic regression on pixels."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from . import cache
from .config import Config
from .contract import Data, Split
from .preprocessing import Preprocessing
from .report import baseline_row, majority_row
from .splits import stratified_order

MOST_EXAMPLES = 10_000  # of training, for logistic regression
MOST_PIXELS = 3_072  # values of an image: 32 x 32 in colour


def measure(data: Data, preprocessing: Preprocessing, config: Config) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    train = preprocessing.encode_targets(data.train.targets)
    test = preprocessing.encode_targets(data.test.targets)
    measured = [majority_row(train, test, preprocessing)]
    if np.prod(preprocessing.input_shape) <= MOST_PIXELS:
        few = stratified_order(train, seed=0)[:MOST_EXAMPLES]
        model = LogisticRegression(max_iter=200).fit(
            _pixels(data.train, few, preprocessing), train[few]
        )
        scores = np.zeros((len(test), len(preprocessing.classes)))
        everything = np.arange(len(test))
        scores[:, model.classes_] = model.predict_proba(
            _pixels(data.test, everything, preprocessing)
        )
        measured.append(baseline_row("logistic regression", test, scores, preprocessing))
    return measured


def _pixels(split: Split, places: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    parts = np.array_split(places, -(-len(places) // cache.CHUNK))
    images = [preprocessing(split.fetch(part)).numpy() for part in parts]
    return np.concatenate(images).reshape(len(places), -1)
