"""Sources of events, and their way into training, validation and test.

A source takes the ``data`` fields and gives ``Events``. To add one, write such a function and add a
line to ``SOURCES`` in ``registry.py``.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config, DataConfig
from .datasets import movielens, shop
from .datasets.events import Reader, concatenated, read_features
from .datasets.frames import from_database, from_file
from .datasets.interactions import (
    HeldOut,
    Log,
    Parts,
    divided,
    first_of_each,
    in_order,
    k_core,
    kept,
    twice,
)
from .engine.errors import DataProblem
from .engine.interfaces import DatasetSplits, Split
from .engine.lookup import find
from .registry import SOURCES

DAY = 86_400
# Times from then to now are taken for dates, so what lies in the future is a mistake.
SINCE = 631_152_000  # 1990, in seconds
UNITS = (1, 10**3, 10**6, 10**9)  # of a second: logs count in any of them


@dataclass(frozen=True)
class Table:
    """Features by id: ids (size,) and columns (size,) of text, '' where a value is missing."""

    ids: np.ndarray
    columns: dict[str, np.ndarray]

    def texts(self) -> Iterator[str]:
        """All that it says, for a digest."""
        yield from self.ids
        for name, values in self.columns.items():
            yield name
            yield from values

    def of(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of these ids (size,)."""
        place = {name: i for i, name in enumerate(self.ids)}
        places = [place.get(name, -1) for name in ids]
        return {
            name: np.array([values[i] if i >= 0 else "" for i in places], dtype=object)
            for name, values in self.columns.items()
        }


@dataclass(frozen=True)
class Events:
    """What a source gives.

    Attributes:
        unreadable: ``(row, reason)`` of rows that cannot be used.
        best_rank: (events,) of generated events, see ``shop.py``.
    """

    log: Log
    unreadable: tuple[tuple[str, str], ...] = ()
    user_features: Table | None = None
    item_features: Table | None = None
    best_rank: np.ndarray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Histories(Split):
    """A split of histories.

    ``fetch`` gives ``user`` (batch,) and ``known`` (batch, …), ids, the oldest first and '' behind
    them; and what came next: ``next`` (batch, …) ids with ``weights`` (batch, …), 0 where there is
    nothing to learn. Targets are tuples of the ids that came next (size,); of training histories
    how many there are (size,).

    Attributes:
        log: what users did.
        begins, knowns, ends: (size,) places in the log: the first event, the first that is not
            known yet, and the end of what came next.
    """

    log: Log | None = None
    begins: np.ndarray | None = None
    knowns: np.ndarray | None = None
    ends: np.ndarray | None = None
    user_features: Table | None = None
    item_features: Table | None = None

    @property
    def events(self) -> np.ndarray:
        """Places in the log of all that came next."""
        counts = self.ends - self.knowns
        # How far each place of all is behind the beginning of its history.
        before = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.knowns, counts) + before


# === Sources ===


@cache
def generated() -> shop.Shop:
    """The shop, made once."""
    return shop.generate()


def generated_shop(data: DataConfig) -> Events:
    """A generated shop of 4,000 shoppers with planted tastes; the best reachable figures are
    known."""
    made = generated()
    user_ids = np.array([f"u{n:04d}" for n in range(made.users.max() + 1)], dtype=object)
    item_ids = np.array([f"i{n:03d}" for n in range(shop.ITEMS)], dtype=object)
    log = in_order(
        made.users, made.items, made.days * DAY, np.ones(len(made.users)), user_ids, item_ids
    )
    return Events(
        log,
        user_features=Table(user_ids, made.user_features),
        item_features=Table(item_ids, made.item_features),
        best_rank=made.best_rank,
    )


def table(data: DataConfig) -> Events:
    """A csv or parquet file with a row for each event."""
    return _read(concatenated(from_file(data), Reader(data), data.path), data)


def sql(data: DataConfig) -> Events:
    """What ``data.query`` gives, from the database at ``data.path`` (an SQLAlchemy address)."""
    return _read(concatenated(from_database(data), Reader(data), "data.query"), data)


def movies(data: DataConfig) -> Events:
    """MovieLens, downloaded once, or the folder ``data.path`` that holds its files."""
    found = movielens.read(data.source.partition(":")[2], data.path)
    columns = {"user_column": "user", "item_column": "item", "timestamp_column": "timestamp"}
    fields = data.model_copy(update={**columns, "rating_column": "rating"})
    reader = concatenated(found.ratings, Reader(fields), data.source)
    events = _read(reader, data)
    return Events(
        events.log,
        events.unreadable,
        user_features=found.users and Table(*found.users),
        item_features=found.movies and Table(*found.movies),
    )


