"""Attribute a risk to the columns of a row by integrated gradients.

The path leads from the average patient (the means of the
training split) to the row; the contributions of the columns add up to the difference of the
log-odds. Isotonic regression is left out, since its steps have no useful gradient: there they add
up to the difference before recalibration.
"""

from functools import lru_cache

import keras
import numpy as np

from ..engine.artifact import Artifact
from ..engine.explanations import Attributions, Probe, integrate_gradients


def attribute(model: Artifact, inputs: np.ndarray) -> Attributions:
    """Attribute the log-odds of each row to its columns.

    Args:
        model: a finalized model.
        inputs: (size, width) float32, see ``Preprocessing.transform``.

    Returns:
        Values (size, columns) in the order of ``input_columns``.
    """
    preprocessing = model.preprocessing
    probe = _probe(model.network)
    average = np.array(preprocessing.input_means, "float32")
    members = probe.network.output.shape[-1]
    mean_of_members = np.full((len(inputs), members), 1 / members)
    found = integrate_gradients(probe, inputs, average, inputs, mean_of_members)
    is_of_column = np.array(preprocessing.inputs)[:, None] == np.array(input_columns(model))
    layer = model.network.get_layer("recalibration")
    slope = 1.0 if layer.knots else float(layer.slope)
    values = slope * found.values @ is_of_column.astype("float64")
    return Attributions(values, slope * found.difference, found.error)


def contributions(model: Artifact, inputs: np.ndarray) -> np.ndarray:
    """Compute the contribution of each column to the log-odds of each row.

    Args:
        model: a finalized model.
        inputs: (size, width) float32, see ``Preprocessing.transform``.

    Returns:
        Contributions (size, columns) float64 in the order of ``input_columns``.
    """
    return attribute(model, inputs).values


@lru_cache(maxsize=2)
def _probe(network: keras.Model) -> Probe:
    """Return the network without recalibration, from inputs to logits (batch, members).

    It is compiled once for all rows of a model.
    """
    return Probe(keras.Model(network.input, network.get_layer("recalibration").input))


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
