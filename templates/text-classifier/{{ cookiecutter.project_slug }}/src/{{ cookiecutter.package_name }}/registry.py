"""What configuration fields may name: each name with the place of what it stands for, as
``module:attribute`` of this package, the default first.

A place is imported when it is used, so that ``train --help`` needs no TensorFlow: this file imports
nothing of the package. A value may be the object itself, too.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "bag_cnn": "model:bag_cnn",
    "bag": "model:bag",
    "cnn": "model:cnn",
    "bilstm": "model:bilstm",
    "transformer": "model:transformer",
    "bert": "model:BERT",
    "bert_tiny": "model:BERT_TINY",
    "bert_multilingual": "model:BERT_MULTILINGUAL",
    "preset": "model:PRESET",
}

SOURCES: dict[str, Any] = {
    "tickets": "data:generated_tickets",
    "csv": "data:table",
    "tsv": "data:table",
    "jsonl": "data:table",
    "parquet": "data:table",
    "folder": "data:folder",
    "keras:imdb": "data:imdb",
    "keras:reuters": "data:reuters",
    "tfds:*": "data:tfds",
    "hf:*": "data:hugging_face",
}

LOSSES: dict[str, Any] = {
    "cross_entropy": "objective:cross_entropy",
    "focal": "objective:focal",
}

# Measured on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "accuracy": "objective:accuracy",
}

# None: not a function of a text alone; see ``tokens.py``.
TOKENS: dict[str, Any] = {
    "auto": None,
    "word": "tokens:words",
    "character": "tokens:characters",
    "character_ngram": "tokens:character_ngrams",
    "subword": None,
    "preset": None,
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
