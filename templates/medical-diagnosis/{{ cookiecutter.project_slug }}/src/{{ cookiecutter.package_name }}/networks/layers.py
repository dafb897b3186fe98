"""Layers of risk models: curves and pairs of inputs, and recalibration."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(__package__)
class Terms(layers.Layer):
    """Inputs (…, width) -> the terms (…, terms) of a regression with curves and pairs: the inputs,
    how far each number is beyond each of its knots, and products of two inputs. All in float32.

    A linear layer on it is a curve of straight pieces for each number (Hastie & Tibshirani, 1990,
    generalised additive models), and an interaction of each pair.

    Args:
        knots: of each of the first inputs; empty: no curves.
        pairs: positions of two inputs each.
        usual: (width,) what inputs are before they are multiplied less of.
    """

    def __init__(
        self,
        knots: Sequence[Sequence[float]],
        pairs: Sequence[Sequence[int]],
        usual: Sequence[float],
        **options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **options})
        self.knots = [list(map(float, row)) for row in knots]
        self.pairs = [list(map(int, pair)) for pair in pairs]
        self.usual = list(map(float, usual))

    @property
    def groups(self) -> np.ndarray:
        """The group (terms,) of each term: inputs 0, then curves and pairs, as far as there are."""
        sizes = [len(self.usual), sum(map(len, self.knots)), len(self.pairs)]
        sizes = [size for size in sizes if size]
        return np.repeat(np.arange(len(sizes)), sizes)

    def call(self, inputs):
        parts = [inputs]
        if places := [place for place, row in enumerate(self.knots) for _ in row]:
            knots = np.array([knot for row in self.knots for knot in row], "float32")
            numbers = ops.take(inputs, np.array(places, "int32"), axis=-1)
            parts.append(ops.relu(numbers - knots))
        if self.pairs:
            apart = inputs - np.array(self.usual, "float32")
            first, second = np.array(self.pairs, "int32").T
            parts.append(ops.take(apart, first, axis=-1) * ops.take(apart, second, axis=-1))
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, shape):
        return (*shape[:-1], len(self.groups))

    def get_config(self):
        own = {"knots": self.knots, "pairs": self.pairs, "usual": self.usual}
        return {**super().get_config(), **own}


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
