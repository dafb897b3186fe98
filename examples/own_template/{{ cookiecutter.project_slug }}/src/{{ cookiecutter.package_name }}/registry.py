"""Names that configuration fields may have, each with the ``module:attribute`` of this package that
it stands for, the default first.

Modules are imported when they are used, so that ``train --help`` starts without TensorFlow: import
nothing of the package here. A value may also be the object itself.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "linear_network": "model:linear_network",
    "network": "model:network",
}

SOURCES: dict[str, Any] = {
    "cafes": "data:load_cafes",
    "csv": "data:load_csv",
}

LOSSES: dict[str, Any] = {
    "absolute": "objective:absolute",
}

# Measured on the training and validation splits in every epoch.
METRICS: dict[str, Any] = {
    "within_tenth": "objective:within_tenth",
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
