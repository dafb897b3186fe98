"""A blend of two views of a text: a fitted model of n-grams, and a network.

The network is trained on its own: the fitted model makes hardly a mistake on the training texts,
so that its residuals would teach nothing. The weights of both are fitted on the validation split
(D. Wolpert, Stacked generalization, Neural Networks 5, 1992); a network that does not help gets
weight 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops
from scipy.optimize import minimize

from ..engine.interfaces import Split
from ..objective import mean_loss, probabilities

if TYPE_CHECKING:
    from ..engine.artifact import Artifact
    from ..preprocessing import Preprocessing

Tensor = Any  # of Keras' backend; Keras has no types
Shape = tuple[int | None, ...]

NAME = "blend"
MAX_WEIGHT = 8.0  # of a view's logits
NGRAMS_ONLY = (1.0, 0.0)  # weights with which the network is ignored
FOLDS = 10  # of the validation split, for cross-validation


@keras.saving.register_keras_serializable(__package__)
class LogitBlend(layers.Layer):
    """Sum the logits (batch, classes) of a fitted model and a network, with a weight for each.

    The weights are 0.5 until ``fit_blend`` sets them. In training, the result is the network's.
    """

    def build(self, shapes: list[Shape]) -> None:
        mean = keras.initializers.Constant(0.5)
        self.view_weights = self.add_weight((2,), mean, trainable=False, name="view_weights")

    def call(self, views: list[Tensor], training: bool = False) -> Tensor:
        """Return the blended logits (batch, classes).

        Args:
            views: logits (batch, classes) of the fitted model and of the network.
            training: whether the network alone counts.
        """
        fitted, network = views
        if training:
            return network
        return fitted * self.view_weights[0] + network * self.view_weights[1]

    def compute_output_shape(self, shapes: list[Shape]) -> Shape:
        return shapes[0]


def fit_blend(trained: Artifact, validation: Split, batch_size: int) -> None:
    """Set the weights of the blend that minimise the loss on the validation split.

    Args:
        trained: the model, whose weights of the views are assigned.
        validation: the validation split.
        batch_size: texts predicted at a time.
    """
    layer = trained.network.get_layer(NAME)
    views = keras.Model(
        trained.network.input, ops.stack(layer.input, axis=1)
    )  # (batch, 2, classes)
    logits = replace(trained, network=views).predict_split(validation, batch_size)
    truth = trained.preprocessing.encode_targets(validation.targets)
    weights = find_blend_weights(logits, truth, trained.preprocessing)
    layer.view_weights.assign(weights.astype("float32"))


def find_blend_weights(
    logits: np.ndarray, truth: np.ndarray, preprocessing: Preprocessing
) -> np.ndarray:
    """Find the weights (2,) of the views that minimise the loss.

    They are ``NGRAMS_ONLY`` unless cross-validation shows a gain of more than its standard error:
    with few examples, a network of noise may seem to help.

    Args:
        logits: (examples, 2, classes) of both views.
        truth: class indices (examples,), or 0 and 1 (examples, classes).
        preprocessing: knows whether there are several labels.
    """

    def loss(weights: np.ndarray, rows: np.ndarray) -> float:
        blended = np.einsum("evc,v->ec", logits[rows].astype("float64"), weights)
        return mean_loss(truth[rows], probabilities(blended, preprocessing))

    def fit(rows: np.ndarray) -> np.ndarray:
        def objective(weights: np.ndarray) -> float:
            # The penalty keeps weights from few examples close to the fitted model alone.
            return loss(weights, rows) + np.sum((weights - start) ** 2) / len(rows)

        return minimize(objective, start, bounds=[(0.0, MAX_WEIGHT)] * 2, method="L-BFGS-B").x

    start, size = np.array(NGRAMS_ONLY), len(logits)
    order = np.random.default_rng(0).permutation(size)
    folds = np.array_split(order, min(FOLDS, size))
    if len(folds) < 2:
        return start
    gains = []
    for fold in folds:
        weights = fit(np.setdiff1d(order, fold))
        gains.append(loss(start, fold) - loss(weights, fold))
    if np.mean(gains) <= np.std(gains, ddof=1) / np.sqrt(len(gains)):
        return start
    return fit(order)
