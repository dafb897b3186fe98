"""What a model must beat: the most frequent class, and logistic regression on pixels."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from .config import Config
from .datasets.splits import stratified_order
from .engine.interfaces import DatasetSplits, Split
from .preprocessing import Preprocessing, inputs_at
from .report import baseline_row, majority_row

MOST_EXAMPLES = 10_000  # of training, for logistic regression
MOST_PIXELS = 3_072  # values of an image: 32 x 32 in colour
MOST_ITERATIONS = 200
# Examples x values x classes x iterations that logistic regression may take: some ten seconds,
# less than a tenth of what the default model needs for 10 epochs of as many images.
MOST_WORK = 6_000_000_000


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics; the name says what was cut short."""
    train = preprocessing.encode_targets(data.train.targets)
    test = preprocessing.encode_targets(data.test.targets)
    measured = [majority_row(train, test, preprocessing)]
    if np.prod(preprocessing.input_shape) <= MOST_PIXELS:
        name, scores = _logistic_regression(data, train, preprocessing)
        measured.append(baseline_row(name, test, scores, preprocessing))
    return measured


def _logistic_regression(
    data: DatasetSplits, train: np.ndarray, preprocessing: Preprocessing
) -> tuple[str, np.ndarray]:
    """What it is called, and its probabilities (size, classes) for the test split."""
    few = stratified_order(train, seed=0)[:MOST_EXAMPLES]
    classes = len(preprocessing.classes)
    work = len(few) * int(np.prod(preprocessing.input_shape)) * classes
    iterations = max(1, min(MOST_ITERATIONS, MOST_WORK // work))
    model = LogisticRegression(max_iter=iterations)
    with warnings.catch_warnings():
        # That it was stopped is said in the name.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_pixels(data.train, few, preprocessing), train[few])
    scores = np.zeros((len(data.test), classes))
    everything = np.arange(len(data.test))
    scores[:, model.classes_] = model.predict_proba(_pixels(data.test, everything, preprocessing))
    cut = []
    if len(few) < len(train):
        cut.append(f"{len(few)} examples")
    if iterations < MOST_ITERATIONS:
        cut.append(f"{iterations} iterations")
    return "logistic regression" + (f" ({', '.join(cut)})" if cut else ""), scores


def _pixels(split: Split, places: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    return np.concatenate(list(inputs_at(places, split, preprocessing))).reshape(len(places), -1)
