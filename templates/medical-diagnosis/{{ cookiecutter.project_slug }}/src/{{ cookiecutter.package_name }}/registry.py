"""What configuration fields may name: each name with the place of what it stands for, as
``module:attribute`` of this package, the default first.

A place is imported when it is used, so that ``train --help`` needs no TensorFlow: this file imports
nothing of the package. A value may be the object itself, too.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "ensemble": "model:wide_deep",
    "wide_deep": "model:wide_deep",
    "mlp": "model:mlp",
    "logistic": "model:logistic",
}

SOURCES: dict[str, Any] = {
    "breast_cancer": "data:breast_cancer",
    "cohort": "data:synthetic_cohort",
    "csv": "data:table",
    "parquet": "data:table",
    "sql": "data:sql",
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
COMMANDS: dict[str, tuple[str, str, str]] = {
    "cross-validate": (
        "commands.cross_validate",
        "Models",
        "train and test on each fold in turn",
    ),
}
