"""From images to the model's inputs, the same in tf.data, ``predict`` and serving."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .datasets.images import decode
from .datasets.labels import encode_labels
from .engine.interfaces import Split, Uniform
from .model import default_image_size

MAX_OWN_SIZE = 96  # pixels up to which images keep their own size
MAX_STATISTICS_IMAGES = 1_024  # training images from which mean and deviation are estimated
READ_BATCH_SIZE = 16  # images in memory at a time, however large each is
MIN_STD = 1 / 255  # of a constant channel, which would be divided by zero


@dataclass(frozen=True)
class Preprocessing:
    """Decode, resize and scale images to [0, 1], and encode class labels.

    Attributes:
        resize: stretch, crop or pad.
        mean: of each channel in [0, 1] over the training split.
        std: standard deviation of each channel over the training split.
    """

    height: int
    width: int
    channels: int
    resize: str
    classes: tuple[str, ...]
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    lengths = max_length = None  # all images have the same shape
    separator = ""  # each image has one label

    @classmethod
    def fit(cls, train, config: Config) -> "Preprocessing":
        """Derive size, channels, their statistics and classes from the training split.

        Args:
            train: an ``ImageSplit``.
            config: the configuration.
        """
        heights, widths, channels = train.shapes.T
        same = len(set(heights)) == len(set(widths)) == 1
        if config.data.image_size:
            height = width = config.data.image_size
        elif same and max(heights[0], widths[0]) <= MAX_OWN_SIZE:
            height, width = int(heights[0]), int(widths[0])
        else:
            height = width = default_image_size(config)
        requested = config.data.channels
        detected = 1 if max(channels) < 3 else 3
        without_statistics = cls(
            height=height,
            width=width,
            channels=detected if requested == "auto" else int(requested),
            resize=config.data.resize,
            classes=tuple(str(name) for name in np.unique(train.targets)),
        )
        mean, std = _channel_statistics(train, without_statistics)
        return replace(without_statistics, mean=mean, std=std)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input of the model."""
        return (self.height, self.width, self.channels)

    def prepare(self, raw: tf.Tensor) -> tf.Tensor:
        """Decode and resize images.

        Args:
            raw: encoded images (batch,) string, or pixels (batch, height, width, channels) uint8.

        Returns:
            Pixels (batch, *input_shape) uint8.
        """
        if raw.dtype == tf.string:
            spec = tf.TensorSpec(self.input_shape, tf.uint8)
            return tf.map_fn(self._decode_and_resize, raw, fn_output_signature=spec)
        if raw.shape[-1] == 1 and self.channels == 3:
            raw = tf.image.grayscale_to_rgb(raw)
        elif raw.shape[-1] == 3 and self.channels == 1:
            raw = tf.image.rgb_to_grayscale(raw)
        return self._resize(raw)

    def decode_one(self, encoded: bytes) -> np.ndarray:
        """Decode and resize one image, as ``prepare`` does, faster outside tf.data.

        Args:
            encoded: the bytes of a file.

        Returns:
            Pixels (*input_shape) uint8, which ``prepare`` leaves as they are.

        Raises:
            tf.errors.InvalidArgumentError: it is no image, or a damaged one.
        """
        return self._decode_one(tf.constant(encoded)).numpy()

    @cached_property
    def _decode_one(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return tf.function(self._decode_and_resize, input_signature=[tf.TensorSpec((), tf.string)])

    def _decode_and_resize(self, encoded: tf.Tensor) -> tf.Tensor:
        return self._resize(decode(encoded, self.channels))

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        """Scale pixels (batch, *input_shape) in [0, 255] to float32 in [0, 1]."""
        return tf.cast(prepared, tf.float32) / 255.0

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        return self.finish(self.prepare(tf.convert_to_tensor(raw)))

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Encode class names (size,) as indices (size,) int32."""
        return encode_labels(targets, self.classes)

    def to_config(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        lists = ("classes", "mean", "std")
        return cls(**{**config, **{name: tuple(config[name]) for name in lists if name in config}})

    def notes(self) -> dict[str, Any]:
        return {"input_shape": list(self.input_shape)}

    def _resize(self, pixels: tf.Tensor) -> tf.Tensor:
        """Resize images (…, height, width, channels) uint8 to the model's height and width."""
        size = (self.height, self.width)
        if pixels.shape[-3:-1] == size:
            return pixels
        shape = tf.cast(tf.shape(pixels)[-3:-1], tf.float32)
        if self.resize == "pad":
            resized = tf.image.resize_with_pad(pixels, *size, antialias=True)
        else:
            if self.resize == "crop":
                # The largest box in the middle with the model's aspect ratio.
                scale = tf.reduce_min(shape / tf.constant(size, tf.float32))
                box_size = tf.cast(tf.round(scale * tf.constant(size, tf.float32)), tf.int32)
                offset = (tf.shape(pixels)[-3:-1] - box_size) // 2
                box = (*tf.unstack(offset), *tf.unstack(box_size))
                pixels = tf.image.crop_to_bounding_box(pixels, *box)
            resized = tf.image.resize(pixels, size, antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)


def read_inputs(
    split: Split, positions: np.ndarray, preprocessing: Preprocessing
) -> Iterator[np.ndarray]:
    """Yield the model's inputs (batch, height, width, channels) for examples of a split.

    Args:
        split: the examples.
        positions: (size,) of those to read.
        preprocessing: decodes and resizes them.
    """
    batches = tf.data.Dataset.from_tensor_slices(positions).batch(READ_BATCH_SIZE)
    # In tf.data's graph: eagerly, each image would take some milliseconds.
    inputs = batches.map(
        lambda batch: preprocessing(split.fetch(batch)), num_parallel_calls=tf.data.AUTOTUNE
    )
    return inputs.prefetch(1).as_numpy_iterator()


def _channel_statistics(
    train: Split, preprocessing: Preprocessing
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Estimate each channel's mean and standard deviation in [0, 1] from evenly spaced images."""
    positions = np.unique(np.linspace(0, len(train) - 1, MAX_STATISTICS_IMAGES).astype("int64"))
    pixels, sums, squares = 0, np.zeros(preprocessing.channels), np.zeros(preprocessing.channels)
    for inputs in read_inputs(train, positions, preprocessing):
        values = inputs.astype("float64")
        pixels += values[..., 0].size
        sums += values.sum(axis=(0, 1, 2))
        squares += np.square(values).sum(axis=(0, 1, 2))
    # Rounded, so that they do not depend on the order in which a machine sums.
    mean = sums / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, MIN_STD**2)).round(4)
    return tuple(map(float, mean.round(4))), tuple(map(float, std))


