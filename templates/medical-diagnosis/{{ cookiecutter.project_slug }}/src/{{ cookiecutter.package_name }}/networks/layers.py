"""Layers of risk models: terms of an additive model, and recalibration."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(__package__)
class Terms(layers.Layer):
    """Expand inputs (…, width) into the terms (…, terms) of an additive model, in float32.

    The terms are the inputs, hinge functions ``relu(number - knot)``, and products of two centred
    inputs. A linear layer on them is a piecewise linear curve for each number and an interaction
    for each pair: Hastie & Tibshirani, Generalized Additive Models, 1990.

    Args:
        knots: knots of each of the first inputs; empty for no curves.
        pairs: positions of two inputs each.
        means: (width,) subtracted from the inputs before they are multiplied.
    """

    def __init__(
        self,
        knots: Sequence[Sequence[float]],
        pairs: Sequence[Sequence[int]],
        means: Sequence[float],
        **options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **options})
        self.knots = [list(map(float, row)) for row in knots]
        self.pairs = [list(map(int, pair)) for pair in pairs]
        self.means = list(map(float, means))

    @property
    def groups(self) -> np.ndarray:
        """Group number (terms,) of each term: 0 for inputs, the next ones for curves and pairs."""
        sizes = [len(self.means), sum(map(len, self.knots)), len(self.pairs)]
        sizes = [size for size in sizes if size]
        return np.repeat(np.arange(len(sizes)), sizes)

    def call(self, inputs: Any) -> Any:
        parts = [inputs]
        if indices := [i for i, row in enumerate(self.knots) for _ in row]:
            knots = np.array([knot for row in self.knots for knot in row], "float32")
            numbers = ops.take(inputs, np.array(indices, "int32"), axis=-1)
            parts.append(ops.relu(numbers - knots))
        if self.pairs:
            deviations = inputs - np.array(self.means, "float32")
            first, second = np.array(self.pairs, "int32").T
            products = ops.take(deviations, first, axis=-1) * ops.take(deviations, second, axis=-1)
            parts.append(products)
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*shape[:-1], len(self.groups))

    def get_config(self) -> dict[str, Any]:
        arguments = {"knots": self.knots, "pairs": self.pairs, "means": self.means}
        return {**super().get_config(), **arguments}


@keras.saving.register_keras_serializable(__package__)
class Recalibration(layers.Layer):
    """Map logits (batch, members) to the logit of the calibrated risk (batch, 1).

    The mean of the members passes through a line (Platt, 1999) or through a piecewise linear
    curve, the result of isotonic regression (Zadrozny & Elkan, KDD 2002).

    Args:
        knots: number of knots of the curve; 0 for the line.
    """

    def __init__(self, knots: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.knots = knots

    def build(self, shape: Sequence[int | None]) -> None:
        def add_constant(shape: tuple[int, ...], initializer: str, name: str) -> Any:
            return self.add_weight(shape, initializer, trainable=False, name=name)

        if self.knots:
            self.x = add_constant((self.knots,), "zeros", "x")
            self.y = add_constant((self.knots,), "zeros", "y")
        else:
            self.slope = add_constant((), "ones", "slope")
            self.intercept = add_constant((), "zeros", "intercept")

    def call(self, inputs: Any) -> Any:
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        if not self.knots:
            return self.slope * mean + self.intercept
        # Interpolation as a sum over all segments: keras.ops has no interp.
        low, high = self.x[:-1], self.x[1:]
        fractions = ops.clip((mean - low) / ops.maximum(high - low, 1e-6), 0.0, 1.0)
        rises = self.y[1:] - self.y[:-1]
        return self.y[0] + ops.sum(fractions * rises, axis=-1, keepdims=True)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "knots": self.knots}
