"""The README of an exported model: its inputs and outputs, and how to prepare them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..artifact import PREPROCESSING
from .check import Comparison
from .formats import Format
from .source import OUTPUT, Inputs, Source

SNIPPETS = {
    "savedmodel": """\
import tensorflow as tf
loaded = tf.saved_model.load("saved_model")
outputs = loaded.signatures["serving_default"](**inputs)["outputs"]""",
    "litert": """\
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(model_path="model.tflite").get_signature_runner()
outputs = run(**inputs)["outputs"]""",
    "onnx_file": """\
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
(outputs,) = session.run(["outputs"], inputs)""",
    "keras_file": """\
import keras  # and the modules of the project, which define layers of its own
network = keras.models.load_model("model.keras")
outputs = network(next(iter(inputs.values())) if len(inputs) == 1 else inputs)""",
}


@dataclass(frozen=True)
class Example:
    """What the trained model answers to an example.

    Attributes:
        inputs: of the network (1, …), by name.
        outputs: of the network (1, …).
        answer: as ``predict`` gives it.
        has_labels: whether there is a file with the names of the outputs.
        raw_names: inputs of the signature from raw inputs; none: there is no such signature.
    """

    inputs: Inputs
    outputs: np.ndarray
    answer: dict[str, Any]
    has_labels: bool
    raw_names: list[str]


def describe(
    source: Source, example: Example, comparison: Comparison, target_format: Format, name: str
) -> str:
    """Return the README of an export's folder.

    Args:
        source: the trained model.
        example: that lies in the folder.
        comparison: with the trained model.
        target_format: of the export.
        name: of the trained model.
    """
    inputs, outputs = example.inputs, example.outputs
    one_by_one = target_format.module == "litert"
    rows = [
        f"| `{key}` | {_shape(source, key, value, one_by_one)} | {value.dtype} |"
        for key, value in inputs.items()
    ]
    shape = ", ".join(["1" if one_by_one else "batch", *map(str, outputs.shape[1:])])
    notice = source.model.task.notice
    snippet = SNIPPETS[target_format.module]
    parts = [
        f"# {name} for {target_format.runtime}",
        *([notice] if notice else []),
        f"`{target_format.file}` is the network: numbers to numbers.",
        "\n".join(["| input | shape | type |", "| --- | --- | --- |", *rows]),
        f"The output is `{OUTPUT}` ({shape}) {outputs.dtype}"
        + ("; `labels.json` names its columns in their order." if example.has_labels else "."),
        _preparation(source, target_format, example.raw_names),
        f'```python\nimport numpy as np\n\nexample = dict(np.load("example_input.npz"))\n'
        f'expected = example.pop("outputs")\ninputs = example\n{snippet}\n```',
        "The expected outputs are those of the trained model. The answer to the example:",
        f"```json\n{json.dumps(_shorten(example.answer), ensure_ascii=False)}\n```",
        "## Beside the trained model",
        "\n".join(comparison.table()),
    ]
    return "\n\n".join(parts) + "\n"


def _preparation(source: Source, target_format: Format, raw_names: list[str]) -> str:
    prepared = (
        f"`{PREPROCESSING}` holds what preparing needs; `preprocessing.py` of the project does it."
    )
    if raw_names:
        names = ", ".join(f"`{name}`" for name in raw_names)
        prepared += (
            f" The signature `raw` does it too: it takes what `predict` takes ({names}) and "
            "returns the same outputs."
        )
    elif target_format.module == "savedmodel":
        prepared += " Python prepares the inputs (tokens of texts), so that no signature can."
    if source.length and target_format.module == "litert":
        prepared += f" Shorter inputs are filled up with zeros behind them, to {source.length}."
    return prepared


def _shape(source: Source, name: str, value: np.ndarray, one_by_one: bool) -> str:
    sizes = source.specs(None).get(name)
    assert sizes is not None, name
    rest = (
        value.shape[1:]
        if one_by_one
        else ["any" if size is None else size for size in sizes.shape[1:]]
    )
    return f"({', '.join(map(str, ['1' if one_by_one else 'batch', *rest]))})"


def _shorten(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with at most ten scores."""
    scores = dict(list(answer.get("scores", {}).items())[:10])
    return {**answer, "scores": scores}
