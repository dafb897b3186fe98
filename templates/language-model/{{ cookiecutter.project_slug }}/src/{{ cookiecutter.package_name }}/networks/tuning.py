"""Low-rank adapters (Hu et al. 2021), also of a quantised network (QLoRA, Dettmers et al. 2023).

The dense layers of a network are replaced by ``AdaptedDense``, which holds the frozen layer or its
quantised kernel, and where ``model.lora_targets`` says so an adapter. Only adapters are trained:
biases, norms and embeddings stay as they were. Keras's own ``enable_lora`` does not: it trains
biases, saves kernels with the adapters merged into them, and for some networks trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ..engine.errors import UsageProblem, unknown

# Names of the dense layers in the networks of KerasHub, by what ``model.lora_targets`` calls them.
TARGETS: dict[str, tuple[str, ...]] = {
    "query": ("query", "q_proj"),
    "key": ("key", "k_proj"),
    "value": ("value", "v_proj"),
    "output": ("attention_output", "o_proj"),
    "feedforward": (
        "feedforward_intermediate_dense",
        "feedforward_gate_dense",
        "feedforward_output_dense",
        "ffw_gating",
        "ffw_gating_2",
        "ffw_linear",
        "gate_proj",
        "up_proj",
        "down_proj",
    ),
}
GROUP = 32  # weights of an int4 kernel that share a scale
LARGEST = {"int8": 127, "int4": 7}  # absolute values of quantised weights


@dataclass(frozen=True)
class Tuning:
    """What is trained of a network.

    Attributes:
        rank: of the adapters.
        alpha: their product is multiplied by ``alpha / rank``.
        targets: names of ``TARGETS``.
        quantization: int8, int4, or None for kernels as they are.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    quantization: str | None = None

    @classmethod
    def from_config(cls, config: Any) -> Tuning | None:
        """Return what a configuration asks for; None: all weights are trained.

        Raises:
            UsageProblem: a target is unknown.
        """
        model = config.model
        if model.tuning == "full":
            return None
        names = [name.strip() for name in model.lora_targets.split(",") if name.strip()]
        if "all" in names:
            names = list(TARGETS)
        for name in names:
            if name not in TARGETS:
                raise unknown("model.lora_targets", name, [*TARGETS, "all"])
        if not names:
            raise UsageProblem(f"model.lora_targets: which ones? Allowed: {', '.join(TARGETS)}.")
        return cls(
            model.lora_rank,
            float(model.lora_alpha or model.lora_rank),
            tuple(dict.fromkeys(names)),
            model.quantization if model.tuning == "qlora" else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Tuning:
        """Undo ``to_json``."""
        return cls(**{**state, "targets": tuple(state["targets"])})


# === The layer ===


@keras.saving.register_keras_serializable(__package__)
class AdaptedDense(keras.layers.Layer):
    """A frozen dense layer, of which the kernel may be quantised, with an adapter beside it.

    The kernel is seen as a matrix (inputs, outputs), whatever axes it has. int8 has a scale for
    each output; int4 one for each ``GROUP`` inputs of an output, and two weights in a byte. Inputs
    are never rounded.

    Args:
        dense: a built ``Dense`` or ``EinsumDense``; if it is not quantised, it is used as it is.
        rank: of the adapter; 0: there is none.
        alpha: see ``Tuning``.
        quantization: see ``Tuning``.
    """

    def __init__(
        self,
        dense: keras.layers.Layer,
        rank: int = 0,
        alpha: float = 1.0,
        quantization: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=dense.name, dtype=dense.dtype_policy, **kwargs)
        self.rank, self.alpha, self.quantization = rank, alpha, quantization
        self.shape = KernelShape.of(dense)
        self.kernel_path = dense.kernel.path
        self.bias_path = None if dense.bias is None else dense.bias.path
        self.activation, dense.activation = dense.activation, keras.activations.linear
        self.dense: Any = None
        self.bias: Any = None
        inputs, outputs = self.shape.inputs, self.shape.outputs
        if quantization is None:
            self.dense = dense
        else:
            self._add_quantized(dense)
        if rank:
            bound = 1 / np.sqrt(inputs)
            self.lora_a = self.add_weight(
                (inputs, rank),
                keras.initializers.RandomUniform(-bound, bound),
                "float32",
                name="lora_a",
            )
            self.lora_b = self.add_weight((rank, outputs), "zeros", "float32", name="lora_b")
        self.built = True

    def _add_quantized(self, dense: keras.layers.Layer) -> None:
        matrix = self.shape.to_matrix(ops.convert_to_numpy(dense.kernel).astype("float32"))
        values, scales = quantize(matrix, self.quantization)
        self.values = self.add_weight(
            values.shape, "zeros", str(values.dtype), trainable=False, name="quantized_kernel"
        )
        self.scales = self.add_weight(
            scales.shape, "zeros", "float32", trainable=False, name="kernel_scale"
        )
        self.values.assign(values)
        self.scales.assign(scales)
        if dense.bias is not None:
            self.bias = self.add_weight(dense.bias.shape, "zeros", trainable=False, name="bias")
            self.bias.assign(dense.bias)

    def call(self, inputs: Any) -> Any:
        """Return outputs of the layer, whose activation follows the adapter."""
        outputs = self.dense(inputs) if self.dense is not None else self._call_quantized(inputs)
        if self.rank:
            x = self.shape.flatten(inputs)
            x = ops.matmul(x, ops.cast(self.lora_a, x.dtype))
            x = ops.matmul(x, ops.cast(self.lora_b, x.dtype)) * (self.alpha / self.rank)
            outputs = outputs + ops.cast(self.shape.unflatten(x), outputs.dtype)
        return self.activation(outputs)

    def _call_quantized(self, inputs: Any) -> Any:
        x = self.shape.flatten(inputs)
        kernel = dequantize(self.values, self.scales, self.quantization, self.shape.inputs)
        outputs = self.shape.unflatten(ops.matmul(x, ops.cast(kernel, x.dtype)))
        return outputs if self.bias is None else outputs + ops.cast(self.bias, outputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the outputs."""
        leading = input_shape[: len(input_shape) - len(self.shape.input_sizes)]
        return (*leading, *self.shape.output_sizes)

    def merge_kernel(self) -> np.ndarray:
        """Return the kernel, dequantised, with the adapter in it, in the layer's axes, float32."""
        if self.dense is not None:
            kernel = ops.convert_to_numpy(ops.cast(self.dense.kernel, "float32"))
            matrix = self.shape.to_matrix(kernel)
        else:
            matrix = ops.convert_to_numpy(
                dequantize(self.values, self.scales, self.quantization, self.shape.inputs)
            )
        return self.shape.from_matrix(matrix + self.update())

    def update(self) -> np.ndarray:
        """Return what the adapter adds to the kernel (inputs, outputs), float32."""
        if not self.rank:
            return np.zeros((1, 1), "float32")
        first, second = map(ops.convert_to_numpy, (self.lora_a, self.lora_b))
        return (first @ second) * np.float32(self.alpha / self.rank)


@dataclass(frozen=True)
class KernelShape:
    """A kernel's axes, and how they become a matrix.

    Attributes:
        axes: of the kernel, those of inputs first.
        input_sizes, output_sizes: of its axes.
    """

    axes: tuple[int, ...]
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]

    @classmethod
    def of(cls, dense: keras.layers.Layer) -> KernelShape:
        """Return that of a layer whose inputs' and outputs' last axes are the kernel's."""
        sizes = tuple(dense.kernel.shape)
        if not isinstance(dense, keras.layers.EinsumDense):
            return cls((0, 1), sizes[:1], sizes[1:])
        terms, output = dense.equation.replace("...", "").replace(" ", "").split("->")
        term, kernel = terms.split(",")
        inputs = [letter for letter in term if letter in kernel and letter not in output]
        outputs = [letter for letter in output if letter in kernel]
        if not term.endswith("".join(inputs)) or not output.endswith("".join(outputs)):
            raise UsageProblem(f"model.tuning: layers such as {dense.equation!r} take no adapters.")
        axes = tuple(kernel.index(letter) for letter in (*inputs, *outputs))
        ordered = [sizes[axis] for axis in axes]
        return cls(axes, tuple(ordered[: len(inputs)]), tuple(ordered[len(inputs) :]))

    @property
    def inputs(self) -> int:
        return int(np.prod(self.input_sizes))

    @property
    def outputs(self) -> int:
        return int(np.prod(self.output_sizes))

    def to_matrix(self, kernel: np.ndarray) -> np.ndarray:
        return kernel.transpose(self.axes).reshape(self.inputs, self.outputs)

    def from_matrix(self, matrix: np.ndarray) -> np.ndarray:
        kernel = matrix.reshape(*self.input_sizes, *self.output_sizes)
        return kernel.transpose(np.argsort(self.axes))

    def flatten(self, x: Any) -> Any:
        """Return inputs (batch, time, …) as (batch, time, inputs)."""
        if len(self.input_sizes) == 1:
            return x
        return ops.reshape(x, (*ops.shape(x)[: -len(self.input_sizes)], self.inputs))

    def unflatten(self, x: Any) -> Any:
        """Return outputs (batch, time, outputs) as (batch, time, …)."""
        if len(self.output_sizes) == 1:
            return x
        return ops.reshape(x, (*ops.shape(x)[:-1], *self.output_sizes))


def kernel_matrix(dense: keras.layers.Layer) -> np.ndarray:
    """Return the kernel of a dense layer as a matrix (inputs, outputs) float32."""
    kernel = ops.convert_to_numpy(ops.cast(dense.kernel, "float32"))
    return KernelShape.of(dense).to_matrix(kernel)


# === Quantisation ===


def quantize(matrix: np.ndarray, kind: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Round a kernel to integers.

    Args:
        matrix: (inputs, outputs) float32.
        kind: int8 or int4.

    Returns:
        int8: (inputs, outputs) int8 and scales (1, outputs) float32; int4: (groups, GROUP / 2,
        outputs) uint8 and scales (groups, 1, outputs) float32.
    """
    assert kind is not None
    largest = LARGEST[kind]
    if kind == "int4":
        matrix = np.pad(matrix, ((0, -len(matrix) % GROUP), (0, 0)))
        matrix = matrix.reshape(-1, GROUP, matrix.shape[-1])
    scales = np.abs(matrix).max(-2, keepdims=True) / largest
    scales = np.where(scales == 0, 1, scales).astype("float32")
    rounded = np.clip(np.round(matrix / scales), -largest, largest)
    if kind == "int8":
        return rounded.astype("int8"), scales
    shifted = (rounded + 8).astype("uint8")
    return shifted[:, 0::2] | (shifted[:, 1::2] << 4), scales


def dequantize(values: Any, scales: Any, kind: str | None, inputs: int) -> Any:
    """Undo ``quantize`` up to the rounding; returns a kernel (inputs, outputs) float32.

    Args:
        values, scales: as ``quantize`` returns them.
        kind: int8 or int4.
        inputs: size of the kernel's first axis.
    """
    scales = ops.cast(scales, "float32")
    if kind == "int8":
        return ops.cast(values, "float32") * scales
    # Of a byte the even and the odd row.
    packed = ops.cast(values, "int32")
    pairs = ops.stack([packed % 16, packed // 16], axis=2) - 8  # (groups, GROUP / 2, 2, outputs)
    groups, half, outputs = values.shape
    whole = ops.reshape(pairs, (groups, 2 * half, outputs))
    kernel = ops.reshape(ops.cast(whole, "float32") * scales, (groups * 2 * half, outputs))
    return kernel[:inputs]


# === Networks ===


def adapt(backbone: keras.Model, tuning: Tuning) -> None:
    """Freeze a network and give it adapters; quantise it first, if that is asked for.

    Args:
        backbone: of KerasHub, with its weights; it is changed.
        tuning: what is trained.

    Raises:
        UsageProblem: no layer has a name that the targets stand for.
    """
    names = {name for target in tuning.targets for name in TARGETS[target]}
    for weight in backbone.weights:
        weight.trainable = False
    found = False
    for parent, attribute, dense in list(find_dense(backbone)):
        rank = tuning.rank if dense.name in names else 0
        found |= rank > 0
        if rank or tuning.quantization:
            with _scopes(dense):
                layer = AdaptedDense(dense, rank, tuning.alpha, tuning.quantization)
            _replace(parent, attribute, dense, layer)
    if not found:
        raise UsageProblem(
            f"model.lora_targets: {type(backbone).__name__} has no layers for "
            f"{', '.join(tuning.targets)}, so that nothing would be trained."
        )


def find_dense(
    backbone: keras.Model,
) -> Iterator[tuple[keras.layers.Layer, str, keras.layers.Layer]]:
    """Yield each dense layer inside another layer: that layer, its attribute, the dense layer."""
    for parent in backbone._flatten_layers():
        if isinstance(parent, keras.Model | AdaptedDense):
            continue
        for attribute, value in sorted(vars(parent).items(), key=lambda item: item[0]):
            if isinstance(value, keras.layers.Dense | keras.layers.EinsumDense):
                yield parent, attribute, value


def find_adapted(network: keras.Model) -> list[AdaptedDense]:
    """Return the layers of a network that ``adapt`` has put there, in the network's order."""
    return [layer for layer in network._flatten_layers() if isinstance(layer, AdaptedDense)]


def frozen_weights(network: keras.Model) -> list[keras.Variable]:
    """Return the weights of a network that no training changes; none without adapters."""
    if not find_adapted(network):
        return []
    return [weight for weight in network.weights if not weight.trainable]


def plain_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of a network as it was before ``adapt``, by path, with what it learnt.

    Args:
        network: with adapters or without.
    """
    adapted = find_adapted(network)
    inside = {id(weight) for layer in adapted for weight in layer.weights}
    values = {
        weight.path: ops.convert_to_numpy(ops.cast(weight, "float32"))
        for weight in network.weights
        if id(weight) not in inside
    }
    for layer in adapted:
        values[layer.kernel_path] = layer.merge_kernel()
        bias = layer.bias if layer.dense is None else layer.dense.bias
        if layer.bias_path is not None:
            values[layer.bias_path] = ops.convert_to_numpy(ops.cast(bias, "float32"))
    return values


def _scopes(dense: keras.layers.Layer) -> ExitStack:
    """Return the scope in which new weights get paths beside those of a dense layer."""
    stack = ExitStack()
    for name in dense.kernel.path.split("/")[:-2]:
        stack.enter_context(keras.name_scope(name))
    return stack


def _replace(
    parent: keras.layers.Layer, attribute: str, old: keras.layers.Layer, new: keras.layers.Layer
) -> None:
    """Put a layer into the place of another, in a layer that is built."""
    # Keras lets nobody add layers to a built one; replaced ones keep the order of the weights.
    parent._tracker.replace_tracked_value("layers", old, new)
    setattr(parent, attribute, new)
