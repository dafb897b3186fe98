"""A fitted model and a network that say different things of the same text, in one.

The network learns on its own: of the training texts themselves the fitted model misses next to
nothing, so nothing would be left to learn. How much each counts is chosen on the validation split
(D. Wolpert, Stacked generalization, Neural Networks 5, 1992); a network that does not help counts
nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops
from scipy.optimize import minimize

from ..engine.interfaces import Split
from ..objective import mean_loss, probabilities

if TYPE_CHECKING:
    from ..engine.artifact import Artifact
    from ..preprocessing import Preprocessing

NAME = "views"
MOST = 8.0  # times that a view's logits may be made larger
ALONE = (1.0, 0.0)  # weights with which the fitted model stands alone
PARTS = 10  # of the validation split, each held out once


@keras.saving.register_keras_serializable(__package__)
class Views(layers.Layer):
    """The weighted sum of a fitted model's and a network's logits (batch, classes) for the same
    texts; their mean until ``weigh`` sets the weights. In training the network's alone."""

    def build(self, shapes) -> None:
        mean = keras.initializers.Constant(0.5)
        self.weighing = self.add_weight((2,), mean, trainable=False, name="weighing")

    def call(self, views, training=False):
        fitted, network = views
        if training:
            return network
        return fitted * self.weighing[0] + network * self.weighing[1]

    def compute_output_shape(self, shapes):
        return shapes[0]


def weigh(trained: Artifact, validation: Split, batch_size: int) -> None:
    """Set the weights with which the validation split's loss is lowest."""
    layer = trained.core.get_layer(NAME)
    apart = keras.Model(trained.core.input, ops.stack(layer.input, axis=1))
    logits = replace(trained, core=apart).predict_split(validation, batch_size)
    truth = trained.preprocessing.encode_targets(validation.targets)
    layer.weighing.assign(find_weights(logits, truth, trained.preprocessing).astype("float32"))


def find_weights(logits: np.ndarray, truth: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Weights (2,) of the views' logits (examples, 2, classes) with which the loss is lowest.

    ``ALONE`` if weights that are found without a part of the examples do not predict that part
    better by more than the gain's standard error: few examples would let in noise.
    """

    def loss(weights: np.ndarray, of: np.ndarray) -> float:
        summed = np.einsum("evc,v->ec", logits[of].astype("float64"), weights)
        return mean_loss(truth[of], probabilities(summed, preprocessing))

    def lowest(of: np.ndarray) -> np.ndarray:
        def pulled(weights: np.ndarray) -> float:
            # Few examples shall not lead far away from the fitted model.
            return loss(weights, of) + np.sum((weights - begin) ** 2) / len(of)

        return minimize(pulled, begin, bounds=[(0.0, MOST)] * 2, method="L-BFGS-B").x

    begin, size = np.array(ALONE), len(logits)
    order = np.random.default_rng(0).permutation(size)
    parts = np.array_split(order, min(PARTS, size))
    if len(parts) < 2:
        return begin
    gains = []
    for part in parts:
        weights = lowest(np.setdiff1d(order, part))
        gains.append(loss(begin, part) - loss(weights, part))
    if np.mean(gains) <= np.std(gains, ddof=1) / np.sqrt(len(gains)):
        return begin
    return lowest(order)
