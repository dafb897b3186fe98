"""Keras's own file, in float32 or with weights in int8, whatever precision trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..artifact import load as load_artifact
from .source import Inputs, Source, make_source


def write(
    source: Source, path: Path, quantization: str | None, samples: Callable[[], Iterator[Inputs]]
) -> None:
    """Write network and preprocessing as a Keras file."""
    model = source.model
    if quantization:
        model = make_source(model).model  # quantised in place
        model.network.quantize("int8")
    model.save(path)


def load(source: Source, path: Path) -> Callable[[Inputs], np.ndarray]:
    """Return the function of a Keras file from inputs to outputs."""
    return Source(load_artifact(path, source.model.task)).run
