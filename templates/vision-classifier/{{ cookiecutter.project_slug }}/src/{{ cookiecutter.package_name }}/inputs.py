"""Inputs of ``predict`` and of a served model: image files and their bytes."""

import math
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .data import ImageSplit
from .datasets.image_headers import Header
from .datasets.images import FORMATS, UNDECODABLE, check_header, find_images, scan
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Requests, Split
from .engine.requests import check_fields, read_each
from .engine.tables import iterate_parts
from .preprocessing import Preprocessing

# A request is a row with the bytes of an image file; a response has a class and scores.

# Of a request, more than most cameras take: decoded, it is 75 MB, and several are at a time.
MAX_MEGAPIXELS = 25
# Of each 32 images together, as many as photos of phones have. At 144 megapixels a second, which is
# what images take that hardly take bytes, a service answers a full queue of 256 in 22 seconds, and
# gives nobody up (after 30 seconds).
MAX_BATCH_MEGAPIXELS = 400
BATCH = 32


class CheckedFile(NamedTuple):
    """The bytes of an image file that is small enough to be decoded."""

    encoded: bytes
    header: Header

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.header.height * self.header.width


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
        yield make_file_split(part)


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


def request_schema(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the JSON Schema of a row: an image file."""
    plain = np.full(preprocessing.input_shape, 255 * np.array(preprocessing.mean), "uint8")
    return {
        "type": "object",
        "title": "Image",
        "properties": {
            "image": {
                "type": "string",
                "title": "Image",
                "description": f"A {FORMATS} file of at most {MAX_MEGAPIXELS} megapixels.",
                "contentEncoding": "base64",
                "contentMediaType": "image/*",
            }
        },
        "required": ["image"],
        "additionalProperties": False,
        "examples": [{"image": b64encode(tf.io.encode_png(plain).numpy()).decode()}],
    }


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, config: Config | None
) -> Requests:
    """Decode the images of rows to the model's size; a file that is no image is a problem.

    Args:
        rows: each with the bytes of an image file as ``image``.
        preprocessing: decodes them.
        config: part of the engine's interface.
    """

    def read_file(file: CheckedFile | DataProblem) -> tuple[np.ndarray, Header]:
        if isinstance(file, DataProblem):
            raise file
        try:
            return preprocessing.decode_one(file.encoded), file.header
        except DataProblem as problem:
            raise DataProblem(f"image: {problem}.") from None
        except tf.errors.InvalidArgumentError:
            raise DataProblem(f"image: {UNDECODABLE}.") from None

    def make_split(ids: np.ndarray, images: list[tuple[np.ndarray, Header]]) -> Split:
        pixels = np.array([image for image, _ in images], "uint8")
        with tf.device("CPU:0"):
            constant = tf.constant(pixels.reshape(-1, *preprocessing.input_shape))
        shapes = np.array([header.shape for _, header in images], dtype=int).reshape(-1, 3)

        def fetch(positions: tf.Tensor) -> tf.Tensor:
            return tf.gather(constant, positions)

        return ImageSplit(ids, np.array([]), fetch, in_memory=True, shapes=shapes)

    return read_each(_check_files(rows), read_file, make_split)


def _check_files(rows: Sequence[Any]) -> list[CheckedFile | DataProblem]:
    """Return the files of rows that may be decoded; a problem for each other row."""
    files: list[CheckedFile | DataProblem] = [_check_file(row) for row in rows]
    sizes = {i: file.pixels for i, file in enumerate(files) if isinstance(file, CheckedFile)}
    limit = MAX_BATCH_MEGAPIXELS * math.ceil(len(rows) / BATCH)
    total = 0
    for position in sorted(sizes, key=sizes.__getitem__):  # the largest are the ones too many
        total += sizes[position]
        if total > limit * 1e6:
            files[position] = DataProblem(
                f"image: with the others that came at the same time it has more than {limit} "
                "megapixels; send a smaller one, or send it again."
            )
    return files


def _check_file(row: Any) -> CheckedFile | DataProblem:
    try:
        check_fields(row, ("image",), required=("image",))
    except DataProblem as problem:
        return problem
    encoded = row["image"]
    if not isinstance(encoded, bytes):
        return DataProblem("image: it must be the bytes of a file.")
    try:
        return CheckedFile(encoded, check_header(encoded, MAX_MEGAPIXELS))
    except DataProblem as problem:
        return DataProblem(f"image: {problem}.")


def make_file_split(paths: list[str], shapes: np.ndarray | None = None) -> ImageSplit:
    """Return image files as a split without targets.

    Args:
        paths: (size,) of the files.
        shapes: (size, 3) their heights, widths and channels, where known.
    """
    constant = tf.constant(paths, tf.string)

    def fetch(positions: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(tf.io.read_file, tf.gather(constant, positions))

    return ImageSplit(np.array(paths), np.array([]), fetch, shapes=shapes)


def _paths(word: str) -> list[Path]:
    if word == "-":
        return [Path(line) for line in sys.stdin.read().splitlines() if line.strip()]
    path = Path(word)
    return list(find_images(path)) if path.is_dir() else [path]
