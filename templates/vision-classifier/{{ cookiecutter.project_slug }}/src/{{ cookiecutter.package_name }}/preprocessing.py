"""From images to the numeric core's inputs, the same in tf.data, ``predict`` and serving."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .datasets.images import decode
from .datasets.labels import encoded
from .engine.interfaces import Split, Uniform
from .model import preferred_size

OWN_SIZE_LIMIT = 96  # pixels up to which images keep their own size
MOST_MEASURED = 1_024  # training images whose mean and deviation stand for all
AT_ONCE = 16  # images read at a time: memory is that of a few, whatever their size
LEAST_STD = 1 / 255  # of a channel that is the same everywhere


@dataclass(frozen=True)
class Preprocessing:
    """Decode, resize, scale to [0, 1]; and the classes that targets are counted by.

    Attributes:
        mean: of each channel in [0, 1], over the training split.
        std: standard deviation of each channel, over the training split.
    """

    height: int
    width: int
    channels: int
    resize: str
    classes: tuple[str, ...]
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    lengths = None  # all images have one shape
    separator = ""  # each has one class

    @classmethod
    def fit(cls, train, config: Config) -> "Preprocessing":
        """Learn size, channels, their scale, and classes from the training split.

        Args:
            train: an ``ImageSplit``.
        """
        heights, widths, channels = train.shapes.T
        same = len(set(heights)) == len(set(widths)) == 1
        if config.data.image_size:
            height = width = config.data.image_size
        elif same and max(heights[0], widths[0]) <= OWN_SIZE_LIMIT:
            height, width = int(heights[0]), int(widths[0])
        else:
            height = width = preferred_size(config)
        wish = config.data.channels
        found = 1 if max(channels) < 3 else 3
        unscaled = cls(
            height=height,
            width=width,
            channels=found if wish == "auto" else int(wish),
            resize=config.data.resize,
            classes=tuple(str(name) for name in np.unique(train.targets)),
        )
        mean, std = _channel_statistics(train, unscaled)
        return replace(unscaled, mean=mean, std=std)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one input of the core."""
        return (self.height, self.width, self.channels)

    def prepare(self, raw: tf.Tensor) -> tf.Tensor:
        """Raw images -> pixels (batch, *input_shape) uint8.

        Args:
            raw: encoded images (batch,) string, or pixels (batch, height, width, channels) uint8.
        """
        if raw.dtype == tf.string:
            spec = tf.TensorSpec(self.input_shape, tf.uint8)
            return tf.map_fn(
                lambda encoded: self._fitted(decode(encoded, self.channels)),
                raw,
                fn_output_signature=spec,
            )
        if raw.shape[-1] == 1 and self.channels == 3:
            raw = tf.image.grayscale_to_rgb(raw)
        elif raw.shape[-1] == 3 and self.channels == 1:
            raw = tf.image.rgb_to_grayscale(raw)
        return self._fitted(raw)

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        """Pixels (batch, *input_shape) in [0, 255] -> float32 in [0, 1]."""
        return tf.cast(prepared, tf.float32) / 255.0

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        return self.finish(self.prepare(tf.convert_to_tensor(raw)))

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Class names (size,) -> indices (size,) int32."""
        return encoded(targets, self.classes)

    def to_config(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        lists = ("classes", "mean", "std")
        return cls(**{**config, **{name: tuple(config[name]) for name in lists if name in config}})

    def notes(self) -> dict[str, Any]:
        return {"input_shape": list(self.input_shape)}

    def _fitted(self, pixels: tf.Tensor) -> tf.Tensor:
        """One image or several, uint8, in the core's height and width."""
        size = (self.height, self.width)
        if pixels.shape[-3:-1] == size:
            return pixels
        shape = tf.cast(tf.shape(pixels)[-3:-1], tf.float32)
        if self.resize == "pad":
            resized = tf.image.resize_with_pad(pixels, *size, antialias=True)
        else:
            if self.resize == "crop":
                # The largest part in the middle that has the core's aspect ratio.
                scale = tf.reduce_min(shape / tf.constant(size, tf.float32))
                part = tf.cast(tf.round(scale * tf.constant(size, tf.float32)), tf.int32)
                offset = (tf.shape(pixels)[-3:-1] - part) // 2
                box = (*tf.unstack(offset), *tf.unstack(part))
                pixels = tf.image.crop_to_bounding_box(pixels, *box)
            resized = tf.image.resize(pixels, size, antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)


