"""Models: from images (batch, height, width, channels) in [0, 1] to logits (batch, classes).

To add one, write a function like those here and add a line to ``MODELS`` in ``registry.py``;
another network of ``keras.applications`` is a ``TransferModel``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
from keras import layers

from .config import Config
from .engine.errors import DataProblem, ProjectError
from .engine.interfaces import Phase
from .engine.lookup import find
from .registry import MODELS

if TYPE_CHECKING:
    from .preprocessing import Preprocessing

HEAD = "logits"


def mlp(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """One hidden layer of 128 units: Rumelhart, Hinton & Williams, Nature 323, 1986."""
    # === Layers ===
    image = keras.Input(preprocessing.input_shape, name="image")
    x = layers.Flatten()(image)
    x = layers.Dense(128, activation="relu", name="hidden")(x)
    return keras.Model(image, _head(x, config, preprocessing), name="mlp")


def cnn(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Three convolutions and a dense layer, after LeNet: LeCun et al., Proc. IEEE 86(11), 1998."""
    # === Layers ===
    image = keras.Input(preprocessing.input_shape, name="image")
    x = _normalize(image, preprocessing)
    for number, filters in enumerate((32, 48, 64), start=1):
        name = f"conv_{number}"
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_uniform", name=name)(x)
        if number < 3 and min(x.shape[1:3]) >= 4:
            x = layers.MaxPooling2D(name=f"pool_{number}")(x)
        # After pooling: the same result from a quarter of the values.
        x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu", kernel_initializer="he_uniform", name="dense")(x)
    return keras.Model(image, _head(x, config, preprocessing), name="cnn")


def resnet(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """A residual network of nine layers for images of 28 to 64 pixels: He et al., CVPR 2016."""
    # === Layers ===
    image = keras.Input(preprocessing.input_shape, name="image")
    x = _normalize(image, preprocessing)
    x = layers.ReLU()(_conv_norm(x, 24, "stem"))
    # Few layers at high resolution: those cost most and see least.
    for number, (filters, residual) in enumerate(((48, True), (96, False), (128, True)), start=1):
        x = _conv_norm(x, filters, f"stage_{number}", pool=True)
        x = layers.ReLU()(x)
        if residual:
            x = _residual_block(x, f"stage_{number}")
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, _head(x, config, preprocessing), name="resnet")


@dataclass(frozen=True)
class TransferModel:
    """A network of ``keras.applications`` with a new head.

    Args:
        application: builds the network.
        preprocess_input: scales pixels in [0, 255] as the network expects them.
        image_size: height and width in pixels that it was trained on.
        min_size: smallest height and width in pixels that it takes.
    """

    application: Callable[..., keras.Model]
    preprocess_input: Callable
    image_size: int = 224
    min_size: int = 32

    def __call__(self, config: Config, preprocessing: Preprocessing) -> keras.Model:
        height, width, channels = preprocessing.input_shape
        # === Layers ===
        image = keras.Input(preprocessing.input_shape, name="image")
        x = image
        if channels == 1:
            x = layers.Concatenate(name="grey_to_colour")([x, x, x])
        if min(height, width) < self.min_size:
            height, width = max(height, self.min_size), max(width, self.min_size)
            x = layers.Resizing(height, width, name="enlarge")(x)
        x = self.preprocess_input(layers.Rescaling(255.0, name="pixels")(x))
        backbone = self._backbone(config.model.weights, (height, width, 3))
        # A pretrained network keeps its batch statistics, also in fine-tuning.
        x = backbone(x, training=False) if _is_pretrained(config) else backbone(x)
        x = layers.GlobalAveragePooling2D()(x)
        return keras.Model(image, _head(x, config, preprocessing), name=config.model.name)

    def _backbone(self, weights: str, shape: tuple[int, int, int]) -> keras.Model:
        own_file = None if weights in ("imagenet", "none") else weights
        try:
            backbone = self.application(
                include_top=False,
                weights="imagenet" if weights == "imagenet" else None,
                input_shape=shape,
            )
            if own_file:
                backbone.load_weights(own_file)
        except (ValueError, OSError) as error:
            if not own_file:
                raise
            reason = str(error).splitlines()[0]
            raise DataProblem(f"model.weights: {own_file!r} does not fit: {reason}") from None
        except Exception as error:
            if "URL fetch failure" not in str(error):
                raise
            raise ProjectError(
                "model.weights: 'imagenet' cannot be downloaded; the first use needs a network. Or "
                "set a .weights.h5 file, or none."
            ) from error
        return backbone


