"""ONNX, for ONNX Runtime and what else reads it; batches of any size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tf2onnx
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from .source import OUTPUT, Inputs, Source

OPSET = 18


def write(
    source: Source, path: Path, quantization: str | None, samples: Callable[[], Iterator[Inputs]]
) -> None:
    """Write the network as an ONNX file."""
    # With the weights as constants: tf2onnx takes what it does not know for further inputs.
    # Loops stay functions: those of recurrent layers.
    graph = convert_variables_to_constants_v2(
        source.function(None), lower_control_flow=False, aggressive_inlining=True
    )
    inputs = [tensor.name for tensor in graph.inputs]
    (output,) = [tensor.name for tensor in graph.outputs]
    tf2onnx.convert.from_graph_def(
        graph.graph.as_graph_def(),
        input_names=inputs,
        output_names=[output],
        opset=OPSET,
        custom_op_handlers={"Erfc": (_write_erfc, []), "Log1p": (_write_log1p, [])},
        tensors_to_rename={name: name.split(":")[0] for name in inputs} | {output: OUTPUT},
        output_path=str(path),
    )
    if quantization == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
    elif quantization:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "plain.onnx"
            quant_pre_process(str(path), str(plain), skip_symbolic_shape=True)
            if quantization == "dynamic":
                quantize_dynamic(plain, path)
            else:
                quantize_static(plain, path, _Samples(samples()), per_channel=True)


def load(source: Source, path: Path) -> Callable[[Inputs], np.ndarray]:
    """Return the function of an ONNX file from inputs to outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run([OUTPUT], inputs)[0]


class _Samples(CalibrationDataReader):
    def __init__(self, samples: Iterator[Inputs]) -> None:
        self.samples = samples

    def get_next(self) -> Inputs | None:
        return next(self.samples, None)


# === Operations that ONNX lacks ===


def _write_erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Write 1 - erf(x): TensorFlow makes it of GELU."""
    one = _one(ctx, node)
    x, outputs, shapes, dtypes = _take_out(ctx, node)
    erf = ctx.make_node("Erf", [x]).output[0]
    ctx.make_node("Sub", [one, erf], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _write_log1p(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Write log(1 + x): TensorFlow makes it of logarithms of sums."""
    one = _one(ctx, node)
    x, outputs, shapes, dtypes = _take_out(ctx, node)
    total = ctx.make_node("Add", [x, one]).output[0]
    ctx.make_node("Log", [total], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _one(ctx: Any, node: Any) -> str:
    return ctx.make_const(f"{node.name}/one", np.ones((), "float32")).output[0]


def _take_out(ctx: Any, node: Any) -> tuple[str, list[str], list[Any], list[Any]]:
    """Remove a node; return its input, and outputs with shapes and types for what replaces it."""
    x, outputs = node.input[0], list(node.output)
    shapes, dtypes = [ctx.get_shape(o) for o in outputs], [ctx.get_dtype(o) for o in outputs]
    ctx.remove_node(node.name)
    return x, outputs, shapes, dtypes
