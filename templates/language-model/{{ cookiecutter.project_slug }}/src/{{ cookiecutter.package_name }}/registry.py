"""Names that configuration fields may have, each with its object: the default first.

An object is given as ``module:attribute`` of this package and imported on first use, so that
``train --help`` needs no TensorFlow; it may also be the object itself.
"""

from typing import Any

MODELS: dict[str, Any] = {
    "gpt": "model:gpt",
    "gpt2": "model:gpt2",
    "preset": "model:preset",
}

SOURCES: dict[str, Any] = {
    "python_docs": "data:python_docs",
    "text": "data:texts",
    "jsonl": "data:rows",
    "parquet": "data:rows",
    "hf:*": "data:hugging_face",
}

# next_token also trains on chats, of which only the answers count; dpo needs preference pairs.
LOSSES: dict[str, Any] = {
    "next_token": "objective:next_token",
    "dpo": "objective:dpo",
}

# Computed on the training and validation split in every epoch.
METRICS: dict[str, Any] = {
    "accuracy": "objective:accuracy",
}

# None: no function of a text alone; see ``tokens.py``.
TOKENIZERS: dict[str, Any] = {
    "auto": None,
    "character": "tokens:fit_characters",
    "byte": "tokens:fit_bytes",
    "subword": "tokens:fit_subwords",
    "preset": None,
}

# Keras callbacks that every training calls; see engine/callbacks.py.
CALLBACKS: dict[str, Any] = {}

# Commands of this project besides the engine's: name -> (module, heading, line of the help).
COMMANDS: dict[str, tuple[str, str, str]] = {}