# Simonyan & Zisserman, ICLR 2015.
VGG16 = TransferModel(keras.applications.VGG16, keras.applications.vgg16.preprocess_input)
# Tan & Le, ICML 2021; it scales its inputs itself.
EFFICIENTNET_V2_B0 = TransferModel(keras.applications.EfficientNetV2B0, lambda pixels: pixels)

# Sharding of large weights (runtime.strategy model_parallel): a pattern of the weight's path -> the
# mesh axis of each of its axes. Other weights are replicated.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "hidden/kernel": (None, "model"),  # mlp: (pixels, units)
    "hidden/bias": ("model",),
    "dense/kernel": (None, "model"),  # cnn: (features, units)
    "dense/bias": ("model",),
    "conv_.*/kernel": (None, None, None, "model"),  # (height, width, channels, filters)
    "block.*_conv/kernel": (None, None, None, "model"),  # the largest of vgg16, efficientnet
}


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the configured model."""
    own_file = config.model.weights
    if _is_pretrained(config) and own_file != "imagenet" and not Path(own_file).is_file():
        raise DataProblem(f"model.weights: {own_file!r} is not a file, 'imagenet' or 'none'.")
    return find(MODELS, config.model.name)(config, preprocessing)


def phases(config: Config) -> list[Phase]:
    """Return the phases of training: for a pretrained network, its head and then fine-tuning."""
    full = Phase("all", config.train.epochs, config.train.learning_rate, _unfreeze(True))
    if not _is_pretrained(config):
        return [full]
    model = config.model
    frozen = Phase("frozen", config.train.epochs, config.train.learning_rate, _unfreeze(False))
    if model.fine_tune_epochs == 0:
        return [frozen]
    rate = model.fine_tune_learning_rate
    return [frozen, Phase("fine-tuning", model.fine_tune_epochs, rate, _unfreeze(True))]


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Map layers with weights for each class to the axis and the classes."""
    return {HEAD: (-1, preprocessing.classes)}


def default_image_size(config: Config) -> int:
    """Return the height and width in pixels that suit the configured model."""
    return getattr(find(MODELS, config.model.name), "image_size", 64)


def _is_pretrained(config: Config) -> bool:
    return (
        isinstance(find(MODELS, config.model.name), TransferModel)
        and config.model.weights != "none"
    )


def _unfreeze(value: bool) -> Callable[[keras.Model], None]:
    def prepare(network: keras.Model) -> None:
        for layer in network.layers:
            if isinstance(layer, keras.Model):  # the backbone
                layer.trainable = value

    return prepare


def _head(x, config: Config, preprocessing: Preprocessing):
    if config.model.dropout:
        x = layers.Dropout(config.model.dropout, seed=config.train.seed, name="dropout")(x)
    # float32 in any precision: a softmax over half-precision logits loses too much.
    return layers.Dense(len(preprocessing.classes), dtype="float32", name=HEAD)(x)


def _normalize(image, preprocessing: Preprocessing):
    """Scale each channel to mean 0 and standard deviation 1 over the training split."""
    variance = [std**2 for std in preprocessing.std]
    layer = layers.Normalization(mean=preprocessing.mean, variance=variance, name="normalization")
    return layer(image)


def _residual_block(x, name: str):
    """Add two convolutions of the input to it."""
    y = layers.ReLU()(_conv_norm(x, x.shape[-1], f"{name}_residual_1"))
    y = _conv_norm(y, x.shape[-1], f"{name}_residual_2")
    return layers.ReLU()(layers.Add()([x, y]))


def _conv_norm(x, filters: int, name: str, pool: bool = False):
    """Apply a convolution, max pooling where the image is large enough, and normalization."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{name}")(x)
    if pool and min(x.shape[1:3]) >= 4:
        x = layers.MaxPooling2D(name=f"pool_{name}")(x)
    # Keras's momentum of 0.99 would keep the initial statistics for some thousand steps.
    return layers.BatchNormalization(momentum=0.9, name=f"norm_{name}")(x)
