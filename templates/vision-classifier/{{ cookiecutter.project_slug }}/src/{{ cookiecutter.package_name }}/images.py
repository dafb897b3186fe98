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

import tensorflow as tf

from .files import project_root, write_text

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
    """Bytes of one image () string -> pixels (height, width, channels) uint8."""
    pixels = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    return tf.ensure_shape(pixels, (None, None, channels or None))


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
    found = {stamp: made for stamp, made in zip(stamps, scans, strict=True) if stamp}
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
        # Grey images must be told from colour ones, so the file decides on the channels first;
        # training decodes to 1 or 3, which must work as well.
        height, width, channels = decode(tf.constant(encoded), 0).shape
        decode(tf.constant(encoded), 1 if channels < 3 else 3)
    except (tf.errors.InvalidArgumentError, ValueError):
        return Scan(error="not an image that can be decoded (PNG, JPEG, BMP, GIF)")
    return Scan(hashlib.sha256(encoded).hexdigest(), height, width, channels)


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
