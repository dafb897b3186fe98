"""Names that configuration fields may have, each with the ``module:attribute`` of this package that
it stands for, the default first.

Modules are imported when they are used, so that ``train --help`` starts without TensorFlow: import
nothing of the package here. A value may also be the object itself.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "sasrec_transitions": "model:sasrec",
    "sasrec": "model:sasrec",
    "two_tower": "model:two_tower",
    "mf": "model:mf",
}

SOURCES: dict[str, Any] = {
    "shop": "data:load_shop",
    "csv": "data:load_table",
    "parquet": "data:load_table",
    "sql": "data:load_sql",
    "movielens:latest-small": "data:load_movielens",
    "movielens:100k": "data:load_movielens",
    "movielens:1m": "data:load_movielens",
}

LOSSES: dict[str, Any] = {
    "next_item": "objective:next_item",
}

# Measured on the training and validation splits in every epoch.
METRICS: dict[str, Any] = {
    "above_popularity": "objective:above_popularity",
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
