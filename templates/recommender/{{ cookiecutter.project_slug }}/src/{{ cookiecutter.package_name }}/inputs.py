"""Requests to a served model: a user and a history of items, the oldest first."""

from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .engine.interfaces import DatasetSplits, Split
from .preprocessing import Preprocessing

SEPARATOR = "|"  # between the items of a history


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Describe the columns of a request and its answer in MLflow's format."""
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
    """Return a request by a new user with the first items of the catalogue."""
    history = SEPARATOR.join(preprocessing.items[:2])
    return pd.DataFrame({"user": ["new user"], "history": [history]})


def from_frame(frame: pd.DataFrame, preprocessing: Preprocessing) -> dict[str, tf.Tensor]:
    """Convert the rows of a request to raw inputs of the preprocessing.

    Args:
        frame: columns ``user`` and ``history`` (batch,), see ``signature``; ids may be unknown.
    """
    rows = [[part for part in str(text).split(SEPARATOR) if part] for text in frame["history"]]
    return build_raw_inputs([str(user) for user in frame["user"]], rows)


def build_raw_inputs(users: list[str], histories: list[list[str]]) -> dict[str, tf.Tensor]:
    """Pad histories to the raw inputs of the preprocessing, without targets.

    Args:
        users: (batch,) ids.
        histories: (batch,) lists of item ids, the oldest first.

    Returns:
        ``user`` (batch,) and ``history`` (batch, longest) string, '' behind the items;
        ``next_items`` and ``weights`` (batch, 1) empty.
    """
    longest = max(1, *map(len, histories))
    padded = np.full((len(users), longest), "", dtype=object)  # (batch, longest)
    for row, history in zip(padded, histories, strict=True):
        row[: len(history)] = history
    return {
        "user": tf.constant(users, tf.string),
        "history": tf.constant(padded, tf.string),
        "next_items": tf.fill([len(users), 1], ""),
        "weights": tf.zeros([len(users), 1]),
    }


def make_split(users: list[str], histories: list[list[str]]) -> Split:
    """Return requests, see ``build_raw_inputs``, as a split without targets."""
    raw = build_raw_inputs(users, histories)

    def fetch(positions: Any) -> dict[str, tf.Tensor]:
        return {name: tf.gather(part, positions) for name, part in raw.items()}

    return Split(np.array(users, dtype=object), np.array([]), fetch)
