"""Names that configuration fields may have, each with its object: the default first.

An object is given as ``module:attribute`` of this package and imported on first use, so that
``train --help`` needs no TensorFlow; it may also be the object itself.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "cnn": "model:cnn",
    "mlp": "model:mlp",
    "resnet": "model:resnet",
    "vgg16": "model:VGG16",
    "efficientnetv2b0": "model:EFFICIENTNET_V2_B0",
}

SOURCES: dict[str, Any] = {
    "digits": "data:digits",
    "folder": "data:folder",
    "csv": "data:csv_manifest",
    "keras:mnist": "data:mnist",
    "keras:fashion_mnist": "data:fashion_mnist",
    "keras:cifar10": "data:cifar10",
    "keras:cifar100": "data:cifar100",
    "tfds:*": "data:tfds",
}

LOSSES: dict[str, Any] = {
    "cross_entropy": "objective:cross_entropy",
    "focal": "objective:focal",
}

# Computed on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "accuracy": "objective:accuracy",
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