def inputs_at(
    positions: np.ndarray, split: Split, preprocessing: Preprocessing
) -> Iterator[np.ndarray]:
    """Inputs (some, height, width, channels) of these examples of a split, a few at a time.

    As a graph: image by image, as without one, would take some milliseconds each.
    """
    batches = tf.data.Dataset.from_tensor_slices(positions).batch(AT_ONCE)
    read = batches.map(
        lambda places: preprocessing(split.fetch(places)), num_parallel_calls=tf.data.AUTOTUNE
    )
    return read.prefetch(1).as_numpy_iterator()


def _channel_statistics(
    train: Split, preprocessing: Preprocessing
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1], of images spread over the split."""
    positions = np.unique(np.linspace(0, len(train) - 1, MOST_MEASURED).astype("int64"))
    pixels, sums, squares = 0, np.zeros(preprocessing.channels), np.zeros(preprocessing.channels)
    for inputs in inputs_at(positions, train, preprocessing):
        values = inputs.astype("float64")
        pixels += values[..., 0].size
        sums += values.sum(axis=(0, 1, 2))
        squares += np.square(values).sum(axis=(0, 1, 2))
    # Rounded: they are shown, and must not depend on the order in which a machine sums.
    mean = sums / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, LEAST_STD**2)).round(4)
    return tuple(map(float, mean.round(4))), tuple(map(float, std))


def augment(prepared: tf.Tensor, uniform: Uniform, config: Config) -> tf.Tensor:
    """Random variants of images (batch, h, w, c) in [0, 255], as float32.

    Each image is changed in its own way, which depends on what is drawn and nothing else.
    """
    data = config.data
    images = tf.cast(prepared, tf.float32)
    draws = tf.transpose(2.0 * uniform(8) - 1.0)  # (8, batch) in [-1, 1)
    if data.augment_shift or data.augment_rotation or data.augment_zoom or data.augment_flip:
        images = _moved(images, draws[:5], config)
    if data.augment_color:
        images = _recolored(images, 1.0 + data.augment_color * draws[5:])
    return images


def _moved(images: tf.Tensor, draws: tf.Tensor, config: Config) -> tf.Tensor:
    """Shift, rotate, zoom and flip about the middle, in one transformation."""
    data = config.data
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    angle = draws[0] * (data.augment_rotation * math.pi / 180.0)
    zoom = 1.0 + data.augment_zoom * draws[1]
    flip = tf.where(draws[2] < 0.0, -1.0, 1.0) if data.augment_flip else tf.ones_like(draws[2])
    shift_y = draws[3] * data.augment_shift * size[0]
    shift_x = draws[4] * data.augment_shift * size[1]
    if not (data.augment_rotation or data.augment_zoom):
        # By whole pixels: between them an image would be blurred for nothing.
        shift_y, shift_x = tf.round(shift_y), tf.round(shift_x)
    middle_y, middle_x = (size[0] - 1.0) / 2.0, (size[1] - 1.0) / 2.0
    # Rows of the matrix that gives, for a pixel of the result, its place in the image.
    a, b = tf.cos(angle) * zoom * flip, -tf.sin(angle) * zoom
    d, e = tf.sin(angle) * zoom * flip, tf.cos(angle) * zoom
    c = middle_x + shift_x - a * middle_x - b * middle_y
    f = middle_y + shift_y - d * middle_x - e * middle_y
    none = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, c, d, e, f, none, none], axis=1),  # (batch, 8)
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _recolored(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Change brightness, contrast and saturation by these factors (3, batch)."""
    brightness, contrast, saturation = (f[:, None, None, None] for f in tf.unstack(factors))
    images = images * brightness
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * contrast + mean
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    return tf.clip_by_value((images - grey) * saturation + grey, 0.0, 255.0)
