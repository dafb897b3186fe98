"""Models by name: networks that learn what comes next, and what is added to them in the end.

To add one, write a function as those here and add a line to ``MODELS``; a network of your own
derives from ``networks.Network``.

While it learns, a core gives each history its mean loss; what is saved scores the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from . import linear
from .config import Config
from .contract import Data, Phase
from .distribution import of_all_replicas
from .networks import MatrixFactorisation, Network, SelfAttention, TwoTower
from .preprocessing import FIRST, PADDING

if TYPE_CHECKING:
    from .artifact import Artifact
    from .preprocessing import Preprocessing

# Catalogues up to this size are compared with as a whole in training; of larger ones some items.
WHOLE = 20_000
NEVER, TINY = -1e9, 1e-20
ASKED = 2_000  # users of the validation split by whom views are weighed


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


# sasrec_linear: the same, to which ``settle`` adds EASE over histories that fade, and popularity.
MODELS: dict[str, Callable[[Config, Preprocessing], Network]] = {
    "sasrec_linear": sasrec,
    "sasrec": sasrec,
    "two_tower": two_tower,
    "mf": mf,
}
WITH_VIEWS = ("sasrec_linear",)
IN_BATCH = ("two_tower",)

# How large weights are divided among devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> an entry for each axis. Weights without a line are whole on every device.
LAYOUT: dict[str, tuple[str | None, ...]] = {
    "(item|user)_embeddings": (None, "model"),  # (numbers, width)
    "_up/kernel": (None, "model"),
    "_down/kernel": ("model", None),
    "_attention/(query|key|value)/kernel": (None, "model", None),  # (width, heads, size)
}


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """The configured model as it learns: histories -> loss and share of hits (batch, 2)."""
    network = MODELS[config.model.name](config, preprocessing)
    network.build()
    shares = _log_shares(preprocessing.counts)
    network.begin(shares, preprocessing.user_table, preprocessing.item_table)
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "items": keras.Input((None,), dtype="int32", name="items"),
        "weights": keras.Input((None,), dtype="float32", name="weights"),
    }
    learner = Learner(
        network,
        in_batch=config.model.name in IN_BATCH,
        negatives=config.model.negatives,
        seed=config.train.seed,
        dtype="float32",
        name="learner",
    )
    return keras.Model(inputs, learner(inputs), name=config.model.name)


def phases(config: Config) -> list[Phase]:
    """One phase."""
    return [Phase("all", config.train.epochs, config.train.learning_rate)]


def settle(trained: Artifact, data: Data, config: Config) -> Artifact:
    """The model as it is saved: scores of the catalogue, with its views where it has some."""
    network = trained.core.get_layer("learner").network
    if config.model.name not in WITH_VIEWS:
        return replace(trained, core=scoring(network))
    items = {name: place for place, name in enumerate(trained.preprocessing.items)}
    tables = {"recent": _log_shares(trained.preprocessing.recent)}
    if len(items) <= linear.MOST_ITEMS:
        tables["ease"] = _fitted_ease(data, items)
        counts = trained.preprocessing.counts
        tables["transitions"] = linear.transitions(data.train, items, counts)
    core = scoring(network, tables)
    _weigh(replace(trained, core=core), data)
    return replace(trained, core=core)


def scoring(network: Network, tables: dict[str, np.ndarray] | None = None) -> keras.Model:
    """User and history -> scores of the catalogue (batch, items).

    Args:
        tables: of the views that are added, see ``Scores``.
    """
    tables = tables or {}
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "items": keras.Input((None,), dtype="int32", name="items"),
    }
    layer = Scores(network, sorted(tables), dtype="float32", name="scores")
    core = keras.Model(inputs, layer(inputs), name="scoring")
    layer.fill()
    for name, table in tables.items():
        layer.tables[name].assign(table)
    return core


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[Any, ...]]]:
    """Weights that have an entry for each user or item: the name's last part -> (axis, entries)."""
    items = ("<padding>", "<unknown>", "<start>", *preprocessing.items)
    return {
        "item_embeddings": (0, items),
        "item_table": (0, items),
        "user_embeddings": (0, ("<unknown>", *preprocessing.users)),
        "user_table": (0, ("<unknown>", *preprocessing.users)),
        "popularity": (0, preprocessing.items),
    }


