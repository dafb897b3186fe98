"""Several models in one, each of which learns on its own: views of the same text.

Their logits are added with weights that the validation split chooses (D. Wolpert, Stacked
generalization, Neural Networks 5, 1992), so a view that does not help does not harm either.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops
from scipy.optimize import minimize

from .contract import Split
from .objective import mean_loss, probabilities

if TYPE_CHECKING:
    from .artifact import Artifact

NAME = "views"
MOST = 8.0  # times that a view's logits may be made larger


@keras.saving.register_keras_serializable(__package__)
class Views(layers.Layer):
    """The weighted sum of several logits (batch, classes) for the same texts; their mean until
    ``weigh`` sets the weights. In training each text has those of one view, drawn at random, so
    that none leans on the others."""

    def __init__(self, seed: int, **options) -> None:
        super().__init__(**options)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shapes) -> None:
        mean = keras.initializers.Constant(1 / len(shapes))
        self.weighing = self.add_weight((len(shapes),), mean, trainable=False, name="weighing")

    def call(self, views, training=False):
        stacked = ops.stack(views, axis=1)  # (batch, views, classes)
        if not training:
            return ops.sum(stacked * ops.reshape(self.weighing, (1, -1, 1)), axis=1)
        drawn = keras.random.randint((ops.shape(stacked)[0],), 0, len(views), seed=self.generator)
        chosen = ops.one_hot(drawn, len(views), dtype=stacked.dtype)
        return ops.sum(stacked * ops.expand_dims(chosen, -1), axis=1)

    def compute_output_shape(self, shapes):
        return shapes[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def weigh(trained: Artifact, validation: Split, batch_size: int) -> None:
    """Set the weights with which the validation split's loss is lowest."""
    layer = trained.core.get_layer(NAME)
    apart = keras.Model(trained.core.input, ops.stack(layer.input, axis=1))
    logits = replace(trained, core=apart).predict_split(validation, batch_size)
    truth = trained.preprocessing.encode_targets(validation.targets)
    mean = np.full(logits.shape[1], 1 / logits.shape[1])

    def loss(weights: np.ndarray) -> float:
        summed = np.einsum("evc,v->ec", logits.astype("float64"), weights)
        # Few examples shall not lead far away from the mean.
        far = np.sum((weights - mean) ** 2) / len(logits)
        return mean_loss(truth, probabilities(summed, trained.preprocessing)) + far

    found = minimize(loss, mean, bounds=[(0.0, MOST)] * len(mean), method="L-BFGS-B")
    layer.weighing.assign(found.x.astype("float32"))