# === From events to splits ===


def load(config: Config, preprocessing: Any = None) -> DatasetSplits:
    """Read the configured source, check it, and hold out what came last.

    Args:
        preprocessing: of a model that is evaluated; it is not needed here.

    Raises:
        DataProblem: there is nothing to learn from, naming file, row or column.
    """
    data = config.data
    events = find(SOURCES, data.source)(data)
    log, notes, duplicates = _cleaned(events, data)
    if log.times.min() == log.times.max():
        raise DataProblem(
            f"data.timestamp_column: all events have the same time, {log.times[0]:g}."
        )
    parts = divided(log, data.split, data.validation_fraction, data.test_fraction)
    tables = {"user_features": events.user_features, "item_features": events.item_features}
    splits = {
        "train": _windows(log, parts.train, data.max_history, tables),
        "validation": _asked(log, parts.validation, data.max_history, tables),
        "test": _asked(log, parts.test, data.max_history, tables),
    }
    for name, split in splits.items():
        if len(split) == 0:
            raise DataProblem(f"data: the {name} split has no event that is to be recommended.")
    trained = int((parts.train - log.starts()[:-1]).sum())
    notes |= {
        "users": len(log.user_ids),
        "items": len(log.item_ids),
        "events": len(log),
        "trained_events": trained,
        "density": round(len(log) / (len(log.user_ids) * len(log.item_ids)), 6),
        "split": data.split,
        **events.notes,
    }
    if events.best_rank is not None:
        notes["generated"] = True
        if data.split == "last":
            notes |= _best_reachable(events, splits["test"])
    return DatasetSplits(
        source=data.source,
        digest=_digest(log, parts, data, [table for table in tables.values() if table]),
        **splits,
        duplicates=duplicates,
        unreadable=events.unreadable,
        notes=notes,
    )


def histories_of(users: list[str], config: Config) -> list[list[str]]:
    """What users had up to now, the oldest first; nothing of users that are not in the log.

    Raises:
        DataProblem: the log cannot be read.
    """
    log, _, _ = _cleaned(
        find(SOURCES, config.data.source)(config.data),
        config.data.model_copy(update={"limit": None}),
    )
    place = {name: i for i, name in enumerate(log.user_ids)}
    starts = log.starts()
    found = []
    for name in users:
        i = place.get(name)
        had = [] if i is None else log.item_ids[log.items[starts[i] : starts[i + 1]]]
        found.append([str(item) for item in had])
    return found


def _cleaned(events: Events, data: DataConfig) -> tuple[Log, dict[str, Any], int]:
    """The log without what is not wanted, what that was, and how many rows stood there twice."""
    log, notes = events.log, {}
    if len(log) == 0:
        raise DataProblem(f"data: there are no events in {data.path or data.source!r}.")
    same = twice(log)
    log = kept(log, ~same)
    if data.repeats == "drop":
        first = first_of_each(log)
        notes["repeats_dropped"] = int((~first).sum())
        log = kept(log, first)
    if data.least_events > 1:
        before = (len(log), len(log.user_ids), len(log.item_ids))
        log = k_core(log, data.least_events)
        after = (len(log), len(log.user_ids), len(log.item_ids))
        names = ("events", "users", "items")
        notes["core_dropped"] = {
            name: a - b for name, a, b in zip(names, before, after, strict=True)
        }
    if data.limit and data.limit < len(log.user_ids):
        order = np.random.default_rng(data.split_seed).permutation(len(log.user_ids))
        log = kept(log, np.isin(log.users, order[: data.limit]))
    return log, notes, int(same.sum())


