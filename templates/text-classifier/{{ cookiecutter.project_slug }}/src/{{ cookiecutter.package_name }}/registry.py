"""Names that configuration fields may have, each with its object: the default first.

An object is given as ``module:attribute`` of this package and imported on first use, so that
``train --help`` needs no TensorFlow; it may also be the object itself.
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
    "tickets": "data:ticket_rows",
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

# Computed on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "accuracy": "objective:accuracy",
}

# None: no function of a text alone; see ``tokens.py``.
TOKENIZERS: dict[str, Any] = {
    "auto": None,
    "word": "tokens:split_words",
    "character": "tokens:split_characters",
    "character_ngram": "tokens:split_character_ngrams",
    "subword": None,
    "preset": None,
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
