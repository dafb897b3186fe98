"""What the header of an image file says, without decoding it.

A few kilobytes may decode to gigabytes, so files that anybody may have sent are looked at first. It
is read where TensorFlow's decoders read it, which are what it is to protect.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B  # what the blocks of a GIF begin with
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by type of colour


class Header(NamedTuple):
    """Size of an image in pixels, channels as it would be decoded, and whether others follow."""

    height: int
    width: int
    channels: int
    is_animated: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels


def read_header(encoded: bytes) -> Header:
    """Read the header of a PNG, JPEG, BMP or GIF file.

    Raises:
        ValueError: it is none of them, or its header is damaged.
    """
    for signature, read in READERS.items():
        if encoded.startswith(signature):
            try:
                return read(encoded)
            except (struct.error, LookupError, tf.errors.InvalidArgumentError):
                raise ValueError("the header is damaged") from None
    raise ValueError("no image")


def _read_png(encoded: bytes) -> Header:
    if encoded[12:16] != b"IHDR":  # libpng skips chunks before it, and takes its size from it
        raise ValueError("the header does not come first")
    width, height, _, color = struct.unpack_from(">IIBB", encoded, 16)
    return Header(height, width, PNG_CHANNELS[color])


def _read_jpeg(encoded: bytes) -> Header:
    height, width, channels = tf.image.extract_jpeg_shape(encoded).numpy().tolist()
    return Header(height, width, channels)


def _read_bmp(encoded: bytes) -> Header:
    width, height, _, bits = struct.unpack_from("<iiHH", encoded, 18)
    return Header(abs(height), abs(width), max(1, bits // 8))  # rows from the top: height below 0


def _read_gif(encoded: bytes) -> Header:
    """Go through the blocks up to a second image; each image has a size of its own."""
    width, height, flags = struct.unpack_from("<HHB", encoded, 6)
    at, images = 13 + _palette_size(flags), 0
    while images < 2 and encoded[at] != END:
        if encoded[at] == IMAGE:
            images += 1
            left, top, own_width, own_height, flags = struct.unpack_from("<HHHHB", encoded, at + 1)
            width, height = max(width, left + own_width), max(height, top + own_height)
            at += 11 + _palette_size(flags)
        elif encoded[at] == EXTENSION:
            at += 2
        else:
            raise ValueError("a block of no known type")
        while encoded[at]:  # parts with their length in front, up to one of length 0
            at += 1 + encoded[at]
        at += 1
    if not images:
        raise ValueError("no image")
    return Header(height, width, 3, is_animated=images > 1)


def _palette_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


READERS: dict[bytes, Callable[[bytes], Header]] = {
    b"\x89PNG\r\n\x1a\n": _read_png,
    b"\xff\xd8\xff": _read_jpeg,
    b"BM": _read_bmp,
    b"GIF8": _read_gif,
}
