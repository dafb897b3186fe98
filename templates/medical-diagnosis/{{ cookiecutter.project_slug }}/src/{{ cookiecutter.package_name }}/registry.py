"""Names that configuration fields may have, each with ``module:attribute`` in this package.

The first name of a table is the default. Modules are imported when they are used, so this file
imports nothing of the package and ``train --help`` needs no TensorFlow. A value may also be the
object itself.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "ensemble": "model:wide_deep",
    "wide_deep": "model:wide_deep",
    "mlp": "model:mlp",
    "logistic": "model:logistic",
}

SOURCES: dict[str, Any] = {
    "breast_cancer": "data:load_breast_cancer",
    "cohort": "data:load_cohort",
    "csv": "data:load_table",
    "parquet": "data:load_table",
    "sql": "data:load_sql",
}

LOSSES: dict[str, Any] = {
    "cross_entropy": "objective:cross_entropy",
    "focal": "objective:focal",
}

# Computed on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "accuracy": "objective:accuracy",
}

# Keras callbacks that every run calls, see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, help line).
COMMANDS: dict[str, tuple[str, str, str]] = {
    "cross-validate": (
        "commands.cross_validate",
        "Models",
        "train and test on each fold in turn",
    ),
}
