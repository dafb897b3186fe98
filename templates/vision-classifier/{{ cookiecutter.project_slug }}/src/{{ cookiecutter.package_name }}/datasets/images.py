"""Reading and checking image files: PNG, JPEG, BMP and the first frame of a GIF.

TensorFlow decodes them, in training and in prediction alike.
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

from ..engine.errors import DataProblem
from ..engine.files import project_root, write_text
from .image_headers import Header, read_header

log = logging.getLogger(__package__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif"})
FORMATS = "PNG, JPEG, BMP or GIF"
UNDECODABLE = f"not an image that can be decoded ({FORMATS})"


@dataclass(frozen=True)
class Scan:
    """Content hash and shape of an image file, or the reason why it cannot be decoded."""

    sha256: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    error: str = ""


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode an image.

    Args:
        encoded: () string, the bytes of a file.
        channels: 1 for grey, 3 for colour.

    Returns:
        Pixels (height, width, channels) uint8.
    """
    # TensorFlow cannot decode every format to a given number of channels.
    pixels = tf.io.decode_image(encoded, expand_animations=False)
    found = tf.shape(pixels)[-1]  # 2 and 4 have an alpha channel, which is dropped
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
    """Return whether the name is that of an image and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def scan(paths: Sequence[str]) -> list[Scan]:
    """Read and decode every file, several at a time.

    Results are cached in ``.cache/images.json``, as long as a file's size and modification time
    stay the same.
    """
    index_file = project_root() / ".cache" / "images.json"
    known = _read_index(index_file)
    stamps = [_stamp(path) for path in paths]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        scans = list(pool.map(lambda p, s: known.get(s) or scan_file(p), paths, stamps))
    # Errors are not cached: a file may be readable the next time.
    pairs = zip(stamps, scans, strict=True)
    fresh = {stamp: result for stamp, result in pairs if stamp and not result.error}
    if any(stamp not in known for stamp in fresh):
        text = json.dumps({stamp: asdict(result) for stamp, result in (known | fresh).items()})
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
        return Scan(error=UNDECODABLE)
    height, width, channels = pixels.shape
    return Scan(content_hash(pixels), height, width, channels)


def check_header(encoded: bytes, max_megapixels: float) -> Header:
    """Return the header of a file that may be decoded.

    Args:
        encoded: the bytes of a file, which anybody may have sent.
        max_megapixels: that it may have.

    Raises:
        DataProblem: it should not be decoded.
    """
    if not encoded:
        raise DataProblem("empty file")
    try:
        header = read_header(encoded)
    except ValueError:
        raise DataProblem(UNDECODABLE) from None
    # TensorFlow would decode all images of an animation for the first one.
    if header.is_animated:
        raise DataProblem("it is animated; send one image")
    if header.height * header.width > max_megapixels * 1e6:
        size = f"{header.width} x {header.height} pixels"
        raise DataProblem(f"{size}, more than the {max_megapixels:g} megapixels allowed")
    return header


def content_hash(pixels: np.ndarray) -> str:
    """Hash the pixels (height, width, channels), so that copies in other files match."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def find_images(folder: Path) -> Iterable[Path]:
    """Find all image files below a folder, sorted by path."""
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
        log.warning("%s is unreadable and will be rewritten", file)
        return {}
