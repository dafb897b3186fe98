"""The network that is exported: in float32, with a name for each input and any length fixed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..artifact import Artifact
from ..interfaces import Split
from ..requests import check_requests, decode_bytes
from .layers import REPLACEMENTS

OUTPUT = "outputs"
GENERATED = re.compile(r"(keras_tensor|input_layer)(_\d+)?")  # names of inputs without one
Inputs = dict[str, np.ndarray]  # by name, (batch, …) each


@dataclass(frozen=True)
class Source:
    """A trained model and the inputs of its network by name.

    Attributes:
        model: with a network that computes in float32.
    """

    model: Artifact

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in the network's order."""
        names = [tensor.name for tensor in keras.tree.flatten(self.model.network.input)]
        if len(names) == 1 and GENERATED.fullmatch(names[0]):
            return ("inputs",)
        return tuple(re.sub(r"\W", "_", name) for name in names)

    @cached_property
    def length(self) -> int | None:
        """The length of axis 1 that inputs of any length are padded to; None: all are alike."""
        return self.model.preprocessing.max_length

    @cached_property
    def examples(self) -> Split:
        """The examples of a request, as the task describes them: of no real person."""
        task, preprocessing = self.model.task, self.model.preprocessing
        schema = task.request_schema(preprocessing)
        rows = [decode_bytes(row, schema) for row in schema["examples"]]
        return check_requests(task.read_requests(rows, preprocessing, None))

    @cached_property
    def raw_examples(self) -> Any:
        """The raw inputs of all ``examples``, as one batch."""
        return next(self.examples.batches(len(self.examples)))

    def specs(self, batch: int | None, length: int | None = None) -> dict[str, tf.TensorSpec]:
        """Return the shapes and types of the inputs by name.

        Args:
            batch: size of the batch, or None for any.
            length: of axis 1 where the network takes any, or None.
        """
        tensors = keras.tree.flatten(self.model.network.input)
        shapes = [
            (batch, *(length if size is None else size for size in tensor.shape[1:]))
            for tensor in tensors
        ]
        return {
            name: tf.TensorSpec(shape, tensor.dtype, name=name)
            for name, tensor, shape in zip(self.names, tensors, shapes, strict=True)
        }

    def call(self, **inputs: Any) -> dict[str, Any]:
        """Return the outputs of the network for inputs by name, with tensors of TensorFlow."""
        return {OUTPUT: self.model.task.infer(self.model.network, self._pack(inputs))}

    def run(self, inputs: Inputs) -> np.ndarray:
        """Return the outputs (batch, …) of the trained network for inputs by name."""
        return self.model.outputs(self._pack(inputs))

    def _pack(self, inputs: Mapping[str, Any]) -> Any:
        values = [inputs[name] for name in self.names]
        return keras.tree.pack_sequence_as(self.model.network.input, values)

    def function(self, batch: int | None, length: int | None = None) -> Any:
        """Return ``call`` as a graph for inputs of these sizes, see ``specs``."""
        function = tf.function(self.call, autograph=False)
        return function.get_concrete_function(**self.specs(batch, length))

    def prepare(self, raw: Any) -> Inputs:
        """Return the inputs of the network for raw inputs (batch, …)."""
        prepared = keras.tree.flatten(self.model.preprocessing(raw))
        arrays = map(np.asarray, prepared)
        return dict(zip(self.names, arrays, strict=True))

    def pad(self, inputs: Inputs) -> Inputs:
        """Pad inputs of any length, with zeros behind them, to the length that is fixed."""
        if self.length is None:
            return inputs
        return {
            name: _pad(value, self.length) if None in spec.shape[1:] else value
            for (name, value), spec in zip(inputs.items(), self.specs(None).values(), strict=True)
        }

    def samples(self, split: Split, size: int) -> Iterator[Inputs]:
        """Yield padded inputs of evenly spaced examples of a split, one at a time (1, …).

        Args:
            split: the examples.
            size: how many, at most.
        """
        for position in np.unique(np.linspace(0, len(split) - 1, size).astype("int64")):
            yield self.pad(self.prepare(split.fetch(tf.constant([position]))))


def make_source(model: Artifact) -> Source:
    """Return a model as it can be exported, with a network that computes in float32.

    Converters do not take half precision of some operations, and quantise it again.

    Args:
        model: loaded from a file; it is not changed.
    """
    config = keras.saving.serialize_keras_object(model.network)
    full = _map_objects(config, _use_float32)
    network = keras.saving.deserialize_keras_object(full)
    network.set_weights(model.network.get_weights())
    return Source(replace(model, network=network))


def for_converters(source: Source) -> Source:
    """Return a source whose layers are written as converters understand them.

    Args:
        source: it is not changed.
    """
    config = keras.saving.serialize_keras_object(source.model.network)
    network = keras.saving.deserialize_keras_object(_map_objects(config, _replace_layer))
    network.set_weights(source.model.network.get_weights())
    return Source(replace(source.model, network=network))


def _map_objects(value: Any, change: Any) -> Any:
    """Return the configuration of a network with each object in it changed."""
    if isinstance(value, Mapping):
        return change({key: _map_objects(part, change) for key, part in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_map_objects(part, change) for part in value)
    return value


def _use_float32(config: dict[str, Any]) -> dict[str, Any]:
    if config.get("class_name") == "DTypePolicy" and "float16" in str(config.get("config")):
        return {**config, "config": {**config["config"], "name": "float32"}}
    return config


def _replace_layer(config: dict[str, Any]) -> dict[str, Any]:
    if config.get("module") != "keras.layers":  # operations have names of layers, such as Add
        return config
    for layer in REPLACEMENTS:
        if config["class_name"] == layer.__base__.__name__ and layer.fits(config["config"]):
            return {**config, **_place_of(layer)}
    return config


def _place_of(layer: type[keras.layers.Layer]) -> dict[str, Any]:
    return {
        "module": None,
        "class_name": layer.__name__,
        "registered_name": keras.saving.get_registered_name(layer),
    }


def _pad(value: np.ndarray, length: int) -> np.ndarray:
    missing = length - value.shape[1]
    return np.pad(value, [(0, 0), (0, missing), *[(0, 0)] * (value.ndim - 2)])
