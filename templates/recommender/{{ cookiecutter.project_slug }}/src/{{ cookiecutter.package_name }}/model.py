"""Models by name: networks that learn what comes next, alone or beside transitions.

To add one, write a function as those here and add a line to ``MODELS`` in ``registry.py``; a
network of your own derives from ``networks.Network``.

While it learns, a core gives each history its loss; what is saved scores the whole catalogue.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from .config import Config
from .engine.interfaces import DatasetSplits, Phase
from .engine.lookup import find
from .engine.strategy import all_gather
from .networks import linear
from .networks.features import Features
from .networks.layers import MatrixFactorisation, Network, SelfAttention, TwoTower
from .networks.transitions import PRIOR
from .preprocessing import FIRST, PADDING
from .registry import MODELS

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .preprocessing import Preprocessing

# Catalogues up to this size are compared with as a whole in training; of larger ones some items.
WHOLE = 20_000
PART = 20_000  # items whose vectors are computed at a time for the index
NEVER = -1e9


def mf(config: Config, preprocessing: Preprocessing) -> Network:
    """Matrix factorisation."""
    return MatrixFactorisation(**_sizes(config, preprocessing))


def two_tower(config: Config, preprocessing: Preprocessing) -> Network:
    """Towers of users and items with their features, trained against the rest of the batch."""
    return TwoTower(**_sizes(config, preprocessing))


def sasrec(config: Config, preprocessing: Preprocessing) -> Network:
    """Self-attention over the history."""
    shape = {"blocks": config.model.blocks, "heads": config.model.heads}
    places = 2 * preprocessing.max_history + 1
    return SelfAttention(places, **shape, **_sizes(config, preprocessing))


# sasrec_transitions: the same network, but it learns what transitions do not explain.
WITH_TRANSITIONS = ("sasrec_transitions",)
IN_BATCH = ("two_tower",)

# How large weights are divided among devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> an entry for each axis. Weights without a line are whole on every device.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "(item|user)_embeddings": (None, "model"),  # (numbers, width)
    "/up/kernel": (None, "model"),
    "/down/kernel": ("model", None),
    "/attention/(query|key|value)/kernel": (None, "model", None),  # (width, heads, size)
}

# Weights that ``build`` computes from the data: patterns of their paths. ``train.init_from`` leaves
# them as they were built.
WEIGHTS_FROM_DATA: tuple[str, ...] = ("/(shares|user_table|item_table)$",)


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """The configured model as it learns: see ``Learner``."""
    network = find(MODELS, config.model.name)(config, preprocessing)
    network.build()
    shares = np.log(linear.shares(preprocessing.counts))
    network.begin(shares, preprocessing.user_table, preprocessing.item_table)
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "items": keras.Input((None,), dtype="int32", name="items"),
        **{
            name: keras.Input((None,), dtype="float32", name=name)
            for name in ("weights", "followed", "left")
        },
    }
    learner = Learner(
        network,
        in_batch=config.model.name in IN_BATCH,
        transitions=config.model.name in WITH_TRANSITIONS,
        negatives=config.model.negatives,
        seed=config.train.seed,
        dtype="float32",
        name="learner",
    )
    return keras.Model(inputs, learner(inputs), name=config.model.name)


def phases(config: Config) -> list[Phase]:
    """One phase."""
    return [Phase("all", config.train.epochs, config.train.learning_rate)]


def finalize(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """The model as it is saved: scores of the catalogue."""
    learner = trained.network.get_layer("learner")
    core = scoring(learner.network)
    if learner.transitions:
        core = scoring(learner.network, trained.preprocessing.transitions.table(), learner.gate)
    return replace(trained, network=core)


def scoring(
    network: Network, transitions: np.ndarray | None = None, gate: Any = None
) -> keras.Model:
    """User and history -> scores of the catalogue (batch, items).

    Args:
        transitions: see ``Transitions.table``.
        gate: (2,) see ``Learner``.
    """
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "items": keras.Input((None,), dtype="int32", name="items"),
    }
    followers = 0 if transitions is None else transitions.shape[1]
    layer = Scores(network, followers, dtype="float32", name="scores")
    core = keras.Model(inputs, layer(inputs), name="scoring")
    layer.index.assign(_vectors(network))
    if followers:
        layer.transitions.assign(transitions)
        layer.gate.assign(gate)
    return core


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[Any, ...]]]:
    """Weights that have an entry for each user or item: the name's last part -> (axis, entries)."""
    items = ("<padding>", "<unknown>", "<start>", *preprocessing.items)
    return {
        "item_embeddings": (0, items),
        "user_embeddings": (0, ("<unknown>", *preprocessing.users)),
        "popularity": (0, preprocessing.items),
    }


