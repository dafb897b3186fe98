"""Losses, metrics and example weights of a classifier, and its predictions from logits.

Logits are (batch, classes). Targets are class indices (batch,) or, for multi-label data, 0 or 1
for each class (batch, classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from scipy.special import expit, logit, softmax

from .config import Config
from .datasets.labels import decode_labels, encode_labels, predict_classes, strata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .preprocessing import Preprocessing

IMBALANCE_RATIO = 3.0  # largest to smallest class, above which ``auto`` weights classes


@keras.saving.register_keras_serializable(__package__)
class CrossEntropy(keras.losses.Loss):
    """Softmax cross-entropy of class indices, with label smoothing and focal weighting.

    Keras's losses of class indices have neither of these.

    Args:
        label_smoothing: share of each target spread over all classes (Szegedy et al. 2016).
        gamma: exponent of the focal weight 1 - p of each example (Lin et al. 2017); 0: no weight.
    """

    def __init__(self, label_smoothing=0.0, gamma=0.0, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing, self.gamma = label_smoothing, gamma

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        classes = ops.shape(y_pred)[-1]
        truth = ops.one_hot(ops.cast(y_true, "int32"), classes, dtype="float32")  # (batch, classes)
        log_p = ops.log_softmax(y_pred, axis=-1)  # (batch, classes)
        target = truth * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        loss = -ops.sum(target * log_p, axis=-1)
        if self.gamma:
            p = ops.exp(ops.sum(truth * log_p, axis=-1))
            loss = loss * ops.power(1.0 - p, self.gamma)
        return loss

    def get_config(self):
        own = {"label_smoothing": self.label_smoothing, "gamma": self.gamma}
        return {**super().get_config(), **own}


# === Losses and metrics ===
# Each function takes the configuration and the preprocessing; add your own here.


def cross_entropy(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Softmax cross-entropy; for several labels, binary cross-entropy of each class."""
    smoothing = config.train.label_smoothing
    if preprocessing.separator:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    return CrossEntropy(smoothing)


def focal(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Focal loss with the paper's gamma of 2, for data with many easy examples."""
    smoothing = config.train.label_smoothing
    if preprocessing.separator:
        return keras.losses.BinaryFocalCrossentropy(
            from_logits=True, label_smoothing=smoothing, gamma=2.0
        )
    return CrossEntropy(smoothing, gamma=2.0)


def accuracy(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of correct predictions; for several labels, of correct decisions on single classes."""
    if preprocessing.separator:
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # of logits
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def sample_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weight the training examples by class, as ``train.class_weights`` says.

    Args:
        targets: (size,) names of classes; of several, the rarest one counts.
        preprocessing: knows the separator of several names.
        config: the configuration.

    Returns:
        Weights (size,) with mean 1, or None for equal weights.
    """
    labels = strata(targets, preprocessing.separator)
    _, counts = np.unique(labels, return_counts=True)
    imbalanced = counts.max() > IMBALANCE_RATIO * counts.min()
    mode = config.train.class_weights
    if mode == "none" or (mode == "auto" and not imbalanced):
        return None
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight("balanced", labels).astype("float32")


def example_loss(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each example (size,), without label smoothing or weights.

    scikit-learn's ``log_loss`` knows no multi-label data; of several labels, it is the mean.

    Args:
        truth: class indices (size,), or 0 and 1 (size, classes).
        scores: probabilities (size, classes).
    """
    if truth.ndim == 2:
        likelihood = np.where(truth > 0, scores, 1 - scores)
        return -np.log(np.maximum(likelihood, 1e-12)).mean(axis=-1)
    likelihood = scores[np.arange(len(truth)), truth]
    return -np.log(np.maximum(likelihood, 1e-12))


def mean_loss(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean of ``example_loss``."""
    return float(example_loss(truth, scores).mean())


def probabilities(logits: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Turn logits (size, classes) into probabilities: softmax or, for several labels, sigmoid."""
    logits = logits.astype("float64")
    return expit(logits) if preprocessing.separator else softmax(logits, axis=-1)


def to_logits(scores: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Undo ``probabilities``: return logits (size, classes) of probabilities."""
    scores = np.clip(scores, 1e-12, 1 - 1e-12)
    return logit(scores) if preprocessing.separator else np.log(scores)


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Turn logits (batch, classes) into rows with ``prediction`` and ``scores`` by class."""
    scores = probabilities(outputs, preprocessing)
    predictions = decode_labels(predict_classes(scores, preprocessing.separator), preprocessing)
    return [
        {
            "prediction": prediction,
            "scores": dict(zip(preprocessing.classes, map(float, row), strict=True)),
        }
        for prediction, row in zip(predictions, scores, strict=True)
    ]


def select_explained(
    logits: np.ndarray, names: Sequence[str] | None, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Select the class of each example that is explained, and its score.

    Args:
        logits: (batch, classes).
        names: (batch,) of classes; None: the likeliest ones.
        preprocessing: knows the classes.

    Returns:
        Indices of classes (batch,) and their probabilities (batch,).

    Raises:
        DataProblem: a name is not among the classes.
    """
    scores = probabilities(logits, preprocessing)
    if names is None:
        indices = scores.argmax(axis=-1)
    else:
        indices = encode_labels(np.array(names, dtype=object), preprocessing.classes)
    return indices, scores[np.arange(len(scores)), indices]
