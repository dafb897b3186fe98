"""Attribute a risk to the columns of a row by integrated gradients.

Sundararajan, Taly & Yan, ICML 2017. The path leads from the average patient (the means of the
training split) to the row; the contributions of the columns add up to the difference of the
log-odds. Isotonic regression is left out, since its steps have no useful gradient: there they add
up to the difference before recalibration.
"""

import keras
import numpy as np

from ..engine.artifact import Artifact

NUM_STEPS = 50  # points of the path at which gradients are taken
BATCH_ROWS = 256


def contributions(model: Artifact, inputs: np.ndarray) -> np.ndarray:
    """Compute the contribution of each column to the log-odds of each row.

    Args:
        model: a finalized model.
        inputs: (size, width) float32, see ``Preprocessing.transform``.

    Returns:
        Contributions (size, columns) float64 in the order of ``input_columns``.
    """
    preprocessing = model.preprocessing
    network = remove_recalibration(model)
    average = np.array(preprocessing.input_means, "float32")
    by_input = np.concatenate(
        [
            _integrate_gradients(network, inputs[start : start + BATCH_ROWS], average)
            for start in range(0, len(inputs), BATCH_ROWS)
        ]
    )
    is_of_column = np.array(preprocessing.inputs)[:, None] == np.array(input_columns(model))
    layer = model.network.get_layer("recalibration")
    slope = 1.0 if layer.knots else float(layer.slope)
    return slope * by_input @ is_of_column.astype("float64")


def remove_recalibration(model: Artifact) -> keras.Model:
    """Return the network from inputs (batch, width) to logits (batch, members)."""
    return keras.Model(model.network.input, model.network.get_layer("recalibration").input)


def input_columns(model: Artifact) -> tuple[str, ...]:
    """Return the columns that are inputs of the model, in the schema's order."""
    return tuple(dict.fromkeys(model.preprocessing.inputs))


def importance(model: Artifact, inputs: np.ndarray) -> dict[str, float]:
    """Compute the mean absolute contribution of each column, the largest first.

    Args:
        model: a finalized model.
        inputs: (size, width) float32.
    """
    sizes = np.abs(contributions(model, inputs)).mean(axis=0)
    columns = input_columns(model)
    return {columns[i]: float(sizes[i]) for i in np.argsort(-sizes, kind="stable")}


def _integrate_gradients(
    network: keras.Model, inputs: np.ndarray, average: np.ndarray
) -> np.ndarray:
    total = np.zeros(inputs.shape, "float64")
    for step in range(NUM_STEPS):
        fraction = np.float32((step + 0.5) / NUM_STEPS)  # midpoint rule
        total += _gradients(network, average + fraction * (inputs - average))
    return (inputs - average) * total / NUM_STEPS


def _gradients(network: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Return the gradient (size, width) of each row's mean logit."""
    if keras.backend.backend() == "jax":
        import jax

        def sum_logits(x: jax.Array) -> jax.Array:
            return network(x, training=False).mean(axis=-1).sum()

        return np.asarray(jax.grad(sum_logits)(inputs))
    import tensorflow as tf

    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.reduce_mean(network(x, training=False), axis=-1))
    return tape.gradient(total, x).numpy()