@keras.saving.register_keras_serializable(__package__)
class Learner(layers.Layer):
    """Histories -> (batch, 2): the mean cross-entropy of what came next at each place, and the
    share of places where it was among the ten likeliest of those it was compared with.

    Small catalogues are compared with as a whole. Of large ones ``negatives`` items are drawn as
    often as they are popular, the same for all places; or, ``in_batch``, those that came next in
    the whole batch are taken. Both correct for how likely an item is to be drawn (Yi et al.,
    RecSys 2019).
    """

    def __init__(self, network: Network, in_batch: bool, negatives: int, seed: int, **options):
        super().__init__(**options)
        self.network, self.in_batch, self.negatives, self.seed = network, in_batch, negatives, seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shape) -> None:
        pass  # the network is built

    def call(self, inputs, training=False):
        items, weights = inputs["items"], inputs["weights"]
        queries = self.network.queries(inputs["user"], items[:, :-1], training)
        targets = items[:, 1:]
        place = ops.maximum(targets - FIRST, 0)
        if self.in_batch:
            loss, hit = self._in_batch(queries, targets, weights, place)
        elif self.network.items <= WHOLE:
            logits = self.network.scores(queries)
            own = ops.squeeze(ops.take_along_axis(logits, place[..., None], axis=-1), -1)
            loss = ops.logsumexp(logits, axis=-1) - own
            hit = ops.sum(ops.cast(logits > own[..., None], "float32"), axis=-1) < 10
        else:
            shares = ops.expand_dims(self.network.shares, 0)
            drawn = keras.random.categorical(shares, self.negatives, seed=self.generator)[0]
            loss, hit = self._compared(queries, place, FIRST + drawn, drawn)
        count = ops.maximum(ops.sum(weights, axis=1), 1e-6)
        values = ops.stack([loss, ops.cast(hit, "float32")], axis=-1)
        return ops.sum(values * weights[..., None], axis=1) / count[:, None]

    def _in_batch(self, queries, targets, weights, place):
        every = of_all_replicas(ops.where(weights > 0, targets, PADDING))
        others = ops.reshape(every, (-1,))
        return self._compared(queries, place, others, ops.maximum(others - FIRST, 0))

    def _compared(self, queries, place, numbers, places):
        """Loss and hits against items by number; their places in the catalogue."""
        # How likely an item is drawn is taken off, else popular ones would be punished.
        level = self.network.level() - self.network.shares
        own_logits = ops.sum(queries * self.network.vectors(FIRST + place), axis=-1)
        own_logits = own_logits + ops.take(level, place)
        logits = ops.matmul(queries, ops.transpose(self.network.vectors(numbers)))
        logits = logits + ops.take(level, places)
        same = ops.expand_dims(place, -1) == places
        unusable = ops.logical_or(same, numbers == PADDING)
        logits = ops.where(unusable, NEVER, logits)
        both = ops.concatenate([own_logits[..., None], logits], axis=-1)
        hit = ops.sum(ops.cast(logits > own_logits[..., None], "float32"), axis=-1) < 10
        return ops.logsumexp(both, axis=-1) - own_logits, hit

    def compute_output_shape(self, shapes):
        return (shapes["user"][0], 2)

    def get_config(self):
        own = {
            "network": keras.saving.serialize_keras_object(self.network),
            "in_batch": self.in_batch,
            "negatives": self.negatives,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        return cls(_restored(config.pop("network")), **config)


@keras.saving.register_keras_serializable(__package__)
class Scores(layers.Layer):
    """User and history -> scores of the catalogue (batch, items): logarithms of a mixture of
    views, each with its share (``weighing``) and its ``sharpness``. The first is the network's; its
    vectors of all items are kept as an index.

    Args:
        names: of further views: ``ease``, over a history that fades (items, items);
            ``transitions``, from the last item (items, items); ``recent``, what was popular at the
            end of the training events (items,).
    """

    def __init__(self, network: Network, names: list[str], **options):
        super().__init__(**options)
        self.network, self.names = network, list(names)

    def build(self, shape) -> None:
        def fixed(shape, name, start="zeros"):
            return self.add_weight(shape, start, trainable=False, name=name)

        items, width = self.network.items, self.network.width
        self.index = fixed((items, width), "index")
        self.weighing = fixed((1 + len(self.names),), "weighing", "ones")
        self.sharpness = fixed((1 + len(self.names),), "sharpness", "ones")
        shapes = {"recent": (items,)}
        self.tables = {name: fixed(shapes.get(name, (items, items)), name) for name in self.names}

    def fill(self) -> None:
        """Compute the index."""
        self.index.assign(self.network.vectors())

    def call(self, inputs, training=False):
        views = self.views(inputs)
        if len(views) == 1:
            return views[0]
        parts = [
            ops.log(self.weighing[number] + TINY)
            + ops.log_softmax(self.sharpness[number] * view, axis=-1)
            for number, view in enumerate(views)
        ]
        return ops.logsumexp(ops.stack(parts, axis=0), axis=0)

    def views(self, inputs) -> list[Any]:
        """Each view's scores (batch, items)."""
        user, items = inputs["user"], inputs["items"]
        length = ops.sum(ops.cast(items != PADDING, "int32"), axis=1)
        queries = self.network.queries(user, items, False)
        newest = ops.reshape(length - 1, (-1, 1, 1))
        query = ops.squeeze(ops.take_along_axis(queries, newest, axis=1), 1)
        logits = ops.matmul(query, ops.transpose(self.index)) + self.network.level()
        if not self.network.knows_new_items:
            trained = ops.arange(self.network.items) < self.network.trained
            logits = ops.where(trained, logits, NEVER)
        views = [ops.log_softmax(logits, axis=-1)]
        for name, table in self.tables.items():
            if name == "ease":
                views.append(ops.matmul(self._faded(items, length), table))
            elif name == "transitions":
                last = ops.squeeze(ops.take_along_axis(items, newest[:, :, 0], axis=1), 1)
                known = ops.expand_dims(last >= FIRST, 1)
                found = ops.take(table, ops.maximum(last - FIRST, 0), axis=0)
                views.append(ops.where(known, found, self.network.shares))
            else:
                views.append(ops.zeros_like(logits) + table)
        return views

    def _faded(self, items, length):
        """Histories (batch, items of the catalogue), the older the less."""
        place = ops.arange(ops.shape(items)[1])
        age = ops.cast(ops.expand_dims(length - 1, 1) - place, "float32")
        weight = ops.where(items >= FIRST, 0.5 ** (ops.maximum(age, 0.0) / linear.HALF_LIFE), 0.0)
        rows = ops.zeros_like(items) + ops.expand_dims(ops.arange(ops.shape(items)[0]), 1)
        where = ops.stack([rows, ops.maximum(items - FIRST, 0)], axis=-1)
        flat = (ops.reshape(where, (-1, 2)), ops.reshape(weight, (-1,)))
        return ops.scatter(*flat, (ops.shape(items)[0], self.network.items))

    def compute_output_shape(self, shapes):
        return (shapes["user"][0], self.network.items)

    def get_config(self):
        own = {
            "network": keras.saving.serialize_keras_object(self.network),
            "names": self.names,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        return cls(_restored(config.pop("network")), **config)


def _sizes(config: Config, preprocessing: Preprocessing) -> dict[str, Any]:
    def width(table: np.ndarray | None) -> int:
        return 0 if table is None else table.shape[1]

    return {
        "users": len(preprocessing.users),
        "items": len(preprocessing.items),
        "trained": preprocessing.trained,
        "width": config.model.width,
        "dropout": config.model.dropout,
        "seed": config.train.seed,
        "user_width": width(preprocessing.user_table),
        "item_width": width(preprocessing.item_table),
        "name": "network",
    }


def _restored(config: dict[str, Any]) -> Network:
    network = keras.saving.deserialize_keras_object(config)
    if not network.built:
        network.build()
    return network


def _log_shares(counts: tuple[int, ...]) -> np.ndarray:
    smooth = np.array(counts, "float64") + 0.1
    return np.log(smooth / smooth.sum()).astype("float32")


def _fitted_ease(data: Data, items: dict[str, int]) -> np.ndarray:
    """EASE with the strength that is best for the validation split."""
    had = linear.matrix(data.train, items)
    tried = []
    for ridge in linear.RIDGE:
        weights = linear.ease(had, ridge)
        tried.append((linear.ndcg(weights, data.validation, items, linear.HALF_LIFE), weights))
    return max(tried, key=lambda row: row[0])[1]


def _weigh(scored: Artifact, data: Data) -> None:
    """Set how much each view counts: so that what came next in validation is likeliest."""
    layer, preprocessing = scored.core.get_layer("scores"), scored.preprocessing
    asked = data.validation
    most = min(ASKED, max(100, 30_000_000 // (preprocessing.trained * layer.weighing.shape[0])))
    chosen = np.random.default_rng(0).permutation(len(asked))[:most]
    views, allowed, truth = [], [], []
    for start in range(0, len(chosen), 256):
        part = chosen[start : start + 256]
        raw = asked.fetch(part)
        prepared = {name: np.asarray(value) for name, value in preprocessing(raw).items()}
        parts = [ops.convert_to_numpy(view) for view in layer.views(prepared)]
        views.append(np.stack(parts, axis=1)[:, :, : preprocessing.trained])
        free = np.ones((len(part), len(preprocessing.items) + 1), dtype=bool)
        if preprocessing.unseen_only:
            had = preprocessing.catalogue_numbers(np.asarray(raw["known"]))
            free[np.arange(len(part))[:, None], had] = False
        allowed.append(free[:, : preprocessing.trained])
        wanted = preprocessing.catalogue_numbers(asked.targets[part])
        truth.append(np.where(wanted < preprocessing.trained, wanted, -1))
    values, free, wanted = map(np.concatenate, (views, allowed, truth))
    rows, there = np.arange(len(values))[:, None], wanted >= 0
    sharpness, reached = [], []
    for view in np.moveaxis(values, 1, 0):

        def likely(power: float, view: np.ndarray = view) -> np.ndarray:
            total = np.where(free, np.exp(power) * view, NEVER)
            return log_softmax(total, axis=-1)[rows, wanted][there]

        best = minimize_scalar(
            lambda power: -likely(power).mean(), bounds=(-3, 5), method="bounded"
        )
        sharpness.append(float(np.exp(best.x)))
        reached.append(np.exp(likely(best.x)))
    layer.sharpness.assign(np.array(sharpness, "float32"))
    layer.weighing.assign(mixed(np.stack(reached, axis=1)).astype("float32"))


def mixed(reached: np.ndarray) -> np.ndarray:
    """Shares (views,) of a mixture under which what happened is likeliest, by expectation and
    maximisation (Dempster, Laird & Rubin, 1977).

    Args:
        reached: (cases, views) how likely each view held what happened.
    """
    shares = np.full(reached.shape[1], 1 / reached.shape[1])
    for _ in range(200):
        joint = reached * shares + 1e-30
        shares = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares
