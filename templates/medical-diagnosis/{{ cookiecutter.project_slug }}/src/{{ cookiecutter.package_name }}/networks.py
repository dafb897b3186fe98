"""Layers of risk models: curves over numbers, and recalibration."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(__package__)
class Curves(layers.Layer):
    """Inputs (…, width) -> how far each number is through each piece of its range (…, pieces), 0
    to 1; a linear layer on it is a curve of straight pieces for each number (Gorishniy
    et al., NeurIPS 2022).

    Args:
        borders: of each of the first inputs, rising.
    """

    def __init__(self, borders: Sequence[Sequence[float]], **options: Any) -> None:
        super().__init__(**options)
        self.borders = [list(map(float, row)) for row in borders]

    def call(self, inputs):
        places = [place for place, row in enumerate(self.borders) for _ in row[1:]]
        low = np.array([border for row in self.borders for border in row[:-1]], "float32")
        high = np.array([border for row in self.borders for border in row[1:]], "float32")
        numbers = ops.take(inputs, np.array(places, "int32"), axis=-1)
        return ops.clip((numbers - low) / (high - low), 0.0, 1.0)

    def compute_output_shape(self, shape):
        return (*shape[:-1], sum(len(row) - 1 for row in self.borders))

    def get_config(self):
        return {**super().get_config(), "borders": self.borders}


@keras.saving.register_keras_serializable(__package__)
class Recalibration(layers.Layer):
    """Logits of members (batch, members) -> the logit of the recalibrated risk (batch, 1): a
    straight line of their mean (Platt 1999), or a curve through knots (isotonic regression,
    Zadrozny & Elkan 2002).

    Args:
        knots: of the curve; 0: the line.
    """

    def __init__(self, knots: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.knots = knots

    def build(self, shape) -> None:
        def fixed(shape, start, name):
            return self.add_weight(shape, start, trainable=False, name=name)

        if self.knots:
            self.logits = fixed((self.knots,), "zeros", "logits")
            self.recalibrated = fixed((self.knots,), "zeros", "recalibrated")
        else:
            self.slope = fixed((), "ones", "slope")
            self.intercept = fixed((), "zeros", "intercept")

    def call(self, inputs):
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        if not self.knots:
            return self.slope * mean + self.intercept
        # Each straight piece adds what the logit is through of it.
        low, high = self.logits[:-1], self.logits[1:]
        through = ops.clip((mean - low) / ops.maximum(high - low, 1e-6), 0.0, 1.0)
        rises = self.recalibrated[1:] - self.recalibrated[:-1]
        return self.recalibrated[0] + ops.sum(through * rises, axis=-1, keepdims=True)

    def compute_output_shape(self, shape):
        return (shape[0], 1)

    def get_config(self):
        return {**super().get_config(), "knots": self.knots}
