"""Models by name: networks that learn the next item, alone or beside transitions.

To add one, write a function like those here and add a line to ``MODELS`` in ``registry.py``; a
network of your own derives from ``networks.layers.Network``.

The Keras model that is trained outputs the loss of each history; the one that is saved scores the
whole catalogue. Both share the network.
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
from .networks.features import FeatureEncoder
from .networks.layers import MatrixFactorization, Network, SASRec, Shape, Tensor, TwoTower
from .networks.transitions import PRIOR_COUNT
from .preprocessing import FIRST_ITEM, PADDING
from .registry import MODELS

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .preprocessing import Preprocessing

FULL_SOFTMAX_ITEMS = 20_000  # larger catalogues train with sampled negatives
INDEX_BATCH = 20_000  # items embedded at a time when the index is built
MASKED_LOGIT = -1e9  # not infinite, as the difference of two infinities is NaN


def mf(config: Config, preprocessing: Preprocessing) -> Network:
    """Build matrix factorization: the dot product of a user's and an item's embedding.

    Args:
        config: of the model's fields it reads ``embedding_dim``.
        preprocessing: its users and items have an embedding each.
    """
    return MatrixFactorization(**_network_options(config, preprocessing))


def two_tower(config: Config, preprocessing: Preprocessing) -> Network:
    """Build towers of users and items with their features, trained with in-batch negatives.

    Args:
        config: of the model's fields it reads ``embedding_dim`` and ``dropout``.
        preprocessing: its users and items have an embedding each.
    """
    return TwoTower(**_network_options(config, preprocessing))


def sasrec(config: Config, preprocessing: Preprocessing) -> Network:
    """Build self-attention over the history.

    Args:
        config: all fields of the model but ``num_negatives``, which the loss reads.
        preprocessing: its items have an embedding each; users are known by their history alone.
    """
    return SASRec(
        # START, then max_history items of history and as many next items.
        max_length=2 * preprocessing.max_history + 1,
        num_blocks=config.model.num_blocks,
        num_heads=config.model.num_heads,
        **_network_options(config, preprocessing),
    )


# sasrec_transitions is the network of sasrec; it learns what transitions do not explain.
TRANSITION_MODELS = ("sasrec_transitions",)
IN_BATCH_MODELS = ("two_tower",)

# How large weights are sharded over devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> a mesh axis or None for each axis. Other weights are replicated.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "(item|user)_embeddings": (None, "model"),  # (numbers, embedding_dim)
    "/up/kernel": (None, "model"),
    "/down/kernel": ("model", None),
    "/attention/(query|key|value)/kernel": (None, "model", None),  # (embedding_dim, heads, size)
}

# Patterns of the paths of weights that ``build`` computes from the data; ``train.init_from`` keeps
# them as built.
WEIGHTS_FROM_DATA: tuple[str, ...] = ("/(log_popularity|user_table|item_table)$",)


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the configured model for training, see ``NextItemLoss``.

    Args:
        preprocessing: fitted, as its statistics and tables of features become weights.
    """
    network = find(MODELS, config.model.name)(config, preprocessing)
    network.build()
    log_popularity = np.log(linear.popularity(preprocessing.item_counts))
    network.set_statistics(log_popularity, preprocessing.user_table, preprocessing.item_table)
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "items": keras.Input((None,), dtype="int32", name="items"),
        **{
            name: keras.Input((None,), dtype="float32", name=name)
            for name in ("weights", "transition_counts", "transition_totals")
        },
    }
    loss = NextItemLoss(
        network,
        in_batch=config.model.name in IN_BATCH_MODELS,
        use_transitions=config.model.name in TRANSITION_MODELS,
        num_negatives=config.model.num_negatives,
        seed=config.train.seed,
        dtype="float32",
        name="next_item_loss",
    )
    return keras.Model(inputs, loss(inputs), name=config.model.name)


def phases(config: Config) -> list[Phase]:
    """Return the single phase of training."""
    return [Phase("all", config.train.epochs, config.train.learning_rate)]


