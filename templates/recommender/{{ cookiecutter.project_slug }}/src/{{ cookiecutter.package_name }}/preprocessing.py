"""From ids to the network's inputs, the same in tf.data, ``predict`` and serving.

Items are numbers: 0 is padding behind a history, 1 an item that was not trained on, 2 stands before
every history; then comes the catalogue. Users: 0 was not trained on; then come the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .data import Histories
from .engine.interfaces import Uniform
from .networks.features import Features
from .networks.transitions import Transitions

PADDING, UNKNOWN, START, FIRST = 0, 1, 2, 3
SCALE = 1000  # weights are kept as whole thousandths
FORGOTTEN = {"user": 0.1, "item": 0.02}  # share that training takes for unknown
RECENT = 0.1  # share of the training events that tell what is popular now


@dataclass(frozen=True)
class Preprocessing:
    """Ids by number, and what is known of them from the training events.

    Attributes:
        users: ids, from number 1 on.
        items: ids of the catalogue, from number 3 on: those that were trained on, then those of
            which there are features alone.
        counts: training events of each item of the catalogue.
        recent: the same of the newest events.
        max_history: events of a history that are used.
        unseen_only: what a user had is not recommended.
        user_table, item_table: features (users, kept, 2) and (items, kept, 2), see ``Features``;
            only while it is trained.
        transitions: of the training events; only while it is trained.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    counts: tuple[int, ...]
    recent: tuple[int, ...]
    max_history: int
    unseen_only: bool
    user_features: dict[str, Any] = field(default_factory=dict, repr=False)
    item_features: dict[str, Any] = field(default_factory=dict, repr=False)
    user_table: np.ndarray | None = field(default=None, repr=False, compare=False)
    item_table: np.ndarray | None = field(default=None, repr=False, compare=False)
    transitions: Transitions | None = field(default=None, repr=False, compare=False)

    @classmethod
    def fit(cls, train: Histories, config: Config) -> "Preprocessing":
        """Learn users, items and features from the training histories."""
        log = train.log
        events = train.events
        users = log.user_ids[np.unique(log.users[events])]
        trained = np.unique(log.items[events])
        items = list(log.item_ids[trained])
        newest = events[log.times[events] >= np.quantile(log.times[events], 1 - RECENT)]
        counts, recent = (
            np.bincount(log.items[part], minlength=len(log.item_ids)) for part in (events, newest)
        )
        made: dict[str, Any] = {}
        if train.item_features:
            known = set(items)
            features = Features.fit(train.item_features.of(np.array(items, dtype=object)))
            items += [name for name in train.item_features.ids if name not in known]
            columns = train.item_features.of(np.array(items, dtype=object))
            made |= {
                "item_features": features.to_config(),
                "item_table": features(columns, len(items)),
            }
        if train.user_features:
            columns = train.user_features.of(users)
            features = Features.fit(columns)
            made |= {
                "user_features": features.to_config(),
                "user_table": features(columns, len(users)),
            }
        place = np.full(len(log.item_ids), -1)
        place[trained] = np.arange(len(trained))
        later = events[(events > 0) & (log.users[events - 1] == log.users[events])]
        before, after = place[log.items[later - 1]], place[log.items[later]]
        cold = (0,) * (len(items) - len(trained))
        return cls(
            users=tuple(users),
            items=tuple(items),
            counts=(*map(int, counts[trained]), *cold),
            recent=(*map(int, recent[trained]), *cold),
            max_history=config.data.max_history,
            unseen_only=config.data.repeats == "drop",
            transitions=Transitions.of(before, after, len(items)),
            **made,
        )

    @property
    def trained(self) -> int:
        """Items of the catalogue that were trained on; they come first."""
        return int(np.count_nonzero(self.counts))

    def prepare(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Histories -> (batch, 1 + 2 max_history, 4) int32: the user's number, then items, each
        with the weight with which it is to be learnt, how often it came right after the one before
        in training, and how often anything came after that."""
        known = self._last(self._items.lookup(raw["known"]), raw["known"] != "")
        after = self._items.lookup(raw["next"])[:, : self.max_history]
        weights = tf.cast(tf.round(raw["weights"] * SCALE), tf.int64)[:, : self.max_history]
        # Padding stands between the two: it moves behind them.
        items = tf.concat([known, after], axis=1)
        weights = tf.concat([tf.zeros_like(known), weights], axis=1)
        # What is not in the catalogue cannot be learnt.
        weights = tf.where(items < FIRST, tf.constant(0, tf.int64), weights)
        order = tf.argsort(tf.cast(items == PADDING, tf.int32), axis=1, stable=True)
        items, weights = (tf.gather(part, order, batch_dims=1) for part in (items, weights))
        events = tf.stack([items, weights, *self._followed(items)], axis=-1)
        user = tf.pad(self._users.lookup(raw["user"])[:, None, None], [[0, 0], [0, 0], [0, 3]])
        rows = tf.concat([user, events], axis=1)
        rows = tf.pad(rows, [[0, 0], [0, 1 + 2 * self.max_history - tf.shape(rows)[1]], [0, 0]])
        return tf.cast(tf.ensure_shape(rows, (None, 1 + 2 * self.max_history, 4)), tf.int32)

    def lengths(self, prepared: tf.Tensor) -> tf.Tensor:
        """The user and the events of each history (batch,)."""
        return 1 + tf.math.count_nonzero(prepared[:, 1:, 0], axis=1, dtype=tf.int32)

    def finish(self, prepared: tf.Tensor) -> dict[str, tf.Tensor]:
        """``user`` (batch,), ``items`` (batch, 1 + events), and of the events (batch, events)
        ``weights``, ``followed`` and ``left``, see ``prepare``."""
        begin = tf.fill([tf.shape(prepared)[0], 1], START)
        return {
            "user": prepared[:, 0, 0],
            "items": tf.concat([begin, prepared[:, 1:, 0]], axis=1),
            "weights": tf.cast(prepared[:, 1:, 1], tf.float32) / SCALE,
            "followed": tf.cast(prepared[:, 1:, 2], tf.float32),
            "left": tf.cast(prepared[:, 1:, 3], tf.float32),
        }

    def __call__(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What a user is asked about with: what comes next is not looked at."""
        return self._asked(raw["user"], raw["known"])

    @cached_property
    def _asked(self) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
        # One program: some dozen small operations would take as long as the scores.
        return tf.function(self._of_known, reduce_retracing=True)

    def _of_known(self, user: tf.Tensor, known: tf.Tensor) -> dict[str, tf.Tensor]:
        known = self._last(self._items.lookup(known), known != "")
        begin = tf.fill([tf.shape(known)[0], 1], tf.constant(START, tf.int64))
        items = tf.cast(tf.concat([begin, known], axis=1), tf.int32)
        # Attention to a single place makes Keras warn.
        longest = tf.maximum(tf.reduce_max(tf.math.count_nonzero(items, axis=1)), 2)
        return {
            "user": tf.cast(self._users.lookup(user), tf.int32),
            "items": items[:, :longest],
        }

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """How many events are to be learnt (size,) float32; ``next`` says which."""
        if targets.dtype == object:
            targets = np.array([len(ids) for ids in targets])
        return targets.astype("float32")

    def to_config(self) -> dict[str, Any]:
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        # What is only needed in training; the model has it in its weights.
        return named | {"user_table": None, "item_table": None, "transitions": None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        lists = {name: tuple(config[name]) for name in ("users", "items", "counts", "recent")}
        return cls(**{**config, **lists})

    def notes(self) -> dict[str, Any]:
        return {
            "users": len(self.users),
            "items": len(self.items),
            "items_without_events": len(self.items) - self.trained,
            "max_history": self.max_history,
        }

    def catalogue_numbers(self, ids: np.ndarray) -> np.ndarray:
        """Ids of any shape -> places in the catalogue, -1 for what is not in it."""
        numbers = np.asarray(self._items.lookup(tf.constant(ids.astype(str))))
        return np.maximum(numbers - FIRST, -1)

    def _followed(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How often each item (batch, events) came right after the one before, and anything."""
        places = items - FIRST
        before = tf.pad(places[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
        pairs, counts, totals = self._counts
        pair = before * self.transitions.size + places
        at = tf.minimum(tf.searchsorted(pairs, tf.reshape(pair, [-1])), tf.size(pairs) - 1)
        at = tf.reshape(at, tf.shape(pair))
        known = (before >= 0) & (places >= 0) & (tf.gather(pairs, at) == pair)
        left = tf.gather(totals, tf.maximum(before, 0))
        return (
            tf.where(known, tf.gather(counts, at), 0),
            tf.where((before >= 0) & (places >= 0), left, 0),
        )

    def _last(self, items: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """The newest events of each history, padding behind them."""
        items = tf.where(there, items, tf.constant(PADDING, tf.int64))
        length = tf.math.count_nonzero(there, axis=1)
        places = tf.maximum(length - self.max_history, 0)[:, None]
        places = places + tf.range(tf.constant(self.max_history, tf.int64))
        inside = places < length[:, None]
        places = tf.minimum(places, tf.shape(items, tf.int64)[1] - 1)
        return tf.where(inside, tf.gather(items, places, batch_dims=1), PADDING)

    @cached_property
    def _counts(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        made = self.transitions
        # One pair more, which is none: there may be no others.
        with tf.init_scope(), tf.device("CPU:0"):
            return (
                tf.constant(np.append(made.pairs, np.iinfo("int64").max)),
                tf.constant(np.append(made.counts, 0), tf.int64),
                tf.constant(made.totals, tf.int64),
            )

    @cached_property
    def _items(self) -> tf.lookup.StaticHashTable:
        return _table(("", *self.items), (PADDING, *range(FIRST, FIRST + len(self.items))), UNKNOWN)

    @cached_property
    def _users(self) -> tf.lookup.StaticHashTable:
        return _table(self.users, range(1, len(self.users) + 1), 0)


def augment(prepared: tf.Tensor, uniform: Uniform, config: Config) -> tf.Tensor:
    """Take some users and items for unknown, so that it is learnt what to do with such."""
    drawn = uniform(1 + tf.shape(prepared)[1])
    items, weights = prepared[:, :, 0], prepared[:, :, 1]
    user = tf.where(drawn[:, :1] < FORGOTTEN["user"], 0, items[:, :1])
    history = items[:, 1:]
    # What is to be learnt must stay what it is.
    lost = (drawn[:, 2:] < FORGOTTEN["item"]) & (history >= FIRST) & (weights[:, 1:] == 0)
    items = tf.concat([user, tf.where(lost, UNKNOWN, history)], axis=1)
    known = tf.stack([items, weights], axis=-1)
    return tf.concat([known, prepared[:, :, 2:]], axis=-1)


def _table(keys, values, default: int) -> tf.lookup.StaticHashTable:
    with tf.init_scope(), tf.device("CPU:0"):
        made = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(keys), tf.string), tf.constant(list(values), tf.int64)
        )
        return tf.lookup.StaticHashTable(made, tf.constant(default, tf.int64))
