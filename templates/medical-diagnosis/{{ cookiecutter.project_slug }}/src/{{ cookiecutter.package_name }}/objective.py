"""What a risk model is trained for: losses and metrics by name, weights, and answers.

A network gives logits (batch, members), each of which learns for itself; the saved one gives the
logit of the recalibrated risk (batch, 1). Targets (batch,) are 1 where the outcome is yes.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from .config import Config
from .engine.interfaces import Preprocessing

NOTICE = "Not a medical device: for research and development, not for decisions about patients."
FOCUS = 2.0  # exponent of the focal loss


@keras.saving.register_keras_serializable(__package__)
class CrossEntropy(keras.losses.Loss):
    """Binary cross-entropy, the mean over members.

    Args:
        focus: exponent of (1 - p) that each row is weighed with (Lin 2017, focal loss).
    """

    def __init__(self, focus=0.0, name="cross_entropy", **options):
        super().__init__(name=name, **options)
        self.focus = focus

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        truth = ops.cast(ops.reshape(y_true, (-1, 1)), "float32")
        of_truth = ops.where(truth > 0.5, y_pred, -y_pred)
        loss = ops.softplus(-of_truth)
        if self.focus:
            loss = loss * ops.power(ops.sigmoid(-of_truth), self.focus)
        return ops.mean(loss, axis=-1)

    def get_config(self):
        return {**super().get_config(), "focus": self.focus}


@keras.saving.register_keras_serializable(__package__)
class Accuracy(keras.metrics.Mean):
    """Share of rows whose likelier outcome came true."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        likelier = ops.mean(y_pred, axis=-1) > 0
        right = likelier == (ops.reshape(y_true, (-1,)) > 0.5)
        super().update_state(ops.cast(right, "float32"), sample_weight)


# === Losses and metrics ===


def cross_entropy(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Cross-entropy."""
    return CrossEntropy()


def focal(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Focal loss with the paper's exponent 2; recalibration puts its risks right."""
    return CrossEntropy(FOCUS)


def accuracy(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of rows whose likelier outcome came true."""
    return Accuracy(name="accuracy")


def sample_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weights (size,) with which both outcomes count the same, their mean 1; None: all alike."""
    if config.train.imbalance != "weights":
        return None
    share = targets.mean()
    return np.where(targets > 0, 0.5 / share, 0.5 / (1 - share)).astype("float32")


def risks(outputs: np.ndarray) -> np.ndarray:
    """Risks (size,) of what a saved model gives (size, 1)."""
    return expit(outputs[:, 0].astype("float64"))


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """``prediction``, the outcome at the operating point; ``risk``, and what they come from."""
    schema = preprocessing.schema
    column = schema.columns[schema.outcome]
    traced = {
        "operating_point": preprocessing.operating_point,
        "model": preprocessing.model_version,
        "schema": schema.digest,
        "notice": NOTICE,
    }
    return [
        {
            "prediction": column.yes if risk >= preprocessing.operating_point else column.no,
            "risk": float(risk),
            "scores": {column.yes: float(risk), column.no: float(1 - risk)},
            **traced,
        }
        for risk in risks(outputs)
    ]