def finalize(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """Replace the trained model by one that scores the catalogue.

    Args:
        trained: with the model of ``build``.
    """
    loss = trained.network.get_layer("next_item_loss")
    scorer = build_scorer(loss.network)
    if loss.use_transitions:
        followers = trained.preprocessing.transitions.top_followers()
        scorer = build_scorer(loss.network, followers, loss.gate)
    return replace(trained, network=scorer)


def build_scorer(
    network: Network, followers: np.ndarray | None = None, gate: Tensor | None = None
) -> keras.Model:
    """Build a model from user and history to scores of the catalogue (batch, items).

    Args:
        network: trained; the scorer takes its embeddings of all items as they are now.
        followers: (items, followers, 2), see ``Transitions.top_followers``; None: no transitions.
        gate: (2,) see ``NextItemLoss``.
    """
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "items": keras.Input((None,), dtype="int32", name="items"),
    }
    num_followers = 0 if followers is None else followers.shape[1]
    scorer = CatalogueScorer(network, num_followers, dtype="float32", name="scorer")
    model = keras.Model(inputs, scorer(inputs), name="scorer")
    scorer.index.assign(_embed_catalogue(network))
    if num_followers:
        scorer.followers.assign(followers)
        scorer.gate.assign(gate)
    return model


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[Any, ...]]]:
    """Return the weights with an entry for each user or item: name -> (axis, entries)."""
    items = ("<padding>", "<unknown>", "<start>", *preprocessing.items)
    return {
        "item_embeddings": (0, items),
        "user_embeddings": (0, ("<unknown>", *preprocessing.users)),
        "popularity": (0, preprocessing.items),
    }


