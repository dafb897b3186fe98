"""Which of a patient's values raise or lower the risk: integrated gradients.

Sundararajan, Taly & Yan, ICML 2017. The way leads from a patient without anything remarkable (the
means of the training split) to this one; what the columns contribute adds up to the difference of
the log-odds. Where isotonic regression has recalibrated them, whose steps have no gradient, it adds
up to the difference before that.
"""

import keras
import numpy as np

from ..engine.artifact import Artifact

STEPS = 50  # points of the way
ROWS = 256  # at once


def contributions(model: Artifact, inputs: np.ndarray) -> np.ndarray:
    """Inputs (size, width) -> what each column contributes to the log-odds (size, columns), columns
    as in ``columns``."""
    preprocessing = model.preprocessing
    network = before_recalibration(model)
    usual = np.array(preprocessing.usual, "float32")
    of_inputs = np.concatenate(
        [
            _integrate_gradients(network, inputs[start : start + ROWS], usual)
            for start in range(0, len(inputs), ROWS)
        ]
    )
    names = columns(model)
    belongs = np.array(preprocessing.inputs)[:, None] == np.array(names)
    layer = model.network.get_layer("recalibration")
    slope = 1.0 if layer.knots else float(layer.slope)
    return slope * of_inputs @ belongs.astype("float64")


def before_recalibration(model: Artifact) -> keras.Model:
    """Inputs (batch, width) -> logits (batch, members)."""
    return keras.Model(model.network.input, model.network.get_layer("recalibration").input)


def columns(model: Artifact) -> tuple[str, ...]:
    """Columns that the model sees, in the schema's order."""
    return tuple(dict.fromkeys(model.preprocessing.inputs))


def importance(model: Artifact, inputs: np.ndarray) -> dict[str, float]:
    """Mean size of each column's contribution over rows (size, width), the largest first."""
    sizes = np.abs(contributions(model, inputs)).mean(axis=0)
    order = np.argsort(-sizes, kind="stable")
    names = columns(model)
    return {names[place]: float(sizes[place]) for place in order}


def _integrate_gradients(network: keras.Model, inputs: np.ndarray, usual: np.ndarray) -> np.ndarray:
    total = np.zeros(inputs.shape, "float64")
    for step in range(STEPS):
        share = np.float32((step + 0.5) / STEPS)
        total += _gradients(network, usual + share * (inputs - usual))
    return (inputs - usual) * total / STEPS


def _gradients(network: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Of the mean logit of each row by its inputs (size, width)."""
    if keras.backend.backend() == "jax":
        import jax

        def total(x):
            return network(x, training=False).mean(axis=-1).sum()

        return np.asarray(jax.grad(total)(inputs))
    import tensorflow as tf

    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.reduce_mean(network(x, training=False), axis=-1))
    return tape.gradient(total, x).numpy()
