"""LiteRT (TensorFlow Lite), for phones and small devices: one example at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from .source import OUTPUT, Inputs, Source, for_converters

SIGNATURE = "serving_default"


def write(
    source: Source, path: Path, quantization: str | None, samples: Callable[[], Iterator[Inputs]]
) -> None:
    """Write the network as a LiteRT file with inputs (1, …)."""
    converted = for_converters(source)
    module = tf.Module()
    module.weights = [variable.value for variable in converted.model.network.variables]
    signatures = {SIGNATURE: converted.function(1, source.length)}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        if quantization:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "int8":
            converter.representative_dataset = lambda: ((SIGNATURE, one) for one in samples())
        path.write_bytes(converter.convert())


def load(source: Source, path: Path) -> Callable[[Inputs], np.ndarray]:
    """Return the function of a LiteRT file from inputs (batch, …), one by one, to outputs."""
    from ai_edge_litert.interpreter import Interpreter

    run_one = Interpreter(model_path=str(path)).get_signature_runner()

    def run(inputs: Inputs) -> np.ndarray:
        padded = source.pad(inputs)
        size = len(next(iter(padded.values())))
        rows = ({name: value[i : i + 1] for name, value in padded.items()} for i in range(size))
        return np.concatenate([run_one(**row)[OUTPUT] for row in rows])

    return run
