"""From values to the network's inputs, the same way in tf.data, ``predict`` and serving.

Values are taken in logarithms: a series of ten and one of ten thousand a day then count alike, and
what multiplies, as a weekday or a holiday does, adds up.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .data import Windows
from .seasons import take_apart

RIDGE = 1e-3  # of the linear autoregression, per window
AT_ONCE = 1_024  # windows in memory


@dataclass(frozen=True)
class Preprocessing:
    """The form of the windows, and the linear autoregression that fits the training split best.

    Attributes:
        context: days that a forecast is made from.
        horizon: days that are forecast.
        season: days after which a series resembles itself.
        linear: (1 + features, horizon) weights, the first row the bias; in training only, as a
            trained model has them as weights of its own.
    """

    context: int
    horizon: int
    season: int
    linear: np.ndarray | None = field(default=None, repr=False, compare=False)

    lengths = max_length = None  # all windows have the same shape

    @classmethod
    def fit(cls, train: Windows, config: Config) -> "Preprocessing":
        """Fit the linear autoregression of the training split by least squares."""
        data = config.data
        fitted = cls(data.context, data.horizon, data.season)
        products: Any = 0.0
        moments: Any = 0.0
        start = 0
        for raw in train.batches(AT_ONCE):
            features, seasonal = fitted.linear_inputs(raw)
            end = start + len(features)
            products += features.T @ features
            moments += features.T @ (fitted.encode_targets(train.targets[start:end]) - seasonal)
            start = end
        products += RIDGE * start * np.eye(len(products))
        return replace(fitted, linear=np.linalg.solve(products, moments))

    def linear_inputs(self, raw: dict[str, tf.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Return what the linear autoregression multiplies, and what it adds to.

        Returns:
            (batch, 1 + features) ones and the features, (batch, horizon) the mean of the seasons.
        """
        parts = take_apart(self(raw), self.season)
        seasonal, features = (np.asarray(part, "float64") for part in parts)
        return np.hstack([np.ones((len(features), 1)), features]), seasonal

    def prepare(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take the logarithm of values (batch, context); holidays stay as they are."""
        return {"values": tf.math.log1p(raw["values"]), "holidays": raw["holidays"]}

    def finish(self, prepared: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the prepared windows unchanged."""
        return prepared

    def __call__(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.finish(self.prepare(raw))

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the logarithms of targets (size, horizon)."""
        return np.log1p(targets).astype("float32")

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return the values of logarithms (size, horizon); below zero there are none."""
        return np.maximum(np.expm1(outputs), 0.0)

    def to_config(self) -> dict[str, Any]:
        return {"context": self.context, "horizon": self.horizon, "season": self.season}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        return cls(**config)

    def notes(self) -> dict[str, Any]:
        return self.to_config()
