"""What a request to a served model looks like: a user and what they had, the oldest first."""

from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .engine.interfaces import DatasetSplits
from .preprocessing import Preprocessing

SEPARATOR = "|"  # between the items of a history


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Columns of a request and of its answer, as MLflow names them."""
    return {
        "inputs": [
            {"name": "user", "type": "string", "required": True},
            {"name": "history", "type": "string", "required": True},
        ],
        "outputs": [
            {"name": "prediction", "type": "string", "required": True},
            {"name": "scores", "type": "map", "values": {"type": "double"}, "required": True},
        ],
    }


def example(data: DatasetSplits, preprocessing: Preprocessing) -> pd.DataFrame:
    """A request with made-up ids of the first items of the catalogue."""
    history = SEPARATOR.join(preprocessing.items[:2])
    return pd.DataFrame({"user": ["somebody new"], "history": [history]})


def from_frame(frame: pd.DataFrame, preprocessing: Preprocessing) -> dict[str, tf.Tensor]:
    """Rows of a request -> what the preprocessing takes."""
    rows = [[part for part in str(text).split(SEPARATOR) if part] for text in frame["history"]]
    return raw([str(user) for user in frame["user"]], rows)


def raw(users: list[str], histories: list[list[str]]) -> dict[str, tf.Tensor]:
    """Users and what they had -> what the preprocessing takes."""
    longest = max(1, *map(len, histories))
    known = np.full((len(users), longest), "", dtype=object)
    for row, history in zip(known, histories, strict=True):
        row[: len(history)] = history
    return {
        "user": tf.constant(users, tf.string),
        "known": tf.constant(known, tf.string),
        "next": tf.fill([len(users), 1], ""),
        "weights": tf.zeros([len(users), 1]),
    }
