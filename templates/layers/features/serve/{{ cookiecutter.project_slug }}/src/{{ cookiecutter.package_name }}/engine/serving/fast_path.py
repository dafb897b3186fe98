"""Preprocessing and network as one program of TensorFlow, where the preprocessing allows it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..artifact import Artifact
from ..interfaces import Split

TOLERANCE = 1e-4  # of outputs, relative and absolute

Predict = Callable[[Split], np.ndarray]  # a split -> postprocessed outputs (size, …)


def make_predict(model: Artifact, examples: Sequence[Split], max_batch: int) -> Predict:
    """Return the fastest function that gives the outputs of ``model.predict_split``.

    A preprocessing that is Python, such as tokens of texts, cannot be part of a program: then it is
    ``predict_split`` itself, in which the network is one.

    Args:
        model: any model.
        examples: some rows each, on which the two are compared; where their raw inputs differ in
            shape, such as in the length of a history, the program takes any.
        max_batch: rows that ``predict_split`` predicts at once.
    """

    def predict_slowly(split: Split) -> np.ndarray:
        return model.predict_split(split, max_batch)

    try:
        raws = [_fetch(example) for example in examples]
        program = _compile(model, raws)
        for example, raw in zip(examples, raws, strict=True):
            found = model.task.postprocess(raw, program(raw), model.preprocessing)
            np.testing.assert_allclose(found, predict_slowly(example), TOLERANCE, TOLERANCE)
    except Exception:  # whatever a preprocessing raises that is not made for graphs
        return predict_slowly

    def predict(split: Split) -> np.ndarray:
        raw = _fetch(split)
        try:
            outputs = program(raw)
        except (TypeError, ValueError):  # another shape than that of the example
            return predict_slowly(split)
        return model.task.postprocess(raw, outputs, model.preprocessing)

    return predict


def _fetch(split: Split) -> Any:
    return split.fetch(tf.range(len(split), dtype=tf.int64))


def _compile(model: Artifact, raws: Sequence[Any]) -> Callable[[Any], np.ndarray]:
    """Return raw inputs (batch, …) -> outputs (batch, …), for any size of a batch."""
    specs = tf.nest.map_structure(_spec, *raws)

    def run(raw: Any) -> Any:
        return model.task.infer(model.network, model.preprocessing(raw))

    program = tf.function(run, input_signature=[specs]).get_concrete_function()

    def call(raw: Any) -> np.ndarray:
        tensors = [tf.convert_to_tensor(part) for part in tf.nest.flatten(raw)]
        return program(*tensors).numpy()

    return call


def _spec(*parts: Any) -> tf.TensorSpec:
    """Return what tensors have in common; only their first axis is always free."""
    tensors = [tf.convert_to_tensor(part) for part in parts]
    sizes = zip(*(tensor.shape[1:] for tensor in tensors), strict=True)
    common = [size[0] if len(set(size)) == 1 else None for size in sizes]
    return tf.TensorSpec([None, *common], tensors[0].dtype)
