"""Requests to a served model: a user and a history of items, the oldest first."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .data import load_histories
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import DatasetSplits, Requests, Split
from .engine.requests import check_fields, read_each, shorten
from .preprocessing import Preprocessing
from .ranking import MAX_RECOMMENDATIONS

log = logging.getLogger(__package__)

SEPARATOR = "|"  # between the items of a history
FIELDS = ("user", "history", "only", "top_k")
TOP_K = 10  # recommendations, unless a row says otherwise
MAX_ITEMS = 10_000  # of a list in a request
NO_USER = "(history)"  # the user of a row that has none


class Row(NamedTuple):
    """A request that is right."""

    user: str
    history: list[str]
    only: list[str]
    top_k: int


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


def request_schema(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the JSON Schema of a row: a user, a history, or both."""
    users, items = list(preprocessing.users[:3]), list(preprocessing.items[:3])
    item_list = {"type": "array", "items": {"type": "string"}, "x-separator": SEPARATOR}
    return {
        "type": "object",
        "title": "User or history",
        "description": "A known user, a history of items, or both.",
        "properties": {
            "user": {
                "type": "string",
                "title": "User",
                "description": "A known user; without a history it is looked up.",
                "examples": users,
            },
            "history": {
                **item_list,
                "title": "History",
                "description": "Items, the oldest first; an empty list for a new user.",
                "maxItems": MAX_ITEMS,
                "examples": [items[:2]],
            },
            "only": {
                **item_list,
                "title": "Only these",
                "description": "Items to choose from; all if there are none.",
                "maxItems": MAX_ITEMS,
                "examples": [items],
            },
            "top_k": {
                "type": "integer",
                "title": "Number of recommendations",
                "minimum": 1,
                "maximum": MAX_RECOMMENDATIONS,
                "default": TOP_K,
            },
        },
        "required": [],
        "additionalProperties": False,
        "examples": [{"user": users[0]}, {"history": items[:2]}],
    }


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, config: Config | None
) -> Requests:
    """Read users and histories; a user without a history has that of the model's source.

    Items outside the catalogue are passed over, as it is older than the histories, unless nothing
    else is known of a row.

    Args:
        rows: see ``request_schema``; lists may also be texts with ``SEPARATOR``.
        preprocessing: of the model.
        config: of the model's run; None: a user without a history has an empty one.
    """

    def read_row(row: Mapping[str, Any]) -> Row:
        check_fields(row, FIELDS)
        user, history = _read_user(row), _read_items(row, "history")
        if user is None and history is None:
            raise DataProblem("user: give a user, a history, or both.")
        known = user in preprocessing.known_users
        if history is None:
            history = [] if config is None else _find_history(user, config)
            if not history and not known:
                raise DataProblem(
                    "user: it is unknown; a new user needs a history, or an empty one."
                )
        if history and not known and not preprocessing.known_items.intersection(history):
            raise DataProblem("history: none of its items is in the catalogue.")
        only = _read_items(row, "only") or []
        for item in only:
            if item not in preprocessing.known_items:
                raise DataProblem(f"only: {shorten(item)!r} is not in the catalogue.")
        return Row(user or NO_USER, history, only, _read_top_k(row))

    def make_row_split(ids: np.ndarray, values: list[Row]) -> Split:
        raw = build_raw_inputs([row.user for row in values], [row.history for row in values])
        only, top_k = _pad([row.only for row in values]), [row.top_k for row in values]
        raw |= {"only": tf.constant(only, tf.string), "top_k": tf.constant(top_k, tf.int32)}
        return _split(ids, raw)

    return read_each(rows, read_row, make_row_split)


def _read_user(row: Mapping[str, Any]) -> str | None:
    user = row.get("user")
    if user is None or user == "":
        return None
    if not _is_id(user):
        raise DataProblem("user: it must be an id.")
    return _as_text(user)


def _find_history(user: str | None, config: Config) -> list[str]:
    assert user is not None, "a row has a user or a history"
    try:
        return load_histories(config).find(user)
    except (DataProblem, UsageProblem) as error:
        # Told to those who run the service, not to whoever asks: it may name a path.
        log.warning("The histories of users cannot be read: %s", error)
        raise DataProblem("user: histories of users are not at hand; send the history.") from None


def _read_items(row: Mapping[str, Any], name: str) -> list[str] | None:
    """Return the ids of a field, None if it is not there."""
    value = row.get(name)
    if value is None:
        return None
    items = value.split(SEPARATOR) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(map(_is_id, items)):
        raise DataProblem(f"{name}: it must be a list of ids.")
    if len(items) > MAX_ITEMS:
        raise DataProblem(f"{name}: {len(items):,} items, more than the {MAX_ITEMS:,} allowed.")
    return [text for text in map(_as_text, items) if text]


def _read_top_k(row: Mapping[str, Any]) -> int:
    value = row.get("top_k")
    if value is None:
        return TOP_K
    try:
        count = int(value) if _is_id(value) else 0
    except ValueError:
        count = 0
    if not 1 <= count <= MAX_RECOMMENDATIONS:
        raise DataProblem(f"top_k: it must be a whole number from 1 to {MAX_RECOMMENDATIONS}.")
    return count


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _as_text(value: str | int) -> str:
    return str(value).strip().encode("utf-8", "replace").decode()


def build_raw_inputs(users: list[str], histories: list[list[str]]) -> dict[str, tf.Tensor]:
    """Pad histories to the raw inputs of the preprocessing, without targets.

    Args:
        users: (batch,) ids.
        histories: (batch,) lists of item ids, the oldest first.

    Returns:
        ``user`` (batch,) and ``history`` (batch, longest) string, '' behind the items;
        ``next_items`` and ``weights`` (batch, 1) empty.
    """
    return {
        "user": tf.constant(users, tf.string, shape=(len(users),)),
        "history": tf.constant(_pad(histories), tf.string),
        "next_items": tf.fill([len(users), 1], ""),
        "weights": tf.zeros([len(users), 1]),
    }


def make_split(users: list[str], histories: list[list[str]]) -> Split:
    """Return requests, see ``build_raw_inputs``, as a split without targets."""
    return _split(np.array(users, dtype=object), build_raw_inputs(users, histories))


def _split(ids: np.ndarray, raw: dict[str, tf.Tensor]) -> Split:
    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.gather(part, positions) for name, part in raw.items()}

    return Split(ids, np.array([]), fetch)


def _pad(lists: list[list[str]]) -> np.ndarray:
    """Return lists of ids as (batch, longest) object, '' behind the ids."""
    longest = max([1, *map(len, lists)])
    padded = np.full((len(lists), longest), "", dtype=object)
    for row, ids in zip(padded, lists, strict=True):
        row[: len(ids)] = ids
    return padded
