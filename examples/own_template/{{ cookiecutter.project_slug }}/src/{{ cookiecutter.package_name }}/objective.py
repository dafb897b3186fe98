"""Loss, training metric and answers of a forecaster, all of logarithms (batch, horizon)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from .config import Config
from .preprocessing import Preprocessing

Tensor = Any  # of Keras' backend; Keras has no types


def absolute(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Return the mean absolute error of the logarithms, whose best forecast is the median."""
    return keras.losses.MeanAbsoluteError()


def within_tenth(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Return the share of windows whose sum is forecast to a tenth of it."""
    return keras.metrics.MeanMetricWrapper(_is_within_tenth, name="within_tenth")


@keras.saving.register_keras_serializable(__package__)
def _is_within_tenth(y_true: Tensor, y_pred: Tensor) -> Tensor:
    actual, forecast = (ops.sum(ops.expm1(part), axis=-1) for part in (y_true, y_pred))
    return ops.cast(ops.abs(forecast - actual) <= 0.1 * actual, "float32")


def postprocess(raw: Any, outputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return forecasts (batch, horizon) in the unit of the series."""
    return preprocessing.decode(np.asarray(outputs))


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Return the sum of forecasts (batch, horizon) as ``prediction``, their days as ``scores``."""
    return [
        {
            "prediction": f"{row.sum():.0f}",
            "scores": {f"+{ahead}": float(value) for ahead, value in enumerate(row, start=1)},
        }
        for row in outputs
    ]