@keras.saving.register_keras_serializable(__package__)
class NextItemLoss(layers.Layer):
    """Compute the loss of each history: the cross-entropy of the next item at each position.

    The outputs (batch, 2) are the weighted mean cross-entropy, and the weighted share of positions
    where the next item was likelier than by its popularity.

    Small catalogues use the full softmax. Large ones compare the next item with ``num_negatives``
    items, sampled by popularity and shared by all positions; or, ``in_batch``, with all next items
    of the global batch (those of rows that only fill up the last batch included). Both correct the
    logits for the probability of being sampled (Yi et al., RecSys 2019).

    With ``use_transitions`` the next item's distribution is a mixture of the network's and that of
    transitions from the item before; ``gate`` (2,) holds the logits of their shares. So the network
    learns what transitions do not explain. In training, each target is left out of the counts.
    """

    def __init__(
        self,
        network: Network,
        in_batch: bool,
        use_transitions: bool,
        num_negatives: int,
        seed: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.network, self.in_batch, self.use_transitions = network, in_batch, use_transitions
        self.num_negatives, self.seed = num_negatives, seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shape: dict[str, Shape]) -> None:
        if self.use_transitions:
            self.gate = self.add_weight((2,), "zeros", name="gate")

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        """Return loss and share above popularity (batch, 2).

        Args:
            inputs: see ``Preprocessing.finish``.
            training: whether dropout applies, and whether a target is left out of the transitions.
        """
        items, weights = inputs["items"], inputs["weights"]  # (batch, 1 + length), (batch, length)
        queries = self.network.embed_queries(inputs["user"], items[:, :-1], training)
        # A user's own network may end in a layer of half precision.
        queries = ops.cast(queries, self.compute_dtype)  # (batch, length, embedding_dim)
        targets = items[:, 1:]  # (batch, length)
        # Item 0 stands for padding and unknown items, whose weight is 0.
        index = ops.maximum(targets - FIRST_ITEM, 0)
        if self.in_batch:
            log_prob = self._in_batch_log_prob(queries, targets, weights, index)
        elif self.network.num_items <= FULL_SOFTMAX_ITEMS:
            logits = self._target_logits(queries, index, self.network.item_logits())
            # Full softmax over (batch, length, items), as logits of the targets are all it needs.
            log_prob = logits - ops.logsumexp(self.network.score(queries), axis=-1)
        else:
            negatives = self._sample_negatives()
            log_prob = self._log_prob_among_samples(
                queries, index, FIRST_ITEM + negatives, negatives
            )
        log_popularity = ops.take(self.network.log_popularity, index)
        if self.use_transitions:
            transition = self._transition_log_prob(inputs, log_popularity, training)
            shares = ops.log_softmax(self.gate)
            log_prob = ops.logaddexp(shares[0] + log_prob, shares[1] + transition)
        above = ops.cast(log_prob > log_popularity, "float32")
        total = ops.maximum(
            ops.sum(weights, axis=1), 1e-6
        )  # (batch,), 0 in rows that only fill up a batch
        values = ops.stack([-log_prob, above], axis=-1)  # (batch, length, 2)
        return ops.sum(values * weights[..., None], axis=1) / total[:, None]

    def _transition_log_prob(
        self, inputs: dict[str, Tensor], log_popularity: Tensor, training: bool
    ) -> Tensor:
        """Compute the log-probability (batch, length) of each target given the item before it."""
        own = 1.0 if training else 0.0  # the target's own occurrence in the training counts
        counts = ops.maximum(inputs["transition_counts"] - own, 0.0)
        totals = ops.maximum(inputs["transition_totals"] - own, 0.0)
        prior = PRIOR_COUNT * ops.exp(log_popularity)
        return ops.log((counts + prior) / (totals + PRIOR_COUNT))

    def _in_batch_log_prob(
        self, queries: Tensor, targets: Tensor, weights: Tensor, index: Tensor
    ) -> Tensor:
        """Compute the log-probability (batch, length) of each target among all of the batch."""
        numbers = all_gather(ops.where(weights > 0, targets, PADDING))
        numbers = ops.reshape(numbers, (-1,))  # (replicas * batch * length,)
        indices = ops.maximum(numbers - FIRST_ITEM, 0)
        return self._log_prob_among_samples(queries, index, numbers, indices)

    def _sample_negatives(self) -> Tensor:
        """Sample catalogue indices (num_negatives,) by popularity.

        The catalogue is a square of blocks: sample a block, then an item in it. Sampling from the
        whole catalogue would take a random number for each item and negative.
        """
        side = math.isqrt(self.network.num_items - 1) + 1
        missing = side * side - self.network.num_items
        logits = self.network.log_popularity
        logits = ops.pad(logits, [[0, missing]], constant_values=MASKED_LOGIT)
        logits = ops.reshape(logits, (side, side))  # (blocks, items of a block)
        blocks = ops.expand_dims(ops.logsumexp(logits, axis=1), 0)
        block = keras.random.categorical(blocks, self.num_negatives, seed=self.generator)[0]
        inside = ops.take(logits, block, axis=0)  # (num_negatives, side)
        offset = keras.random.categorical(inside, 1, seed=self.generator)[:, 0]
        return block * side + offset

    def _log_prob_among_samples(
        self, queries: Tensor, index: Tensor, numbers: Tensor, indices: Tensor
    ) -> Tensor:
        """Compute the log-probability (batch, length) of each target in a sampled softmax.

        Args:
            index: (batch, length) catalogue indices of the targets.
            numbers, indices: (samples,) item numbers and catalogue indices to compare with.
        """
        # The log-Q correction: without it popular items, sampled often, would be punished.
        correction = self.network.item_logits() - self.network.log_popularity
        target_logits = self._target_logits(queries, index, correction)
        logits = ops.matmul(queries, ops.transpose(self.network.embed_items(numbers)))
        logits = logits + ops.take(correction, indices)  # (batch, length, samples)
        accidental = ops.expand_dims(index, -1) == indices  # the target itself was sampled
        masked = ops.logical_or(accidental, numbers == PADDING)
        logits = ops.where(masked, MASKED_LOGIT, logits)
        both = ops.concatenate([target_logits[..., None], logits], axis=-1)  # 1 + samples
        return target_logits - ops.logsumexp(both, axis=-1)

    def _target_logits(self, queries: Tensor, index: Tensor, item_logits: Tensor) -> Tensor:
        """Compute the logits (batch, length) of the targets."""
        embeddings = self.network.embed_items(FIRST_ITEM + index)  # (batch, length, embedding_dim)
        return ops.sum(queries * embeddings, axis=-1) + ops.take(item_logits, index)

    def compute_output_shape(self, shapes: dict[str, Shape]) -> Shape:
        return (shapes["user"][0], 2)

    def get_config(self) -> dict[str, Any]:
        own = {
            "network": keras.saving.serialize_keras_object(self.network),
            "in_batch": self.in_batch,
            "use_transitions": self.use_transitions,
            "num_negatives": self.num_negatives,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NextItemLoss:
        return cls(_deserialize_network(config.pop("network")), **config)


@keras.saving.register_keras_serializable(__package__)
class CatalogueScorer(layers.Layer):
    """Score the catalogue for users and histories (batch, items).

    The embeddings of all items are stored as ``index``; with transitions the scores are the
    logarithms of the mixture that ``NextItemLoss`` trains.

    Args:
        num_followers: followers stored for each item, see ``Transitions.top_followers``; 0: no
            transitions.
    """

    def __init__(self, network: Network, num_followers: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.network, self.num_followers = network, num_followers

    @property
    def needs_float32(self) -> bool:
        """Whether weights hold indices, of which rounding would make others."""
        return bool(self.num_followers)

    def build(self, shape: dict[str, Shape]) -> None:
        def add_constant(shape: Shape, name: str) -> keras.Variable:
            return self.add_weight(shape, "zeros", trainable=False, name=name)

        num_items, embedding_dim = self.network.num_items, self.network.embedding_dim
        self.index = add_constant((num_items, embedding_dim), "index")
        if self.num_followers:
            self.followers = add_constant((num_items, self.num_followers, 2), "followers")
            self.gate = add_constant((2,), "gate")

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        """Return scores (batch, items) of ``user`` and ``items``, see ``Preprocessing``.

        Args:
            inputs: ``user`` (batch,) and ``items`` (batch, length), START first.
            training: never applies, as this model is trained.
        """
        user, items = inputs["user"], inputs["items"]
        last = ops.sum(ops.cast(items != PADDING, "int32"), axis=1, keepdims=True) - 1  # (batch, 1)
        queries = self.network.embed_queries(user, items, False)
        queries = ops.cast(queries, self.compute_dtype)  # (batch, length or 1, embedding_dim)
        # A network that ignores the items has a single query.
        position = ops.minimum(last, ops.shape(queries)[1] - 1)
        # (batch, embedding_dim)
        query = ops.squeeze(ops.take_along_axis(queries, position[..., None], axis=1), 1)
        logits = ops.matmul(query, ops.transpose(self.index)) + self.network.item_logits()
        if not self.num_followers:
            return logits
        last_item = ops.squeeze(ops.take_along_axis(items, last, axis=1), 1)
        shares = ops.log_softmax(self.gate)
        transition = ops.log(self._transition_prob(last_item))
        return ops.logaddexp(shares[0] + ops.log_softmax(logits, axis=-1), shares[1] + transition)

    def _transition_prob(self, last_item: Tensor) -> Tensor:
        """Compute the probability (batch, items) of each item to directly follow another."""
        index, prob = ops.split(
            ops.take(self.followers, ops.maximum(last_item - FIRST_ITEM, 0), axis=0), 2, -1
        )  # (batch, followers, 1)
        prob = ops.where(last_item[:, None, None] >= FIRST_ITEM, prob, 0.0)
        # Scattered: a dense matrix (items, items) of transitions would not fit into memory.
        batch = ops.shape(last_item)[0]
        row = ops.zeros_like(index, "int32") + ops.arange(batch)[:, None, None]
        # Padding goes to a column of its own, so that no cell is written twice: ONNX does not add.
        index = ops.where(prob > 0, ops.cast(index, "int32"), self.network.num_items)
        cells = ops.reshape(ops.concatenate([row, index], -1), (-1, 2))
        shape = (batch, self.network.num_items + 1)
        found = ops.scatter(cells, ops.reshape(prob, (-1,)), shape)[:, :-1]
        rest = 1 - ops.sum(prob, axis=1)  # (batch, 1)
        return found + rest * ops.exp(self.network.log_popularity)

    def compute_output_shape(self, shapes: dict[str, Shape]) -> Shape:
        return (shapes["user"][0], self.network.num_items)

    def get_config(self) -> dict[str, Any]:
        own = {
            "network": keras.saving.serialize_keras_object(self.network),
            "num_followers": self.num_followers,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CatalogueScorer:
        return cls(_deserialize_network(config.pop("network")), **config)


def _network_options(config: Config, preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the arguments of ``Network`` that all models share."""

    def shape(table: np.ndarray | None, features: dict[str, Any]) -> tuple[int, int] | None:
        if table is None:
            return None
        return (table.shape[1], FeatureEncoder.from_config(features).num_columns)

    return {
        "num_users": len(preprocessing.users),
        "num_items": len(preprocessing.items),
        "num_warm_items": preprocessing.num_warm_items,
        "embedding_dim": config.model.embedding_dim,
        "dropout": config.model.dropout,
        "seed": config.train.seed,
        "user_feature_shape": shape(preprocessing.user_table, preprocessing.user_features),
        "item_feature_shape": shape(preprocessing.item_table, preprocessing.item_features),
        "name": "network",
    }


def _embed_catalogue(network: Network) -> np.ndarray:
    """Embed all items (items, embedding_dim), in batches as features take several times more."""
    numbers = np.arange(FIRST_ITEM, FIRST_ITEM + network.num_items, dtype="int32")
    batches = (numbers[i : i + INDEX_BATCH] for i in range(0, len(numbers), INDEX_BATCH))
    return np.concatenate(
        [
            ops.convert_to_numpy(network.embed_items(ops.convert_to_tensor(batch)))
            for batch in batches
        ]
    )


def _deserialize_network(config: dict[str, Any]) -> Network:
    network = keras.saving.deserialize_keras_object(config)
    if not network.built:
        network.build()
    return network
