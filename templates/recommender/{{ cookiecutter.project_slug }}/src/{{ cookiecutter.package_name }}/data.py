"""Load interactions from a source and split them into training, validation and test.

A source takes the ``data`` fields and returns ``SourceData``. To add one, write such a function and
add a line to ``SOURCES`` in ``registry.py``.
"""

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config, DataConfig
from .datasets import movielens, shop
from .datasets.events import InteractionReader, read_features
from .datasets.frames import read_database, read_file
from .datasets.interactions import (
    HoldOut,
    Interactions,
    SplitPositions,
    find_duplicates,
    find_first_interactions,
    k_core,
    select,
    sort_interactions,
    split_interactions,
)
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Preprocessing, Split
from .engine.lookup import find
from .registry import SOURCES

DAY = 86_400
# Times whose median lies between then and now are dates, and may not lie in the future.
EARLIEST_DATE = 631_152_000  # 1990, in seconds
UNITS_PER_SECOND = (1, 10**3, 10**6, 10**9)
MAX_SOURCES = 8  # whose histories stay in memory, as a service may have several models


@dataclass(frozen=True)
class FeatureTable:
    """Features by id: ids (size,) and columns (size,) of text, '' where a value is missing."""

    ids: np.ndarray
    columns: dict[str, np.ndarray]

    def strings(self) -> Iterator[str]:
        """Yield all ids, names and values, for a digest."""
        yield from self.ids
        for name, values in self.columns.items():
            yield name
            yield from values

    def lookup(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of the given ids (size,); '' for unknown ids."""
        index = {name: i for i, name in enumerate(self.ids)}
        rows = [index.get(name, -1) for name in ids]
        return {
            name: np.array([values[row] if row >= 0 else "" for row in rows], dtype=object)
            for name, values in self.columns.items()
        }


class FeatureTables(TypedDict, total=False):
    """Features of both sides, as keyword arguments."""

    user_features: FeatureTable | None
    item_features: FeatureTable | None


@dataclass(frozen=True)
class SourceData:
    """What a source returns.

    Attributes:
        unreadable: ``(row, reason)`` of the rows that cannot be used.
        best_rank: (interactions,) rank of each item under the known process of synthetic data, see
            ``shop.py``; None for real data.
        notes: further facts for the summary.
    """

    interactions: Interactions
    unreadable: tuple[tuple[str, str], ...] = ()
    user_features: FeatureTable | None = None
    item_features: FeatureTable | None = None
    best_rank: np.ndarray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Histories(Split):
    """A split whose examples are the history of a user and the targets that follow.

    ``fetch`` returns ``user`` (batch,), the ids ``history`` (batch, …) and ``next_items``
    (batch, …), the oldest first with '' as padding behind them, and ``weights`` (batch, …) of the
    next items, 0 where there is no target. ``targets`` holds tuples of target ids (size,); for
    training the number of targets (size,).

    Attributes:
        interactions: all interactions, of all splits.
        history_starts: (size,) position of the history's first interaction.
        target_starts: (size,) position of the first target; the history ends before it.
        ends: (size,) position after the last target.
    """

    interactions: Interactions
    history_starts: np.ndarray
    target_starts: np.ndarray
    ends: np.ndarray
    user_features: FeatureTable | None = None
    item_features: FeatureTable | None = None

    @property
    def target_positions(self) -> np.ndarray:
        """Positions (targets,) of all targets, whatever their weight."""
        counts = self.ends - self.target_starts
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.target_starts, counts) + offsets


def as_histories(split: Split) -> Histories:
    """Return a split that ``load`` made by its own type; the engine passes it on as a ``Split``.

    Raises:
        TypeError: it is another kind of split.
    """
    if not isinstance(split, Histories):
        raise TypeError(f"expected Histories, as data.load returns them, not {type(split)}")
    return split


# === Sources ===


@cache
def _generate_shop() -> shop.Shop:
    return shop.generate()


def load_shop(data: DataConfig) -> SourceData:
    """A synthetic shop of 4,000 shoppers, with the best reachable metrics."""
    generated = _generate_shop()
    num_users = generated.users.max() + 1
    user_ids = np.array([f"u{n:04d}" for n in range(num_users)], dtype=object)
    item_ids = np.array([f"i{n:03d}" for n in range(shop.ITEMS)], dtype=object)
    times, weights = generated.days * DAY, np.ones(len(generated.users))
    return SourceData(
        sort_interactions(generated.users, generated.items, times, weights, user_ids, item_ids),
        user_features=FeatureTable(user_ids, generated.user_features),
        item_features=FeatureTable(item_ids, generated.item_features),
        best_rank=generated.best_rank,
    )


def load_table(data: DataConfig) -> SourceData:
    """A csv or parquet file with a row for each interaction."""
    return _read(read_file(data), data.path or data.source, data)


def load_sql(data: DataConfig) -> SourceData:
    """The result of ``data.query`` on the database at ``data.path`` (an SQLAlchemy address)."""
    return _read(read_database(data), "data.query", data)


def load_movielens(data: DataConfig) -> SourceData:
    """MovieLens, downloaded once or read from the folder ``data.path``."""
    files = movielens.read(data.source.partition(":")[2], data.path)
    columns = {"user_column": "user", "item_column": "item", "timestamp_column": "timestamp"}
    fields = data.model_copy(update={**columns, "rating_column": "rating"})
    source = _read(files.ratings, data.source, fields)
    return SourceData(
        source.interactions,
        source.unreadable,
        user_features=files.users and FeatureTable(*files.users),
        item_features=files.movies and FeatureTable(*files.movies),
    )


# === From interactions to splits ===


def load(config: Config, preprocessing: Preprocessing | None = None) -> DatasetSplits:
    """Read the configured source, check it, and hold out the latest interactions.

    Args:
        preprocessing: that of a model to evaluate; recommenders read the same data for any.

    Raises:
        DataProblem: the data cannot be used, naming file, row or column.
    """
    data = config.data
    source = find(SOURCES, data.source)(data)
    interactions, notes, duplicates = _clean(source, data)
    times = interactions.times
    if times.min() == times.max():
        raise DataProblem(
            f"data.timestamp_column: all interactions have the same time, {times[0]:g}."
        )
    positions = split_interactions(
        interactions, data.split, data.validation_fraction, data.test_fraction
    )
    features: FeatureTables = {
        "user_features": source.user_features,
        "item_features": source.item_features,
    }
    common = (data.max_history, features)
    splits = {
        "train": _build_training_histories(interactions, positions.train_ends, *common),
        "validation": _build_evaluation_histories(interactions, positions.validation, *common),
        "test": _build_evaluation_histories(interactions, positions.test, *common),
    }
    for name, split in splits.items():
        if len(split) == 0:
            raise DataProblem(
                f"data: the {name} split has no targets; data.min_rating or ratings of 0 leave no "
                "interaction to recommend."
            )
    num_users, num_items = len(interactions.user_ids), len(interactions.item_ids)
    notes |= {
        "users": num_users,
        "items": num_items,
        "interactions": len(interactions),
        "train_interactions": int((positions.train_ends - interactions.user_offsets()[:-1]).sum()),
        "density": round(len(interactions) / (num_users * num_items), 6),
        "split": data.split,
        **source.notes,
    }
    if source.best_rank is not None:
        notes["generated"] = True
        if data.split == "last":
            notes |= _measure_best_reachable(source.interactions, source.best_rank, splits["test"])
    tables = [table for table in (source.user_features, source.item_features) if table]
    return DatasetSplits(
        source=data.source,
        digest=_digest(interactions, positions, data, tables),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        duplicates=duplicates,
        unreadable=source.unreadable,
        notes=notes,
    )


class UserHistories:
    """The items that each user of the configured source interacted with, by the user's id."""

    def __init__(self, data: DataConfig) -> None:
        """Read the source.

        Raises:
            DataProblem: it cannot be read.
        """
        source = find(SOURCES, data.source)(data)
        self._interactions, _, _ = _clean(source, data.model_copy(update={"limit": None}))
        self._offsets = self._interactions.user_offsets()
        self._index = {name: i for i, name in enumerate(self._interactions.user_ids)}

    def find(self, user: str) -> list[str]:
        """Return the item ids of a user, the oldest first; [] of one who is not there."""
        number = self._index.get(user)
        if number is None:
            return []
        items = self._interactions.items[self._offsets[number] : self._offsets[number + 1]]
        return [str(item) for item in self._interactions.item_ids[items]]


_histories_lock = threading.Lock()


@lru_cache(maxsize=MAX_SOURCES)
def _load_once(data: DataConfig) -> UserHistories:
    return UserHistories(data)


def load_histories(config: Config) -> UserHistories:
    """Read the histories of users, once for each configuration.

    Raises:
        DataProblem: the source cannot be read.
    """
    with _histories_lock:  # the threads of a service would all read it at first
        return _load_once(config.data)


def _clean(source: SourceData, data: DataConfig) -> tuple[Interactions, dict[str, Any], int]:
    """Drop duplicates, repeats and rare users and items as configured.

    Returns:
        What is left, notes on what was dropped, and the number of duplicates.
    """
    interactions, notes = source.interactions, dict[str, Any]()
    if len(interactions) == 0:
        raise DataProblem(f"data: there are no interactions in {data.path or data.source!r}.")
    duplicates = find_duplicates(interactions)
    interactions = select(interactions, ~duplicates)
    if data.repeats == "drop":
        first = find_first_interactions(interactions)
        notes["dropped_repeats"] = int((~first).sum())
        interactions = select(interactions, first)
    if data.min_interactions > 1:
        before = _count(interactions)
        interactions = k_core(interactions, data.min_interactions)
        after = _count(interactions)
        notes["dropped_by_k_core"] = {name: before[name] - after[name] for name in before}
    if data.limit and data.limit < len(interactions.user_ids):
        order = np.random.default_rng(data.split_seed).permutation(len(interactions.user_ids))
        interactions = select(interactions, np.isin(interactions.users, order[: data.limit]))
    return interactions, notes, int(duplicates.sum())


def _count(interactions: Interactions) -> dict[str, int]:
    return {
        "interactions": len(interactions),
        "users": len(interactions.user_ids),
        "items": len(interactions.item_ids),
    }


def _build_training_histories(
    interactions: Interactions,
    train_ends: np.ndarray,
    max_history: int,
    features: FeatureTables,
) -> Histories:
    """Cut the training interactions of each user into windows; each is a target exactly once.

    Args:
        train_ends: (users,) position after each user's last training interaction.
        max_history: targets of a window at most; training sees the one interaction before them.
    """
    offsets = interactions.user_offsets()[:-1]
    counts = train_ends - offsets
    windows = -(-counts // max_history)  # of each user
    user = np.repeat(np.arange(len(offsets)), windows)
    number = np.arange(len(user)) - np.repeat(np.cumsum(windows) - windows, windows)
    # The last window is full and the first may be short: the newest interactions matter most.
    end = train_ends[user] - (windows[user] - 1 - number) * max_history
    target_start = np.maximum(end - max_history, offsets[user])
    history_start = np.maximum(
        target_start - 1, offsets[user]
    )  # one item to predict the first from
    positive = np.concatenate([[0], np.cumsum(interactions.weights > 0)])
    num_targets = positive[end] - positive[target_start]
    mask = num_targets > 0
    positions = (history_start[mask], target_start[mask], end[mask])
    return _build_histories(
        interactions, user[mask], *positions, num_targets[mask], max_history, features
    )


def _build_evaluation_histories(
    interactions: Interactions, hold_out: HoldOut, max_history: int, features: FeatureTables
) -> Histories:
    """Build the whole history and the targets of each held-out user that has a target.

    Args:
        max_history: next items that ``fetch`` returns; ``targets`` holds them all.
    """
    positive = np.concatenate([[0], np.cumsum(interactions.weights > 0)])
    mask = positive[hold_out.ends] > positive[hold_out.target_starts]
    users, starts, ends = (
        column[mask] for column in (hold_out.users, hold_out.target_starts, hold_out.ends)
    )
    # Tuples, as a matrix as wide as the busiest user's targets would be mostly padding.
    targets = np.empty(len(users), dtype=object)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        items = interactions.items[start:end][interactions.weights[start:end] > 0]
        targets[row] = tuple(interactions.item_ids[items])
    history_starts = interactions.user_offsets()[users]
    return _build_histories(
        interactions, users, history_starts, starts, ends, targets, max_history, features
    )


def _build_histories(
    interactions: Interactions,
    users: np.ndarray,
    history_starts: np.ndarray,
    target_starts: np.ndarray,
    ends: np.ndarray,
    targets: np.ndarray,
    max_history: int,
    features: FeatureTables,
) -> Histories:
    """Build a split; ``fetch`` returns at most ``max_history`` of the next items."""
    item_ids = np.append(interactions.item_ids, "")  # index -1 is padding

    def fetch_rows(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        history = _pad_ranges(history_starts[rows], target_starts[rows])  # (batch, history)
        last = np.minimum(ends[rows], target_starts[rows] + max_history)
        following = _pad_ranges(target_starts[rows], last)  # (batch, next items)
        weights = np.where(following < 0, 0, interactions.weights[following]).astype("float32")
        items = (
            item_ids[np.where(positions < 0, -1, interactions.items[positions])]
            for positions in (history, following)
        )
        return (interactions.user_ids[users[rows]], *items, weights)

    def fetch(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        types = (tf.string, tf.string, tf.string, tf.float32)
        user, history, next_items, weights = tf.numpy_function(
            fetch_rows, [rows], types, stateful=False
        )
        return {
            "user": tf.ensure_shape(user, (None,)),
            "history": tf.ensure_shape(history, (None, None)),
            "next_items": tf.ensure_shape(next_items, (None, None)),
            "weights": tf.ensure_shape(weights, (None, None)),
        }

    return Histories(
        ids=interactions.user_ids[users],
        targets=targets,
        fetch=fetch,
        interactions=interactions,
        history_starts=history_starts,
        target_starts=target_starts,
        ends=ends,
        **features,
    )


def _pad_ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Positions (rows, longest) from each start up to its end, with -1 behind them."""
    positions = starts[:, None] + np.arange(max((ends - starts).max(initial=0), 1))
    return np.where(positions < ends[:, None], positions, -1)


def _measure_best_reachable(
    interactions: Interactions, best_rank: np.ndarray, test: Histories
) -> dict[str, float]:
    """Measure the ranking by the known process of synthetic data on the test targets.

    Args:
        interactions: of the source, before any are dropped.
        best_rank: (interactions,) see ``SourceData``.
    """
    ranks_by_pair = {}
    for user, item, rank in zip(interactions.users, interactions.items, best_rank, strict=True):
        ranks_by_pair[interactions.user_ids[user], interactions.item_ids[item]] = rank
    ranks = np.array(
        [ranks_by_pair[user, item] for user, (item, *_) in zip(test.ids, test.targets, strict=True)]
    )
    gain = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0)
    return {
        "best_reachable_recall_at_20": round(float(np.mean(ranks < 20)), 6),
        "best_reachable_ndcg_at_10": round(float(gain.mean()), 6),
    }


def _read(chunks: Iterable[pd.DataFrame], origin: str, data: DataConfig) -> SourceData:
    """Read the interactions of a table and the configured files of features.

    Args:
        chunks: of the table.
        origin: file or field, for error messages.
        data: with the names of the table's columns.
    """
    reader = InteractionReader(data).extend(chunks, origin)
    interactions = _drop_future(reader.interactions(), reader)
    return SourceData(
        interactions,
        tuple(reader.unreadable),
        user_features=_read_features(data.user_features, data.user_column, "user_features"),
        item_features=_read_features(data.item_features, data.item_column, "item_features"),
    )


def _read_features(path: str | None, column: str, field_name: str) -> FeatureTable | None:
    return FeatureTable(*read_features(path, column, field_name)) if path else None


def _drop_future(interactions: Interactions, reader: InteractionReader) -> Interactions:
    """Drop interactions later than tomorrow and add them to the reader's unreadable rows."""
    now = time.time()
    median = np.median(interactions.times) if len(interactions) else 0
    unit = next((u for u in UNITS_PER_SECOND if EARLIEST_DATE * u < median < now * u), None)
    if unit is None:
        return interactions
    late = interactions.times > (now + DAY) * unit
    reader.unreadable += [
        (
            f"{interactions.user_ids[user]} {interactions.item_ids[item]}",
            "the time lies in the future",
        )
        for user, item in zip(interactions.users[late], interactions.items[late], strict=True)
    ]
    reader.check_unreadable()
    return select(interactions, ~late) if late.any() else interactions


def _digest(
    interactions: Interactions,
    positions: SplitPositions,
    data: DataConfig,
    tables: list[FeatureTable],
) -> str:
    """Hash the interactions, the split and the features."""
    digest = hashlib.sha256(f"{data.split}/{data.repeats}/{data.max_history}".encode())
    # Hash the positions themselves, whichever fields decide them.
    hold_outs = (
        (part.users, part.target_starts, part.ends)
        for part in (positions.validation, positions.test)
    )
    columns = (interactions.users, interactions.items, interactions.times, interactions.weights)
    for array in (*columns, positions.train_ends, *(a for arrays in hold_outs for a in arrays)):
        digest.update(f"/{len(array)}/".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    ids = (interactions.user_ids, interactions.item_ids)
    for texts in (*ids, *(table.strings() for table in tables)):
        digest.update("\n".join(texts).encode("utf-8", "replace"))
    return digest.hexdigest()
