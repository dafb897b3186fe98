"""Reading and checking image files.

TensorFlow decodes them here, in training and in prediction alike: PNG, JPEG, BMP and the first
frame of a GIF.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from ..engine.files import project_root, write_text

log = logging.getLogger(__package__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif"})


@dataclass(frozen=True)
class Scan:
    """What is known of a file after it was read once; ``error`` if it holds no image."""

    sha256: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    error: str = ""


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Bytes of one image () string -> pixels (height, width, channels) uint8, 1 or 3 channels."""
    # Not every format decodes to a number of channels that one asks for.
    pixels = tf.io.decode_image(encoded, expand_animations=False)
    found = tf.shape(pixels)[-1]  # 2 and 4: with transparency, which is left out
    if channels == 1:
        pixels = tf.cond(
            found < 3,
            lambda: pixels[..., :1],
            lambda: tf.image.rgb_to_grayscale(pixels[..., :3]),
        )
    else:
        pixels = tf.cond(
            found < 3,
            lambda: tf.repeat(pixels[..., :1], 3, axis=-1),
            lambda: pixels[..., :3],
        )
    return tf.ensure_shape(pixels, (None, None, channels))


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image, hidden files aside."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def scan(paths: Sequence[str]) -> list[Scan]:
    """Read and decode every file once, several at a time.

    What was found is kept in ``.cache/images.json`` and used again while size and time of a file
    stay as they were.
    """
    index_file = project_root() / ".cache" / "images.json"
    known = _read_index(index_file)
    stamps = [_stamp(path) for path in paths]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        scans = list(pool.map(lambda p, s: known.get(s) or scan_file(p), paths, stamps))
    # What could not be read may be readable the next time.
    scanned = zip(stamps, scans, strict=True)
    found = {stamp: made for stamp, made in scanned if stamp and not made.error}
    if any(stamp not in known for stamp in found):
        text = json.dumps({stamp: asdict(made) for stamp, made in (known | found).items()})
        write_text(index_file, text)
    return scans


def scan_file(path: str) -> Scan:
    """Read and decode one file."""
    try:
        encoded = Path(path).read_bytes()
    except OSError as error:
        return Scan(error=error.strerror or "not readable")
    return scan_bytes(encoded)


def scan_bytes(encoded: bytes) -> Scan:
    """Decode the bytes of one file."""
    if not encoded:
        return Scan(error="empty file")
    try:
        pixels = tf.io.decode_image(encoded, expand_animations=False).numpy()
    except (tf.errors.InvalidArgumentError, ValueError):
        return Scan(error="not an image that can be decoded (PNG, JPEG, BMP, GIF)")
    height, width, channels = pixels.shape
    return Scan(content_hash(pixels), height, width, channels)


def content_hash(pixels: np.ndarray) -> str:
    """A hash of an image (height, width, channels): the same for copies in different files."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


def find_images(folder: Path) -> Iterable[Path]:
    """All image files below a folder, in a fixed order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and is_image_file(path))


def _stamp(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{Path(path).resolve()}|{status.st_size}|{status.st_mtime_ns}"


def _read_index(file: Path) -> dict[str, Scan]:
    try:
        return {key: Scan(**value) for key, value in json.loads(file.read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        log.warning("%s is not readable and is made anew", file)
        return {}
