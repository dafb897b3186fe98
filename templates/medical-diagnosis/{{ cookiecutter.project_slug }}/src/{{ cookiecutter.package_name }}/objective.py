"""Losses, metrics and sample weights by name, and the meaning of a model's outputs.

In training a network outputs logits (batch, members), and each member learns on its own; the saved
network outputs the logit of the calibrated risk (batch, 1). Targets (batch,) are 1 where the
outcome is yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from .config import Config

if TYPE_CHECKING:
    from .preprocessing import Preprocessing

NOTICE = "Not a medical device: for research and development, not for decisions about patients."
GAMMA = 2.0  # exponent of the focal loss in its paper


@keras.saving.register_keras_serializable(__package__)
class CrossEntropy(keras.losses.Loss):
    """Binary cross-entropy of logits, averaged over members.

    ``keras.losses.BinaryFocalCrossentropy`` would need targets of shape (batch, members).

    Args:
        gamma: exponent of the focal loss (Lin et al., ICCV 2017); 0 for plain cross-entropy.
    """

    def __init__(self, gamma: float = 0.0, name: str = "cross_entropy", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = ops.cast(y_pred, "float32")  # (batch, members)
        truth = ops.cast(ops.reshape(y_true, (-1, 1)), "float32")
        logits = ops.where(truth > 0.5, y_pred, -y_pred)  # of the true outcome
        loss = ops.softplus(-logits)
        if self.gamma:
            loss = loss * ops.power(ops.sigmoid(-logits), self.gamma)
        return ops.mean(loss, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(__package__)
class Accuracy(keras.metrics.Mean):
    """Share of rows whose outcome is the more probable one according to the mean logit."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        prediction = ops.mean(y_pred, axis=-1) > 0
        is_correct = prediction == (ops.reshape(y_true, (-1,)) > 0.5)
        super().update_state(ops.cast(is_correct, "float32"), sample_weight)


# === Losses and metrics ===


def cross_entropy(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Binary cross-entropy."""
    return CrossEntropy()


def focal(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Focal loss with the paper's gamma of 2; recalibration corrects its biased risks."""
    return CrossEntropy(GAMMA)


def accuracy(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of correct predictions at a risk of 0.5."""
    return Accuracy(name="accuracy")


def sample_weights(
    targets: np.ndarray, preprocessing: Preprocessing, config: Config
) -> np.ndarray | None:
    """Weight the training rows so that both outcomes count the same, if the configuration says so.

    Args:
        targets: (size,) 1 where the outcome is yes, else 0.
        preprocessing: part of the engine's interface.
        config: the configuration; ``train.imbalance`` is ``class_weights`` for weights.

    Returns:
        Weights (size,) float32 with mean 1, or None for equal weights.
    """
    if config.train.imbalance != "class_weights":
        return None
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight("balanced", targets).astype("float32")


def risks(outputs: np.ndarray) -> np.ndarray:
    """Turn the outputs (size, 1) of a saved model into risks (size,) float64."""
    return expit(outputs[:, 0].astype("float64"))


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Turn outputs into answers.

    Args:
        outputs: (size, 1) logits of the calibrated risk.
        preprocessing: of the model, with its operating point and version.

    Returns:
        For each row ``prediction`` (the outcome at the operating point), ``risk``, ``scores``, and
        the versions of model and schema, by which an answer can be traced.
    """
    schema = preprocessing.schema
    column = schema.columns[schema.outcome]
    provenance = {
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
            **provenance,
        }
        for risk in risks(outputs)
    ]
