"""Images that somebody sends: refused before they are decoded, or decoded as in training."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from {{ cookiecutter.package_name }} import inputs
from {{ cookiecutter.package_name }}.inputs import read_requests, request_schema
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(height=8, width=6, channels=3, resize="crop", classes=("a", "b"))


def encode(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def hide_size(png: bytes) -> bytes:
    """Put a chunk that decoders pass over, with a small size in it, before the true size."""
    content = struct.pack(">IIBB", 8, 8, 8, 0)
    chunk = b"teXt" + content
    length, check = struct.pack(">I", len(content)), struct.pack(">I", zlib.crc32(chunk))
    return png[:8] + length + chunk + check + png[8:]


def noise(height: int = 40, width: int = 30) -> Image.Image:
    pixels = np.random.default_rng(height).integers(0, 255, (height, width, 3), dtype="uint8")
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "BMP", "GIF"])
def test_decoded_once_as_in_training(name: str) -> None:
    files = [encode(noise(height), name) for height in (8, 40, 41)]
    requests = read_requests([{"image": file} for file in files], PREPROCESSING, None)
    assert not requests.problems
    assert list(requests.split.ids) == ["1", "2", "3"]
    fetched = requests.split.fetch(tf.range(3, dtype=tf.int64))
    np.testing.assert_array_equal(PREPROCESSING(fetched), PREPROCESSING(tf.constant(files)))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_any_kind_of_png(mode: str) -> None:
    requests = read_requests([{"image": encode(Image.new(mode, (9, 7)))}], PREPROCESSING, None)
    assert not requests.problems


def test_each_wrong_image_is_its_own_problem() -> None:
    frames = [noise(10 + i).resize((10, 10)) for i in range(3)]
    good = encode(noise(), "JPEG")
    cases: list[tuple[Any, str]] = [
        (encode(Image.new("L", (10_001, 10_000))), "10001 x 10000 pixels, more than the 25"),
        (encode(Image.new("1", (20_000, 20_000))), "20000 x 20000 pixels, more"),
        (hide_size(encode(Image.new("L", (10_001, 10_000)))), "not an image that can be decoded"),
        (encode(frames[0], "GIF", save_all=True, append_images=frames[1:]), "it is animated"),
        (encode(frames[0], "GIF")[:-1], "not an image that can be decoded"),
        (encode(noise(), "BMP")[:20], "not an image that can be decoded"),
        (good[: len(good) // 2], "not an image that can be decoded"),
        (encode(noise())[:60], "not an image that can be decoded"),
        (encode(noise(), "TIFF"), "not an image that can be decoded"),
        (b"<script>", "not an image that can be decoded"),
        (b"", "empty file"),
        ("text", "it must be the bytes of a file"),
        (None, "it is missing"),
    ]
    rows = [{"image": image} for image, _ in cases] + [{"image": good}]
    requests = read_requests(rows, PREPROCESSING, None)
    assert list(requests.split.ids) == [str(len(rows))]
    for position, (_, problem) in enumerate(cases):
        assert requests.problems[position].startswith(f"image: {problem}")


def test_a_large_image_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Preprocessing, "decode_one", pytest.fail)
    rows = [{"image": encode(Image.new("L", (6_000, 5_000)))}]
    assert list(read_requests(rows, PREPROCESSING, None).problems) == [0]


def test_images_together_are_bounded_and_the_largest_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inputs, "MAX_BATCH_MEGAPIXELS", 3)
    files = [encode(Image.new("L", (1_000, height))) for height in (2_000, 100, 1_500, 900)]
    requests = read_requests([{"image": file} for file in files], PREPROCESSING, None)
    assert list(requests.split.ids) == ["2", "3", "4"]
    assert "more than 3 megapixels; send a smaller one" in requests.problems[0]
    many = [{"image": files[3]}] * 33
    assert len(read_requests(many, PREPROCESSING, None).split) == 6, "twice as much for two batches"


def test_the_limit_is_what_the_schema_says() -> None:
    description = request_schema(PREPROCESSING)["properties"]["image"]["description"]
    assert f"at most {inputs.MAX_MEGAPIXELS} megapixels" in description
