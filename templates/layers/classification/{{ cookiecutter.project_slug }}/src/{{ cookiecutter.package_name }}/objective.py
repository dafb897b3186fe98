"""What a classifier is trained for: losses and metrics by name, weights, and answers.

A core gives logits (batch, classes). Targets are class indices (batch,) or, where an example may
have several classes, 0 or 1 for each of them (batch, classes).
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from .config import Config
from .datasets.labels import chosen, named, strata
from .engine.interfaces import Preprocessing

IMBALANCED = 3.0  # ratio of the largest to the smallest class from which ``auto`` weighs


@keras.saving.register_keras_serializable(__package__)
class CrossEntropy(keras.losses.Loss):
    """Softmax cross-entropy; easy examples may count less.

    Args:
        label_smoothing: share of each target spread over all classes (Szegedy 2016).
        focus: exponent of (1 - p) that each example is weighed with (Lin 2017, focal loss).
    """

    def __init__(self, label_smoothing=0.0, focus=0.0, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing, self.focus = label_smoothing, focus

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        classes = ops.shape(y_pred)[-1]
        truth = ops.one_hot(ops.cast(y_true, "int32"), classes, dtype="float32")
        log_p = ops.log_softmax(y_pred, axis=-1)  # (batch, classes)
        target = truth * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        loss = -ops.sum(target * log_p, axis=-1)
        if self.focus:
            p = ops.exp(ops.sum(truth * log_p, axis=-1))
            loss = loss * ops.power(1.0 - p, self.focus)
        return loss

    def get_config(self):
        own = {"label_smoothing": self.label_smoothing, "focus": self.focus}
        return {**super().get_config(), **own}


# === Losses and metrics ===
# Each takes the configuration and the preprocessing; add your own here.


def cross_entropy(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Cross-entropy: of a softmax, or of each class alone."""
    smoothing = config.train.label_smoothing
    if preprocessing.separator:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    return CrossEntropy(smoothing)


def focal(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Focal loss with the paper's exponent 2, for many easy examples."""
    smoothing = config.train.label_smoothing
    if preprocessing.separator:
        return keras.losses.BinaryFocalCrossentropy(
            from_logits=True, label_smoothing=smoothing, gamma=2.0
        )
    return CrossEntropy(smoothing, focus=2.0)


def accuracy(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of right answers; of several classes, share of right yeses and noes."""
    if preprocessing.separator:
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # of logits
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def example_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weights (size,) of the training examples with mean 1, or None where all weigh the same.

    Of several classes the rarest decides.
    """
    _, encoded = np.unique(strata(targets, preprocessing.separator), return_inverse=True)
    counts = np.bincount(encoded)
    imbalanced = counts.max() > IMBALANCED * counts.min()
    wish = config.train.class_weights
    if wish == "none" or (wish == "auto" and not imbalanced):
        return None
    # A balanced class weighs as much as any other, however few its examples are.
    return (len(encoded) / (len(counts) * counts[encoded])).astype("float32")


def mean_loss(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean cross-entropy of probabilities (size, classes), without smoothing or weights."""
    if truth.ndim == 2:
        of_truth = np.where(truth > 0, scores, 1 - scores)
    else:
        of_truth = scores[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(of_truth, 1e-12)).mean())


def probabilities(logits: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Of logits (size, classes): the softmax, or the sigmoid where an example may have several."""
    if preprocessing.separator:
        return expit(logits.astype("float64"))
    shifted = np.exp(logits.astype("float64") - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def reduced(raw: Any, outputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Everything is kept."""
    return outputs


def answers(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Logits (batch, classes) as ``prediction`` and ``scores`` by class."""
    scores = probabilities(outputs, preprocessing)
    predictions = named(chosen(scores, preprocessing.separator), preprocessing)
    return [
        {
            "prediction": prediction,
            "scores": dict(zip(preprocessing.classes, map(float, row), strict=True)),
        }
        for prediction, row in zip(predictions, scores, strict=True)
    ]
