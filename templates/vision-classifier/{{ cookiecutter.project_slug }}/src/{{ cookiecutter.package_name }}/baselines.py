"""Baselines that a model must beat: the majority class, and logistic regression on pixels."""

import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .datasets.splits import shuffle_stratified
from .engine.interfaces import DatasetSplits, Split
from .preprocessing import Preprocessing, read_inputs
from .report import baseline_row, majority_row

MAX_EXAMPLES = 10_000  # training images of the logistic regression
MAX_FEATURES = 3_072  # of an image: 32 x 32 pixels in colour
MAX_ITERATIONS = 200
# Examples x features x classes x iterations: some ten seconds, less than a tenth of what the
# default model needs for 10 epochs of as many images.
MAX_OPERATIONS = 6_000_000_000


def measure(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Return the name and test metrics of each baseline.

    Args:
        data: the three splits.
        preprocessing: fitted on the training split.
        config: the configuration.
    """
    train = preprocessing.encode_targets(data.train.targets)
    test = preprocessing.encode_targets(data.test.targets)
    measured = [majority_row(train, test, preprocessing)]
    if np.prod(preprocessing.input_shape) <= MAX_FEATURES:
        name, scores = _logistic_regression(data, train, preprocessing)
        measured.append(baseline_row(name, test, scores, preprocessing))
    return measured


def simple_inputs(split: Split, preprocessing: Preprocessing) -> np.ndarray:
    """Return the pixels of a split of images (size, features); of large ones, of smaller copies.

    Args:
        split: its images.
        preprocessing: decodes and resizes them.
    """
    parts = []
    for inputs in read_inputs(split, np.arange(len(split)), preprocessing):
        if inputs[0].size > MAX_FEATURES:
            inputs = tf.image.resize(inputs, (32, 32), method="area").numpy()
        parts.append(inputs.reshape(len(inputs), -1))
    return np.concatenate(parts)


def _logistic_regression(
    data: DatasetSplits, train: np.ndarray, preprocessing: Preprocessing
) -> tuple[str, np.ndarray]:
    """Return its name, with what was reduced, and its test probabilities (size, classes)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    sample = shuffle_stratified(train, seed=0)[:MAX_EXAMPLES]
    classes = len(preprocessing.classes)
    operations = len(sample) * int(np.prod(preprocessing.input_shape)) * classes
    iterations = max(1, min(MAX_ITERATIONS, MAX_OPERATIONS // operations))
    model = LogisticRegression(max_iter=iterations)
    with warnings.catch_warnings():
        # The name says that it was stopped early.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_flat_pixels(data.train, sample, preprocessing), train[sample])
    scores = np.zeros((len(data.test), classes))
    test = _flat_pixels(data.test, np.arange(len(data.test)), preprocessing)
    scores[:, model.classes_] = model.predict_proba(test)
    limits = [f"{len(sample)} examples"] * (len(sample) < len(train))
    limits += [f"{iterations} iterations"] * (iterations < MAX_ITERATIONS)
    return "logistic regression" + (f" ({', '.join(limits)})" if limits else ""), scores


def _flat_pixels(split: Split, positions: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return the pixels (size, height * width * channels) of these examples."""
    inputs = np.concatenate(list(read_inputs(split, positions, preprocessing)))
    return inputs.reshape(len(positions), -1)
