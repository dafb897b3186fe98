"""Map ids to the network's inputs, the same way in tf.data, ``predict`` and serving.

Item numbers: 0 is padding behind a history, 1 an item without training interactions, 2 the start of
every history; the catalogue follows from 3 on. User numbers: 0 is an unknown user, the others
follow from 1 on. A catalogue index is an item's number minus 3.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .data import Histories
from .engine.interfaces import Uniform
from .networks.features import FeatureEncoder
from .networks.transitions import Transitions

PADDING, UNKNOWN, START, FIRST_ITEM = 0, 1, 2, 3
WEIGHT_SCALE = 1000  # weights are cached as integers, in thousandths
UNKNOWN_RATES = {"user": 0.1, "item": 0.02}  # replaced by unknown ones in training
RECENT_FRACTION = 0.1  # newest training interactions, which tell what is popular now


@dataclass(frozen=True)
class Preprocessing:
    """Vocabularies of users and items, and statistics of the training interactions.

    Attributes:
        users: ids, from number 1 on.
        items: ids of the catalogue, from number 3 on: first those with training interactions, then
            those known by features alone (cold-start items).
        item_counts: training interactions of each item of the catalogue.
        recent_item_counts: the same of the newest training interactions.
        max_history: newest interactions of a history that are used.
        exclude_seen: whether items of the history are not recommended.
        user_features, item_features: configurations of ``FeatureEncoder``.
        user_table, item_table: encoded features (users or items, entries, 2), see
            ``FeatureEncoder``; in training only.
        transitions: of the training interactions; in training only.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    item_counts: tuple[int, ...]
    recent_item_counts: tuple[int, ...]
    max_history: int
    exclude_seen: bool
    user_features: dict[str, Any] = field(default_factory=dict, repr=False)
    item_features: dict[str, Any] = field(default_factory=dict, repr=False)
    user_table: np.ndarray | None = field(default=None, repr=False, compare=False)
    item_table: np.ndarray | None = field(default=None, repr=False, compare=False)
    transitions: Transitions | None = field(default=None, repr=False, compare=False)

    @classmethod
    def fit(cls, train: Histories, config: Config) -> "Preprocessing":
        """Learn vocabularies, features and statistics from the training interactions alone.

        Args:
            train: the training split; of its interactions only the targets are read.
            config: for ``data.max_history`` and ``data.repeats``.
        """
        log = train.interactions  # of all splits: read it at training positions only
        positions = train.target_positions
        users = log.user_ids[np.unique(log.users[positions])]
        warm = np.unique(log.items[positions])
        items = list(log.item_ids[warm])
        times = log.times[positions]
        recent = positions[times >= np.quantile(times, 1 - RECENT_FRACTION)]
        counts, recent_counts = (
            np.bincount(log.items[part], minlength=len(log.item_ids))
            for part in (positions, recent)
        )
        features: dict[str, Any] = {}
        if train.item_features:
            warm_items = set(items)
            encoder = FeatureEncoder.fit(train.item_features.lookup(log.item_ids[warm]))
            items += [name for name in train.item_features.ids if name not in warm_items]
            columns = train.item_features.lookup(np.array(items, dtype=object))
            features |= {
                "item_features": encoder.to_config(),
                "item_table": encoder(columns, len(items)),
            }
        if train.user_features:
            columns = train.user_features.lookup(users)
            encoder = FeatureEncoder.fit(columns)
            features |= {
                "user_features": encoder.to_config(),
                "user_table": encoder(columns, len(users)),
            }
        index = np.full(len(log.item_ids), -1)  # item of the log -> catalogue index
        index[warm] = np.arange(len(warm))
        # Position 0 has nothing before it, and index -1 would be the last interaction.
        same_user = (positions > 0) & (log.users[positions - 1] == log.users[positions])
        second = positions[same_user]
        cold = (0,) * (len(items) - len(warm))
        return cls(
            users=tuple(users),
            items=tuple(items),
            item_counts=(*map(int, counts[warm]), *cold),
            recent_item_counts=(*map(int, recent_counts[warm]), *cold),
            max_history=config.data.max_history,
            exclude_seen=config.data.repeats == "drop",
            transitions=Transitions.from_pairs(
                index[log.items[second - 1]], index[log.items[second]], len(items)
            ),
            **features,
        )

    @property
    def num_warm_items(self) -> int:
        """Items with training interactions; they come first in the catalogue."""
        return int(np.count_nonzero(self.item_counts))

    @property
    def max_length(self) -> int:
        """Number of items of the longest input: START and the history."""
        return 1 + self.max_history

    def prepare(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encode histories and next items.

        Returns:
            (batch, 1 + 2 max_history, 4) int32. The first row holds the user's number, each other
            one an item, its weight as a target, how often it directly followed the item before in
            training, and how often any item did.
        """
        history = self._truncate(self._item_numbers.lookup(raw["history"]), raw["history"] != "")
        next_items = self._item_numbers.lookup(raw["next_items"])[:, : self.max_history]
        weights = tf.cast(tf.round(raw["weights"] * WEIGHT_SCALE), tf.int64)
        weights = weights[:, : self.max_history]
        items = tf.concat([history, next_items], axis=1)
        weights = tf.concat([tf.zeros_like(history), weights], axis=1)
        # Items outside the catalogue have no embedding to train.
        weights = tf.where(items < FIRST_ITEM, tf.constant(0, tf.int64), weights)
        # A stable sort moves the padding between history and next items behind both.
        order = tf.argsort(tf.cast(items == PADDING, tf.int32), axis=1, stable=True)
        items, weights = (tf.gather(part, order, batch_dims=1) for part in (items, weights))
        columns = tf.stack([items, weights, *self._count_transitions(items)], axis=-1)
        user = self._user_numbers.lookup(raw["user"])[:, None, None]
        rows = tf.concat([tf.pad(user, [[0, 0], [0, 0], [0, 3]]), columns], axis=1)
        length = 1 + 2 * self.max_history
        rows = tf.pad(rows, [[0, 0], [0, length - tf.shape(rows)[1]], [0, 0]])
        return tf.cast(tf.ensure_shape(rows, (None, length, 4)), tf.int32)

    def lengths(self, prepared: tf.Tensor) -> tf.Tensor:
        """Count the user and the items of each example (batch,)."""
        return 1 + tf.math.count_nonzero(prepared[:, 1:, 0], axis=1, dtype=tf.int32)

    def finish(self, prepared: tf.Tensor) -> dict[str, tf.Tensor]:
        """Name the columns of prepared examples and put START in front of the items.

        Returns:
            ``user`` (batch,), ``items`` (batch, 1 + length), and of the items after START
            ``weights``, ``transition_counts`` and ``transition_totals`` (batch, length).
        """
        start = tf.fill([tf.shape(prepared)[0], 1], START)
        return {
            "user": prepared[:, 0, 0],
            "items": tf.concat([start, prepared[:, 1:, 0]], axis=1),
            "weights": tf.cast(prepared[:, 1:, 1], tf.float32) / WEIGHT_SCALE,
            "transition_counts": tf.cast(prepared[:, 1:, 2], tf.float32),
            "transition_totals": tf.cast(prepared[:, 1:, 3], tf.float32),
        }

    def __call__(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Encode users and histories for prediction, without the next items."""
        return self._encode(raw["user"], raw["history"])

    @cached_property
    def _encode(self) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
        # One graph: dozens of small eager operations would take as long as the scores.
        return tf.function(self._encode_eagerly, reduce_retracing=True)

    def _encode_eagerly(self, user: tf.Tensor, history: tf.Tensor) -> dict[str, tf.Tensor]:
        history = self._truncate(self._item_numbers.lookup(history), history != "")
        start = tf.fill([tf.shape(history)[0], 1], tf.constant(START, tf.int64))
        items = tf.cast(tf.concat([start, history], axis=1), tf.int32)
        # At least two positions: Keras warns of attention over one.
        longest = tf.maximum(tf.reduce_max(tf.math.count_nonzero(items, axis=1)), 2)
        return {
            "user": tf.cast(self._user_numbers.lookup(user), tf.int32),
            "items": items[:, :longest],
        }

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Count the targets of each example (size,) float32; ``next_items`` holds their ids."""
        if targets.dtype == object:
            targets = np.array([len(ids) for ids in targets])
        return targets.astype("float32")

    def to_config(self) -> dict[str, Any]:
        config = {f.name: getattr(self, f.name) for f in fields(self)}
        # Needed in training only; a trained model has them in its weights.
        return config | {"user_table": None, "item_table": None, "transitions": None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        names = ("users", "items", "item_counts", "recent_item_counts")
        return cls(**{**config, **{name: tuple(config[name]) for name in names}})

    def notes(self) -> dict[str, Any]:
        return {
            "users": len(self.users),
            "items": len(self.items),
            "cold_start_items": len(self.items) - self.num_warm_items,
            "max_history": self.max_history,
        }

    @cached_property
    def known_users(self) -> frozenset[str]:
        """Users that training has seen."""
        return frozenset(self.users)

    @cached_property
    def known_items(self) -> frozenset[str]:
        """Items of the catalogue."""
        return frozenset(self.items)

    def catalogue_indices(self, ids: np.ndarray) -> np.ndarray:
        """Look up ids of any shape in the catalogue; -1 for ids outside it."""
        numbers = np.asarray(self._item_numbers.lookup(tf.constant(ids.astype(str))))
        return np.maximum(numbers - FIRST_ITEM, -1)

    def _count_transitions(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Look up training transitions for item numbers (batch, length).

        Returns:
            How often each item followed the one before, and how often any item did, both
            (batch, length).
        """
        second = items - FIRST_ITEM
        first = tf.pad(second[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
        in_catalogue = (first >= 0) & (second >= 0)
        pairs, counts, totals = self._transition_tensors
        pair = first * len(self.items) + second
        at = tf.minimum(tf.searchsorted(pairs, tf.reshape(pair, [-1])), tf.size(pairs) - 1)
        at = tf.reshape(at, tf.shape(pair))
        found = in_catalogue & (tf.gather(pairs, at) == pair)
        return (
            tf.where(found, tf.gather(counts, at), 0),
            tf.where(in_catalogue, tf.gather(totals, tf.maximum(first, 0)), 0),
        )

    def _truncate(self, items: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Keep the newest items of each history, with padding behind them.

        Args:
            items: (batch, length) item numbers.
            mask: (batch, length) False at padding.

        Returns:
            (batch, max_history) item numbers.
        """
        items = tf.where(mask, items, tf.constant(PADDING, tf.int64))
        length = tf.math.count_nonzero(mask, axis=1)
        start = tf.maximum(length - self.max_history, 0)[:, None]
        positions = start + tf.range(tf.constant(self.max_history, tf.int64))
        inside = positions < length[:, None]
        positions = tf.minimum(positions, tf.shape(items, tf.int64)[1] - 1)
        return tf.where(inside, tf.gather(items, positions, batch_dims=1), PADDING)

    @cached_property
    def _transition_tensors(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        transitions = self.transitions
        if transitions is None:
            raise ValueError("only a fitted Preprocessing prepares examples; this one was loaded")
        # A sentinel pair at the end keeps the search valid where there are no transitions.
        with tf.init_scope(), tf.device("CPU:0"):
            return (
                tf.constant(np.append(transitions.pairs, np.iinfo("int64").max)),
                tf.constant(np.append(transitions.counts, 0), tf.int64),
                tf.constant(transitions.totals, tf.int64),
            )

    @cached_property
    def _item_numbers(self) -> tf.lookup.StaticHashTable:
        numbers = (PADDING, *range(FIRST_ITEM, FIRST_ITEM + len(self.items)))
        return _lookup_table(("", *self.items), numbers, UNKNOWN)

    @cached_property
    def _user_numbers(self) -> tf.lookup.StaticHashTable:
        return _lookup_table(self.users, range(1, len(self.users) + 1), 0)


def augment(
    prepared: tf.Tensor, targets: tf.Tensor, uniform: Uniform, config: Config
) -> tuple[tf.Tensor, tf.Tensor]:
    """Replace some users and items of histories by unknown ones, so that the model learns them.

    Args:
        prepared: (batch, length, 4), see ``Preprocessing.prepare``.
        targets: of the examples, which stay as they are.
        uniform: draws numbers in [0, 1) for each example.

    Returns:
        (batch, length, 4) int32, with the same targets in it, and the targets.
    """
    draws = uniform(1 + tf.shape(prepared)[1])
    items, weights = prepared[:, :, 0], prepared[:, :, 1]
    user = tf.where(draws[:, :1] < UNKNOWN_RATES["user"], 0, items[:, :1])
    history = items[:, 1:]
    # Targets, which have a weight, must stay what they are.
    replaced = (
        (draws[:, 2:] < UNKNOWN_RATES["item"]) & (history >= FIRST_ITEM) & (weights[:, 1:] == 0)
    )
    items = tf.concat([user, tf.where(replaced, UNKNOWN, history)], axis=1)
    replaced_parts = tf.stack([items, weights], axis=-1)
    return tf.concat([replaced_parts, prepared[:, :, 2:]], axis=-1), targets


def _lookup_table(
    keys: Iterable[str], values: Iterable[int], default: int
) -> tf.lookup.StaticHashTable:
    with tf.init_scope(), tf.device("CPU:0"):
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(keys), tf.string), tf.constant(list(values), tf.int64)
        )
        return tf.lookup.StaticHashTable(initializer, tf.constant(default, tf.int64))
