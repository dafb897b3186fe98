"""SavedModel: from prepared inputs, and from raw ones where TensorFlow prepares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from .source import OUTPUT, Inputs, Source

SERVING, RAW = "serving_default", "raw"  # names of the signatures
CALLS_TO_PYTHON = {"PyFunc", "EagerPyFunc", "PyFuncStateless"}


def write(
    source: Source, path: Path, quantization: str | None, samples: Callable[[], Iterator[Inputs]]
) -> None:
    """Write the network as a SavedModel, with raw inputs too where that can be."""
    module = tf.Module()
    module.weights = [variable.value for variable in source.model.network.variables]
    signatures = {SERVING: source.function(None)}
    if raw := find_raw_function(source):
        # Lookup tables belong to the preprocessing, which is none of TensorFlow's objects.
        parts = vars(source.model.preprocessing).values()
        module.resources = [part for part in parts if isinstance(part, _TRACKABLE)]
        signatures[RAW] = raw
    tf.saved_model.save(module, str(path), signatures=signatures)


def load(source: Source, path: Path) -> Callable[[Inputs], np.ndarray]:
    """Return the function of a SavedModel from inputs to outputs."""
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures[SERVING]

    def run(inputs: Inputs) -> np.ndarray:
        assert loaded is not None  # its variables live as long as it does
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return signature(**tensors)[OUTPUT].numpy()

    return run


def load_raw(path: Path) -> tuple[Callable[[Any], np.ndarray], list[str]] | None:
    """Return the function of a SavedModel from raw inputs to outputs, and the names of its inputs.

    Without such a signature, return None.
    """
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get(RAW)
    if signature is None:
        return None
    names = sorted(signature.structured_input_signature[1])

    def run(raw: Any) -> np.ndarray:
        assert loaded is not None
        named = raw if isinstance(raw, dict) else dict.fromkeys(names, raw)
        return signature(**{name: named[name] for name in names})[OUTPUT].numpy()

    return run, names


def find_raw_function(source: Source) -> Any:
    """Return the graph from raw inputs to outputs, or None where Python prepares them.

    Raw inputs that do not change the outputs, such as targets, are left out.
    """
    raw = source.raw_examples
    named = raw if isinstance(raw, dict) else {RAW: raw}

    def call(**given: Any) -> dict[str, Any]:
        values = {**named, **given}
        prepared = source.model.preprocessing(values if isinstance(raw, dict) else values[RAW])
        flat = tf.nest.flatten(prepared)
        return source.call(**dict(zip(source.names, flat, strict=True)))

    specs = {name: _raw_spec(name, value) for name, value in named.items()}
    try:
        graph = tf.function(call, autograph=False).get_concrete_function(**specs)
    except (TypeError, ValueError, NotImplementedError, AttributeError):
        return None  # it computes with arrays of numpy
    if _operations(graph) & CALLS_TO_PYTHON:
        return None
    used = [name for name in named if _is_used(graph, name)]
    if len(used) == len(named):
        return graph
    return tf.function(call, autograph=False).get_concrete_function(
        **{name: specs[name] for name in used}
    )


def _raw_spec(name: str, value: Any) -> tf.TensorSpec:
    value = tf.convert_to_tensor(value)
    # Text may be of any number, such as the items of a history; numbers are the columns of a table.
    rest = [None] * (value.shape.rank - 1) if value.dtype == tf.string else value.shape[1:]
    return tf.TensorSpec([None, *rest], value.dtype, name=name)


def _operations(graph: Any) -> set[str]:
    definition = graph.graph.as_graph_def()
    functions = [node for function in definition.library.function for node in function.node_def]
    return {node.op for node in (*definition.node, *functions)}


def _is_used(graph: Any, name: str) -> bool:
    tensor = graph.structured_input_signature[1][name].name
    return bool(graph.graph.get_tensor_by_name(f"{tensor}:0").consumers())


_TRACKABLE = (
    tf.lookup.StaticHashTable,
    tf.Variable,
    tf.Module,
    tf.types.experimental.GenericFunction,
)