@keras.saving.register_keras_serializable(__package__)
class Learner(layers.Layer):
    """Histories -> (batch, 2): the mean cross-entropy of what came next at each place, and the
    share of places where it was likelier than by its popularity.

    Small catalogues are compared with as a whole. Of large ones ``negatives`` items are drawn as
    often as they are popular, the same for all places; or, ``in_batch``, those that came next in
    the whole batch are taken (with those of rows that only fill an epoch's last batch up). Both
    correct for how likely an item is to be drawn (Yi et al., RecSys 2019).

    With ``transitions`` what comes next is held to be, by turns, what the network says or what came
    right after the last item before: ``gate`` (2,) has the logarithms of their shares, up to a
    constant. So the network learns what transitions do not explain. An event that is learnt does
    not count for itself.
    """

    def __init__(
        self,
        network: Network,
        in_batch: bool,
        transitions: bool,
        negatives: int,
        seed: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.network, self.in_batch, self.transitions = network, in_batch, transitions
        self.negatives, self.seed = negatives, seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shape) -> None:
        if self.transitions:
            self.gate = self.add_weight((2,), "zeros", name="gate")

    def call(self, inputs, training=False):
        items, weights = inputs["items"], inputs["weights"]
        # A network of one's own may end in a layer of half precision.
        queries = self.network.queries(inputs["user"], items[:, :-1], training)
        queries = ops.cast(queries, self.compute_dtype)
        targets = items[:, 1:]
        place = ops.maximum(targets - FIRST, 0)
        if self.in_batch:
            likely = self._in_batch(queries, targets, weights, place)
        elif self.network.items <= WHOLE:
            own = self._own(queries, place, self.network.level())
            likely = own - ops.logsumexp(self.network.scores(queries), axis=-1)
        else:
            drawn = self._drawn()
            likely = self._compared(queries, place, FIRST + drawn, drawn)
        popularity = ops.take(self.network.shares, place)
        if self.transitions:
            itself = 1.0 if training else 0.0
            followed = ops.maximum(inputs["followed"] - itself, 0.0)
            left = ops.maximum(inputs["left"] - itself, 0.0)
            known = ops.log((followed + PRIOR * ops.exp(popularity)) / (left + PRIOR))
            shares = ops.log_softmax(self.gate)
            likely = ops.logaddexp(shares[0] + likely, shares[1] + known)
        above = ops.cast(likely > popularity, "float32")
        count = ops.maximum(ops.sum(weights, axis=1), 1e-6)
        values = ops.stack([-likely, above], axis=-1)
        return ops.sum(values * weights[..., None], axis=1) / count[:, None]

    def _in_batch(self, queries, targets, weights, place):
        every = all_gather(ops.where(weights > 0, targets, PADDING))
        others = ops.reshape(every, (-1,))
        return self._compared(queries, place, others, ops.maximum(others - FIRST, 0))

    def _drawn(self):
        """Places (negatives,) in the catalogue, each as often as it is popular.

        A block of the catalogue is drawn first, then an item of it: to draw from all at once takes
        a number for each item and draw.
        """
        side = math.isqrt(self.network.items - 1) + 1
        missing = side * side - self.network.items
        shares = ops.pad(self.network.shares, [[0, missing]], constant_values=NEVER)
        shares = ops.reshape(shares, (side, side))
        blocks = ops.expand_dims(ops.logsumexp(shares, axis=1), 0)
        block = keras.random.categorical(blocks, self.negatives, seed=self.generator)[0]
        inside = ops.take(shares, block, axis=0)  # (negatives, side)
        place = keras.random.categorical(inside, 1, seed=self.generator)[:, 0]
        return block * side + place

    def _compared(self, queries, place, numbers, places):
        """How likely it is, against items by number and place in the catalogue."""
        # How likely an item is drawn is taken off, else popular ones would be punished.
        level = self.network.level() - self.network.shares
        own_logits = self._own(queries, place, level)
        logits = ops.matmul(queries, ops.transpose(self.network.vectors(numbers)))
        logits = logits + ops.take(level, places)
        same = ops.expand_dims(place, -1) == places
        unusable = ops.logical_or(same, numbers == PADDING)
        logits = ops.where(unusable, NEVER, logits)
        both = ops.concatenate([own_logits[..., None], logits], axis=-1)
        return own_logits - ops.logsumexp(both, axis=-1)

    def _own(self, queries, place, level):
        """Scores (batch, places) of what came next."""
        vectors = self.network.vectors(FIRST + place)
        return ops.sum(queries * vectors, axis=-1) + ops.take(level, place)

    def compute_output_shape(self, shapes):
        return (shapes["user"][0], 2)

    def get_config(self):
        own = {
            "network": keras.saving.serialize_keras_object(self.network),
            "in_batch": self.in_batch,
            "transitions": self.transitions,
            "negatives": self.negatives,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        return cls(_restored(config.pop("network")), **config)


@keras.saving.register_keras_serializable(__package__)
class Scores(layers.Layer):
    """User and history -> scores of the catalogue (batch, items): the network's, whose vectors of
    all items are kept as an index, and transitions from the last item, as in ``Learner``.

    Args:
        followers: so many are kept of each item, see ``Transitions.table``; 0: no transitions.
    """

    def __init__(self, network: Network, followers: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.network, self.followers = network, followers

    def build(self, shape) -> None:
        def fixed(shape, name):
            return self.add_weight(shape, "zeros", trainable=False, name=name)

        items, width = self.network.items, self.network.width
        self.index = fixed((items, width), "index")
        if self.followers:
            self.transitions = fixed((items, self.followers, 2), "transitions")
            self.gate = fixed((2,), "gate")

    def call(self, inputs, training=False):
        user, items = inputs["user"], inputs["items"]
        newest = ops.sum(ops.cast(items != PADDING, "int32"), axis=1, keepdims=True) - 1
        queries = ops.cast(self.network.queries(user, items, False), self.compute_dtype)
        at = ops.minimum(newest, ops.shape(queries)[1] - 1)
        query = ops.squeeze(ops.take_along_axis(queries, at[..., None], axis=1), 1)
        logits = ops.matmul(query, ops.transpose(self.index)) + self.network.level()
        if not self.followers:
            return logits
        last = ops.squeeze(ops.take_along_axis(items, newest, axis=1), 1)
        shares = ops.log_softmax(self.gate)
        known = ops.log(self._after(last))
        return ops.logaddexp(shares[0] + ops.log_softmax(logits, axis=-1), shares[1] + known)

    def _after(self, last):
        """How likely each item (batch, items) comes right after another (batch,)."""
        place, likely = ops.split(
            ops.take(self.transitions, ops.maximum(last - FIRST, 0), axis=0), 2, -1
        )
        likely = ops.where(last[:, None, None] >= FIRST, likely, 0.0)
        row = ops.zeros_like(place, "int32") + ops.arange(ops.shape(last)[0])[:, None, None]
        where = ops.reshape(ops.concatenate([row, ops.cast(place, "int32")], -1), (-1, 2))
        found = ops.scatter(
            where, ops.reshape(likely, (-1,)), (ops.shape(last)[0], self.network.items)
        )
        return found + (1 - ops.sum(likely, axis=1)) * ops.exp(self.network.shares)

    def compute_output_shape(self, shapes):
        return (shapes["user"][0], self.network.items)

    def get_config(self):
        own = {
            "network": keras.saving.serialize_keras_object(self.network),
            "followers": self.followers,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        return cls(_restored(config.pop("network")), **config)


def _sizes(config: Config, preprocessing: Preprocessing) -> dict[str, Any]:
    def shape(table: np.ndarray | None, features: dict[str, Any]) -> tuple[int, int] | None:
        return None if table is None else (table.shape[1], Features.from_config(features).width)

    return {
        "users": len(preprocessing.users),
        "items": len(preprocessing.items),
        "trained": preprocessing.trained,
        "width": config.model.width,
        "dropout": config.model.dropout,
        "seed": config.train.seed,
        "user_shape": shape(preprocessing.user_table, preprocessing.user_features),
        "item_shape": shape(preprocessing.item_table, preprocessing.item_features),
        "name": "network",
    }


def _vectors(network: Network) -> np.ndarray:
    """Vectors (items, width) of the whole catalogue, part by part: features take several times
    their size."""
    numbers = np.arange(FIRST, FIRST + network.items, dtype="int32")
    starts = range(0, len(numbers), PART)
    return np.concatenate(
        [
            ops.convert_to_numpy(network.vectors(ops.convert_to_tensor(numbers[i : i + PART])))
            for i in starts
        ]
    )


def _restored(config: dict[str, Any]) -> Network:
    network = keras.saving.deserialize_keras_object(config)
    if not network.built:
        network.build()
    return network
