"""Inputs of ``predict`` and of a served model: texts."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .datasets.rows import read_texts
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Requests, Split
from .engine.requests import check_fields, read_each
from .engine.tables import iterate_parts
from .preprocessing import Preprocessing, texts_of
from .tokens import MAX_CHARACTERS

# A request is a row with a text; a response has a class and scores.

EXAMPLE = "The parcel arrived two days late, and nobody answers my messages. Where is my refund?"


def read(words: list[str], config: Config, size: int) -> Iterator[Split]:
    """Yield texts in batches.

    Args:
        words: files (tables, or a text per line), ``-`` for standard input (a text per line), or
            texts themselves.
        config: the configuration.
        size: texts of a batch.

    Raises:
        DataProblem: a file cannot be read, or there is no text.
    """
    # All files are read once before the first prediction: an unreadable one stops it all.
    for word in words:
        if _is_file(word):
            for _ in _texts(word, config):
                pass
    empty = True
    for part in iterate_parts((row for word in words for row in _texts(word, config)), size):
        empty = False
        yield _split(*zip(*part, strict=True))
    if empty:
        raise DataProblem(f"input: there are no texts in {', '.join(map(repr, words))}.")


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the columns of a request and of its response, as MLflow's signature lists them."""
    return {
        "inputs": [{"name": "text", "type": "string", "required": True}],
        "outputs": [
            {"name": "prediction", "type": "string", "required": True},
            {"name": "scores", "type": "map", "values": {"type": "double"}, "required": True},
        ],
    }


def example(data: DatasetSplits, preprocessing: Preprocessing) -> pd.DataFrame:
    """Return a request with the first training text: one row with the column ``text``."""
    return pd.DataFrame({"text": [next(texts_of(data.train, np.array([0])))]})


def request_schema(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the JSON Schema of a row: a text."""
    return {
        "type": "object",
        "title": "Text",
        "properties": {
            "text": {
                "type": "string",
                "title": "Text",
                "description": f"At most {MAX_CHARACTERS:,} characters; the first "
                f"{preprocessing.sequence_length} tokens count.",
                "contentMediaType": "text/plain",
                "minLength": 1,
                "maxLength": MAX_CHARACTERS,
            }
        },
        "required": ["text"],
        "additionalProperties": False,
        "examples": [{"text": EXAMPLE}],
    }


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, config: Config | None
) -> Requests:
    """Read the texts of rows; one that is empty or too long is a problem.

    Args:
        rows: each with a ``text``.
        preprocessing: of the model.
        config: part of the engine's interface.
    """

    def read_row(row: Mapping[str, Any]) -> str:
        check_fields(row, ("text",), required=("text",))
        text = row["text"]
        if not isinstance(text, str):
            raise DataProblem("text: it must be a text.")
        if not text.strip():
            raise DataProblem("text: it is empty.")
        if len(text) > MAX_CHARACTERS:
            length = f"{len(text):,} characters"
            raise DataProblem(f"text: {length}, more than the {MAX_CHARACTERS:,} allowed.")
        return text

    return read_each(rows, read_row, _split)


def _split(ids: Sequence[str] | np.ndarray, texts: Sequence[str]) -> Split:
    """Return texts as a split; what is not Unicode in them becomes a question mark."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    constant = tf.constant(encoded, tf.string, shape=(len(encoded),))
    return Split(np.array(ids, dtype=object), np.array([]), lambda i: tf.gather(constant, i))


def _texts(word: str, config: Config) -> Iterator[tuple[str, str]]:
    if word == "-":
        for number, line in enumerate(sys.stdin, start=1):
            yield str(number), line.rstrip("\n")
    elif _is_file(word):
        yield from read_texts(Path(word), config.data)
    else:
        yield word or "(empty)", word


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # longer than a file name may be, or with a NUL byte
        return False
