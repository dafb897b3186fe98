"""Models by name. Each takes images (batch, height, width, channels) in [0, 1] and gives logits.

To add one, write a function as those here and add a line to ``MODELS`` in ``registry.py``; another
network of ``keras.applications`` is a ``Transfer``.
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
from .engine.interfaces import DatasetSplits, Phase
from .engine.lookup import find
from .registry import MODELS

if TYPE_CHECKING:
    from .engine.artifact import Artifact
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
    x = _standardized(image, preprocessing)
    for number, filters in enumerate((32, 48, 64), start=1):
        name = f"conv_{number}"
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_uniform", name=name)(x)
        if number < 3 and min(x.shape[1:3]) >= 4:
            x = layers.MaxPooling2D(name=f"pool_{number}")(x)
        # After pooling, which gives the same on a quarter of the values.
        x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu", kernel_initializer="he_uniform", name="dense")(x)
    return keras.Model(image, _head(x, config, preprocessing), name="cnn")


def resnet(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """A residual network of nine layers for images of 28 to 64 pixels: He et al., CVPR 2016."""
    # === Layers ===
    image = keras.Input(preprocessing.input_shape, name="image")
    x = _standardized(image, preprocessing)
    x = layers.ReLU()(_convolved(x, 24, "stem"))
    # Few of the layers work on many pixels: those cost most and see least.
    for number, (filters, residual) in enumerate(((48, True), (96, False), (128, True)), start=1):
        x = _convolved(x, filters, f"stage_{number}", pool=True)
        x = layers.ReLU()(x)
        if residual:
            x = _residual(x, f"stage_{number}")
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, _head(x, config, preprocessing), name="resnet")


@dataclass(frozen=True)
class Transfer:
    """A network of ``keras.applications`` with a new head.

    Args:
        application: builds the network.
        scale: pixels in [0, 255] -> what the network was trained on.
        image_size: pixels that it was trained on.
        smallest: pixels below which it cannot be built.
    """

    application: Callable[..., keras.Model]
    scale: Callable
    image_size: int = 224
    smallest: int = 32

    def __call__(self, config: Config, preprocessing: Preprocessing) -> keras.Model:
        height, width, channels = preprocessing.input_shape
        # === Layers ===
        image = keras.Input(preprocessing.input_shape, name="image")
        x = image
        if channels == 1:
            x = layers.Concatenate(name="grey_to_colour")([x, x, x])
        if min(height, width) < self.smallest:
            height, width = max(height, self.smallest), max(width, self.smallest)
            x = layers.Resizing(height, width, name="enlarge")(x)
        x = self.scale(layers.Rescaling(255.0, name="pixels")(x))
        backbone = self._backbone(config.model.weights, (height, width, 3))
        # A pretrained network keeps its normalisation statistics, fine-tuned or not.
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
                "model.weights: 'imagenet' cannot be downloaded; it needs a network once. Or name "
                "a .weights.h5 file, or none."
            ) from error
        return backbone


# Simonyan & Zisserman, ICLR 2015.
VGG16 = Transfer(keras.applications.VGG16, keras.applications.vgg16.preprocess_input)
# Tan & Le, ICML 2021; it scales its inputs itself.
EFFICIENTNET_V2_B0 = Transfer(keras.applications.EfficientNetV2B0, lambda pixels: pixels)

# How large weights are divided among devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> an entry for each axis. Weights without a line are whole on every device.
LAYOUT: dict[str, tuple[str | None, ...]] = {
    "hidden/kernel": (None, "model"),  # mlp: (pixels, units)
    "hidden/bias": ("model",),
    "dense/kernel": (None, "model"),  # cnn: (features, units)
    "dense/bias": ("model",),
    "conv_.*/kernel": (None, None, None, "model"),  # (height, width, channels, filters)
    "block.*_conv/kernel": (None, None, None, "model"),  # the largest of vgg16, efficientnet
}

# Weights that ``build`` computes from the data: patterns of their paths. ``train.init_from`` leaves
# them as they were built.
FITTED: tuple[str, ...] = ()


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """The configured model."""
    own_file = config.model.weights
    if _is_pretrained(config) and own_file != "imagenet" and not Path(own_file).is_file():
        raise DataProblem(f"model.weights: {own_file!r} is not a file, 'imagenet' or 'none'.")
    return find(MODELS, config.model.name)(config, preprocessing)


def phases(config: Config) -> list[Phase]:
    """Pretrained networks: the head alone, then all with a lower rate. Others: one phase."""
    whole = Phase("all", config.train.epochs, config.train.learning_rate, _trainable(True))
    if not _is_pretrained(config):
        return [whole]
    model = config.model
    frozen = Phase("frozen", config.train.epochs, config.train.learning_rate, _trainable(False))
    if model.fine_tune_epochs == 0:
        return [frozen]
    rate = model.fine_tune_learning_rate
    return [frozen, Phase("fine-tuning", model.fine_tune_epochs, rate, _trainable(True))]


def settle(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """Nothing is left to choose."""
    return trained


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Layers whose weights have an entry for each class: name -> (axis, classes)."""
    return {HEAD: (-1, preprocessing.classes)}


def preferred_size(config: Config) -> int:
    """Pixels that the configured model sees best."""
    return getattr(find(MODELS, config.model.name), "image_size", 64)


def _is_pretrained(config: Config) -> bool:
    return isinstance(find(MODELS, config.model.name), Transfer) and config.model.weights != "none"


def _trainable(value: bool) -> Callable[[keras.Model], None]:
    def prepare(core: keras.Model) -> None:
        for layer in core.layers:
            if isinstance(layer, keras.Model):  # the backbone
                layer.trainable = value

    return prepare


def _head(x, config: Config, preprocessing: Preprocessing):
    if config.model.dropout:
        x = layers.Dropout(config.model.dropout, seed=config.train.seed, name="dropout")(x)
    # float32 whatever the precision: a softmax over half-precision logits loses too much.
    return layers.Dense(len(preprocessing.classes), dtype="float32", name=HEAD)(x)


def _standardized(image, preprocessing: Preprocessing):
    """Pixels whose channels have mean 0 and deviation 1 over the training split."""
    variance = [std**2 for std in preprocessing.std]
    return layers.Normalization(mean=preprocessing.mean, variance=variance, name="standard")(image)


def _residual(x, name: str):
    """Two convolutions; add what came in."""
    y = layers.ReLU()(_convolved(x, x.shape[-1], f"{name}_residual_1"))
    y = _convolved(y, x.shape[-1], f"{name}_residual_2")
    return layers.ReLU()(layers.Add()([x, y]))


def _convolved(x, filters: int, name: str, pool: bool = False):
    """A convolution, half the size where there is enough of it, and normalisation."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{name}")(x)
    if pool and min(x.shape[1:3]) >= 4:
        x = layers.MaxPooling2D(name=f"pool_{name}")(x)
    # Keras's momentum of 0.99 takes some thousand steps to forget how the network began.
    return layers.BatchNormalization(momentum=0.9, name=f"norm_{name}")(x)
