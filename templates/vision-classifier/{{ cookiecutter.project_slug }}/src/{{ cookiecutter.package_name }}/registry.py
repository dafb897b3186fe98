"""What configuration fields may name: each name with the place of what it stands for, as
``module:attribute`` of this package, the default first.

A place is imported when it is used, so that ``train --help`` needs no TensorFlow: this file imports
nothing of the package. A value may be the object itself, too.
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

# Measured on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "accuracy": "objective:accuracy",
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
