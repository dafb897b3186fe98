"""Layers of Keras, written with operations that converters understand."""

import functools
import re
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

# (batch, members, inputs) times (members, inputs, units), whatever the letters are.
MEMBERS = re.compile(r"(\w)(\w)(\w),\2\3(\w)->\1\2\4")


@keras.saving.register_keras_serializable(__package__)
class MembersDense(layers.EinsumDense):
    """An ``EinsumDense`` with a kernel for each of several members, as a product of matrices.

    LiteRT's converter fails at the Einstein sum.
    """

    @staticmethod
    def fits(config: dict[str, Any]) -> bool:
        """Return whether a layer with this configuration is one for members."""
        return MEMBERS.fullmatch(config["equation"]) is not None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        # (members, batch, inputs) by (members, inputs, units)
        x = ops.matmul(ops.transpose(inputs, (1, 0, 2)), self.kernel)
        x = ops.transpose(x, (1, 0, 2))
        if self.bias is not None:
            x = x + self.bias
        return x if self.activation is None else self.activation(x)


@keras.saving.register_keras_serializable(__package__)
class PlainAdd(layers.Add):
    """An ``Add`` that is an addition.

    Keras takes an addend of one example (1, n, 1) for the bias of channels, which LiteRT's
    converter does not know for matrices.
    """

    @staticmethod
    def fits(config: dict[str, Any]) -> bool:
        """Return True: each of them may be replaced."""
        return True

    def _merge_function(self, inputs: list[Any]) -> Any:
        return functools.reduce(tf.add, inputs)


REPLACEMENTS = (MembersDense, PlainAdd)
