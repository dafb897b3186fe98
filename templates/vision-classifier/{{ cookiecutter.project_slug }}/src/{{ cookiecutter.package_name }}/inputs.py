"""Inputs of ``predict`` and of a served model: image files and their bytes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .datasets.images import find_images, scan
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Split
from .engine.tables import iterate_parts
from .preprocessing import Preprocessing

# A request is a row with the bytes of an image file; a response has a class and scores.


def read(words: list[str], config: Config, size: int) -> Iterator[Split]:
    """Yield images in batches.

    Args:
        words: files, folders, or ``-`` for paths on standard input, one per line.
        config: the configuration.
        size: images of a batch.

    Raises:
        DataProblem: a file is missing or not an image.
    """
    paths = [str(path) for word in words for path in _paths(word)]
    if not paths:
        raise DataProblem(f"input: there are no images in {', '.join(map(repr, words))}.")
    for path, found in zip(paths, scan(paths), strict=True):
        if found.error:
            raise DataProblem(f"input: {path!r}: {found.error}.")
    for part in iterate_parts(paths, size):
        yield _split(part)


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the columns of a request and of its response, as MLflow's signature lists them."""
    return {
        "inputs": [{"name": "image", "type": "binary", "required": True}],
        "outputs": [
            {"name": "prediction", "type": "string", "required": True},
            {"name": "scores", "type": "map", "values": {"type": "double"}, "required": True},
        ],
    }


def example(data: DatasetSplits, preprocessing: Preprocessing) -> pd.DataFrame:
    """Return a request with the first training image."""
    pixels = preprocessing.prepare(data.train.fetch(tf.constant([0], tf.int64)))[0]
    return pd.DataFrame({"image": [tf.io.encode_png(pixels).numpy()]})


def from_frame(frame: pd.DataFrame, preprocessing: Preprocessing) -> tf.Tensor:
    """Convert the rows of a request to encoded images (batch,) string."""
    return tf.constant(list(frame["image"]), tf.string)


def _split(paths: list[str]) -> Split:
    constant = tf.constant(paths)
    return Split(
        ids=np.array(paths),
        targets=np.array([]),
        fetch=lambda positions: tf.map_fn(tf.io.read_file, tf.gather(constant, positions)),
    )


def _paths(word: str) -> list[Path]:
    if word == "-":
        return [Path(line) for line in sys.stdin.read().splitlines() if line.strip()]
    path = Path(word)
    return list(find_images(path)) if path.is_dir() else [path]
