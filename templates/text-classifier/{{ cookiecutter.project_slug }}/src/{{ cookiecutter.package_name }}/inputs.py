"""Inputs of ``predict`` and of a served model: texts."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .datasets.rows import read_texts
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Split
from .engine.tables import iterate_parts
from .preprocessing import Preprocessing, texts_of

# A request is a row with a text; a response has a class and scores.


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
        yield _split(part)
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


def from_frame(frame: pd.DataFrame, preprocessing: Preprocessing) -> tf.Tensor:
    """Convert the rows of a request to texts (batch,) string.

    Args:
        frame: with the column ``text``, see ``signature``.
    """
    return tf.constant([str(text) for text in frame["text"]], tf.string)


def _split(rows: list[tuple[str, str]]) -> Split:
    ids, texts = zip(*rows, strict=True)
    constant = tf.constant([text.encode("utf-8", "replace") for text in texts])
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
