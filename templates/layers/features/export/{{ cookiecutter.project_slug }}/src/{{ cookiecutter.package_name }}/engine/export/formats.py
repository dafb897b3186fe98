"""The formats, and what each of them can hold.

What cannot work is refused by what is known of a network's layers, before anything is written. That
is all in this file, so that ``--help``, the refusals and the table of the README agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..errors import ProjectError, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from .source import Inputs, Source

QUANTIZATIONS = ("int8", "float16", "dynamic")


class Converter(Protocol):
    """The functions of a module that knows one format."""

    def write(
        self,
        source: Source,
        path: Path,
        quantization: str | None,
        samples: Callable[[], Iterator[Inputs]],
    ) -> None:
        """Write a model.

        Args:
            source: the model.
            path: of the file or folder.
            quantization: one of those that the format can have, or None.
            samples: real inputs, from which ``int8`` takes the ranges of values.
        """

    def load(self, source: Source, path: Path) -> Callable[[Inputs], np.ndarray]:
        """Return the function of a written model from inputs (batch, …) to outputs (batch, …).

        Args:
            source: that it was written from.
            path: of the file or folder.
        """


@dataclass(frozen=True)
class Format:
    """A format that models are exported to.

    Attributes:
        module: of this package, a ``Converter``.
        file: name of the file or folder.
        runtime: what runs it.
        quantizations: those that it can have.
        packages: modules of the extra ``export`` that it needs.
    """

    module: str
    file: str
    runtime: str
    quantizations: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def converter(self) -> Converter:
        """The module, whose libraries are imported with it."""
        return cast("Converter", import_module(f"{__package__}.{self.module}"))


@dataclass(frozen=True)
class OwnFormat:
    """A format that a project brings, whose models are no functions from numbers to numbers.

    ``exports/formats.py`` of the project, if there is one, holds a table ``FORMATS`` of them, which
    takes the place of the one below.

    Attributes:
        writer: a function from an ``Export`` and an empty folder to a ``Written``, or its place
            (``module:attribute`` in the project's package). A wrong result it refuses: it raises.
        summary: what reads it, for the help.
    """

    writer: Any
    summary: str


@dataclass(frozen=True)
class Export:
    """What is exported.

    Attributes:
        model: the trained artifact.
        config: of its run.
        name: of the model, for people.
    """

    model: Any
    config: Any
    name: str


@dataclass(frozen=True)
class Written:
    """What a writer has to say of the model that it has written and compared.

    Attributes:
        report: goes to ``report.json``.
        lines: are printed.
    """

    report: dict[str, Any]
    lines: list[str]


FORMATS = {
    "savedmodel": Format("savedmodel", "saved_model", "TensorFlow"),
    "litert": Format("litert", "model.tflite", "LiteRT", QUANTIZATIONS, ("ai_edge_litert",)),
    "onnx": Format(
        "onnx_file",
        "model.onnx",
        "ONNX Runtime",
        QUANTIZATIONS,
        ("onnx", "onnxruntime", "tf2onnx"),
    ),
    "keras": Format("keras_file", "model.keras", "Keras", ("dynamic",)),
}


def find_format(name: str, quantization: str | None) -> Format:
    """Return the format that a user named.

    Args:
        name: of the format.
        quantization: that it is to have, or None.

    Raises:
        UsageProblem: the format cannot be quantised so.
        ProjectError: packages are missing.
    """
    found = FORMATS[name]
    if quantization and quantization not in found.quantizations:
        others = [other for other in FORMATS if quantization in FORMATS[other].quantizations]
        raise UsageProblem(
            f"--quantize: {name} holds {_join(('float32', *found.quantizations))}, not "
            f"{quantization}; {_join(others)} can."
        )
    missing = [package for package in found.packages if find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ProjectError(
            f"--format {name}: {_join(missing)} {verb} not installed: pip install -e '.[export]'."
        )
    return found


# === What networks a format cannot hold ===


def check_network(network: keras.Model, name: str, quantization: str | None) -> None:
    """Refuse a network that the format is known not to hold.

    Args:
        network: the trained one.
        name: of the format.
        quantization: that it is to have, or None.

    Raises:
        UsageProblem: it says why, and what to use instead.
    """
    if reason := find_obstacle(network, name, quantization):
        what = f"--format {name} --quantize {quantization}" if quantization else f"--format {name}"
        raise UsageProblem(f"{what}: {reason}")


def find_obstacle(network: keras.Model, name: str, quantization: str | None) -> str | None:
    """Return why a format cannot hold a network, and what to use instead; None: it can."""
    import keras

    layers = list(find_layers(network))
    has_attention = any(type(layer).__name__.endswith("Attention") for layer in layers)
    is_recurrent = any(isinstance(layer, keras.layers.RNN) for layer in layers)
    if quantization and any(getattr(layer, "needs_float32", False) for layer in layers):
        return (
            "a layer looks numbers up in its weights, which rounding would change; leave out "
            "--quantize."
        )
    if name == "litert" and quantization == "int8" and is_recurrent:
        return "LiteRT has no int8 of recurrent layers with masks; use dynamic or float16."
    if quantization == "int8" and has_attention:
        return "masks of attention leave int8 no range for anything else; use dynamic or float16."
    if name == "keras" and quantization and has_attention:
        return "Keras does not load quantised attention again; use litert or onnx."
    if name == "keras" and quantization and any(map(_holds_layers, layers)):
        return "Keras does not load quantised layers inside a layer again; use litert or onnx."
    return None


def find_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield a layer and all layers inside it."""
    yield from layer._flatten_layers()


def _holds_layers(layer: keras.layers.Layer) -> bool:
    """Return whether a layer of the project's own is made of others."""
    is_own = not type(layer).__module__.startswith("keras.")
    return is_own and len(list(find_layers(layer))) > 1


def _join(names: Any) -> str:
    """Return names as in a sentence: ``a, b and c``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
