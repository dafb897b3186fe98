"""What configuration fields may name: each name with the place of what it stands for, as
``module:attribute`` of this package, the default first.

A place is imported when it is used, so that ``train --help`` needs no TensorFlow: this file imports
nothing of the package. A value may be the object itself, too.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "sasrec_transitions": "model:sasrec",
    "sasrec": "model:sasrec",
    "two_tower": "model:two_tower",
    "mf": "model:mf",
}

SOURCES: dict[str, Any] = {
    "shop": "data:generated_shop",
    "csv": "data:table",
    "parquet": "data:table",
    "sql": "data:sql",
    "movielens:latest-small": "data:movies",
    "movielens:100k": "data:movies",
    "movielens:1m": "data:movies",
}

LOSSES: dict[str, Any] = {
    "next_item": "objective:next_item",
}

# Measured on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "above_popularity": "objective:above_popularity",
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