def augment(
    prepared: tf.Tensor, targets: tf.Tensor, uniform: Uniform, config: Config
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augment each image at random, as a function of the drawn numbers alone.

    Args:
        prepared: images (batch, height, width, channels) in [0, 255].
        targets: of the images, which stay as they are.
        uniform: draws numbers for each image.
        config: its ``data.augment_*`` fields say how much.

    Returns:
        Images of the same shape and range, float32, and the targets.
    """
    data = config.data
    images = tf.cast(prepared, tf.float32)
    draws = tf.transpose(2.0 * uniform(8) - 1.0)  # (8, batch) in [-1, 1)
    if data.augment_shift or data.augment_rotation or data.augment_zoom or data.augment_flip:
        images = _transform(images, draws[:5], config)
    if data.augment_color:
        images = _jitter_color(images, 1.0 + data.augment_color * draws[5:])
    return images, targets


def _transform(images: tf.Tensor, draws: tf.Tensor, config: Config) -> tf.Tensor:
    """Shift, rotate, zoom and flip images about their middle, in one projective transform."""
    data = config.data
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    angle = draws[0] * (data.augment_rotation * math.pi / 180.0)
    zoom = 1.0 + data.augment_zoom * draws[1]
    flip = tf.where(draws[2] < 0.0, -1.0, 1.0) if data.augment_flip else tf.ones_like(draws[2])
    shift_y = draws[3] * data.augment_shift * size[0]
    shift_x = draws[4] * data.augment_shift * size[1]
    if not (data.augment_rotation or data.augment_zoom):
        # By whole pixels: interpolation would blur the image needlessly.
        shift_y, shift_x = tf.round(shift_y), tf.round(shift_x)
    middle_y, middle_x = (size[0] - 1.0) / 2.0, (size[1] - 1.0) / 2.0
    # Rows (a, b, c) and (d, e, f) of the matrix from an output pixel to its input pixel.
    a, b = tf.cos(angle) * zoom * flip, -tf.sin(angle) * zoom
    d, e = tf.sin(angle) * zoom * flip, tf.cos(angle) * zoom
    c = middle_x + shift_x - a * middle_x - b * middle_y
    f = middle_y + shift_y - d * middle_x - e * middle_y
    zeros = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, c, d, e, f, zeros, zeros], axis=1),  # (batch, 8)
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _jitter_color(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Scale brightness, contrast and saturation by factors (3, batch)."""
    brightness, contrast, saturation = (f[:, None, None, None] for f in tf.unstack(factors))
    images = images * brightness
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * contrast + mean
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    return tf.clip_by_value((images - grey) * saturation + grey, 0.0, 255.0)
