"""Whether a network can learn from an earlier one: both must see the same inputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..artifact import Artifact
from ..errors import UsageProblem
from ..interfaces import Split

NUM_COMPARED = 8  # examples whose inputs are prepared for both


def check_inputs(field: str, earlier: Artifact, network: keras.Model) -> None:
    """Refuse an earlier network whose inputs are others than those of the one that is trained.

    So are networks that are trained on another question than they answer, such as those that learn
    the next item of a history and then score a catalogue.

    Args:
        field: that names the earlier model.
        earlier: the model.
        network: built, not trained.

    Raises:
        UsageProblem: they differ.
    """
    own, others = describe_inputs(network), describe_inputs(earlier.network)
    if own != others:
        raise UsageProblem(
            f"{field}: that network takes {others}, and the one that is trained {own}; they must "
            "be alike."
        )


def check_preparation(field: str, earlier: Artifact, preprocessing: Any, examples: Split) -> None:
    """Refuse an earlier model that prepares the same examples otherwise.

    Args:
        field: that names the earlier model.
        earlier: the model.
        preprocessing: of the network that is trained.
        examples: of the training split.

    Raises:
        UsageProblem: their sizes, vocabularies or statistics differ.
    """
    some = examples.take(np.arange(min(len(examples), NUM_COMPARED)))
    raw = some.fetch(tf.range(len(some), dtype=tf.int64))
    pairs = (tf.nest.flatten(part(raw)) for part in (earlier.preprocessing, preprocessing))
    for before, now in zip(*pairs, strict=True):
        if before.shape != now.shape or not np.allclose(before, now, atol=1e-3):
            raise UsageProblem(
                f"{field}: that model prepares the examples otherwise: with other sizes, another "
                "vocabulary, or statistics of other data."
            )


def describe_inputs(network: keras.Model) -> str:
    """Return the inputs of a network with their shapes, for messages."""
    named = network.input if isinstance(network.input, dict) else {"inputs": network.input}
    return ", ".join(
        f"{name} {tuple(tensor.shape[1:])}"
        for name, part in sorted(named.items())
        for tensor in keras.tree.flatten(part)
    )