def _windows(log: Log, ends: np.ndarray, most: int, tables: dict[str, Any]) -> Histories:
    """Training histories: parts of what users did, each event in one of them."""
    starts = log.starts()[:-1]
    counts = ends - starts
    parts = -(-counts // most)
    user = np.repeat(np.arange(len(starts)), parts)
    number = np.arange(len(user)) - np.repeat(np.cumsum(parts) - parts, parts)
    # The last part is full, the first one may be short: what is newest matters most.
    end = ends[user] - (parts[user] - 1 - number) * most
    known = np.maximum(end - most, starts[user])
    begin = np.maximum(known - 1, starts[user])  # one event before, to begin from
    learnt = np.concatenate([[0], np.cumsum(log.weights > 0)])
    count = learnt[end] - learnt[known]
    useful = count > 0
    places = (begin[useful], known[useful], end[useful])
    return _histories(log, user[useful], *places, count[useful], most, tables)


def _asked(log: Log, held: HeldOut, most: int, tables: dict[str, Any]) -> Histories:
    """Histories of users of whom it is asked what comes next."""
    positive = np.concatenate([[0], np.cumsum(log.weights > 0)])
    counts = positive[held.ends] - positive[held.known]
    users, known, ends = (part[counts > 0] for part in (held.users, held.known, held.ends))
    # Not an array of ids: as wide as the busiest user's it would be mostly empty.
    targets = np.empty(len(users), dtype=object)
    for row, (first, end) in enumerate(zip(known, ends, strict=True)):
        found = log.items[first:end][log.weights[first:end] > 0]
        targets[row] = tuple(log.item_ids[found])
    return _histories(log, users, log.starts()[users], known, ends, targets, most, tables)


def _histories(
    log: Log,
    users: np.ndarray,
    begins: np.ndarray,
    knowns: np.ndarray,
    ends: np.ndarray,
    targets: np.ndarray,
    most: int,
    tables: dict[str, Any],
) -> Histories:
    """A split; of what came next ``fetch`` gives the first ``most``, more are not learnt."""
    ids = np.append(log.item_ids, "")  # the last one stands behind the others

    def rows(positions: np.ndarray) -> tuple[np.ndarray, ...]:
        known = _ragged(begins[positions], knowns[positions])
        last = np.minimum(ends[positions], knowns[positions] + most)
        after = _ragged(knowns[positions], last)
        weights = np.where(after < 0, 0, log.weights[after]).astype("float32")
        items = (ids[np.where(part < 0, -1, log.items[part])] for part in (known, after))
        return (log.user_ids[users[positions]], *items, weights)

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        types = (tf.string, tf.string, tf.string, tf.float32)
        user, known, after, weights = tf.numpy_function(rows, [positions], types, stateful=False)
        return {
            "user": tf.ensure_shape(user, (None,)),
            "known": tf.ensure_shape(known, (None, None)),
            "next": tf.ensure_shape(after, (None, None)),
            "weights": tf.ensure_shape(weights, (None, None)),
        }

    return Histories(
        ids=log.user_ids[users],
        targets=targets,
        fetch=fetch,
        log=log,
        begins=begins,
        knowns=knowns,
        ends=ends,
        **tables,
    )


def _ragged(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Places (rows, longest) from each begin to its end, -1 behind them."""
    places = begins[:, None] + np.arange(max((ends - begins).max(initial=0), 1))
    return np.where(places < ends[:, None], places, -1)


def _best_reachable(events: Events, test: Histories) -> dict[str, float]:
    """What the best order that can be known reaches on the held-out events."""
    order = {}
    for user, item, rank in zip(events.log.users, events.log.items, events.best_rank, strict=True):
        order[events.log.user_ids[user], events.log.item_ids[item]] = rank
    ranks = np.array(
        [order[user, item] for user, (item, *_) in zip(test.ids, test.targets, strict=True)]
    )
    gain = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0)
    return {
        "best_reachable_recall_20": round(float(np.mean(ranks < 20)), 6),
        "best_reachable_ndcg_10": round(float(gain.mean()), 6),
    }


def _read(reader: Reader, data: DataConfig) -> Events:
    log = reader.log()
    now = time.time()
    median = np.median(log.times) if len(log) else 0
    unit = next((unit for unit in UNITS if SINCE * unit < median < now * unit), None)
    if unit:
        late = log.times > (now + DAY) * unit
        reader.unreadable += [
            (f"{log.user_ids[u]} {log.item_ids[i]}", "the time lies in the future")
            for u, i in zip(log.users[late], log.items[late], strict=True)
        ]
        reader.check()
        log = kept(log, ~late) if late.any() else log
    tables = {}
    for name, column in (("user_features", "user_column"), ("item_features", "item_column")):
        path = getattr(data, name)
        if path:
            tables[name] = Table(*read_features(path, getattr(data, column), name))
    return Events(log, tuple(reader.unreadable), **tables)


def _digest(log: Log, parts: Parts, data: DataConfig, tables: list[Table]) -> str:
    """Of the events, of what is held out, and of features."""
    made = hashlib.sha256(f"{data.split}/{data.repeats}/{data.max_history}".encode())
    # The places themselves, whatever fields decide them.
    held = [(part.users, part.known, part.ends) for part in (parts.validation, parts.test)]
    places = (parts.train, *(array for arrays in held for array in arrays))
    for array in (log.users, log.items, log.times, log.weights, *places):
        made.update(f"/{len(array)}/".encode())
        made.update(np.ascontiguousarray(array).tobytes())
    for texts in (log.user_ids, log.item_ids, *(table.texts() for table in tables)):
        made.update("\n".join(texts).encode("utf-8", "replace"))
    return made.hexdigest()
