"""Networks that embed items, and histories as queries; the larger the dot product of a query with
an item's embedding, the likelier the item comes next.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ..preprocessing import FIRST_ITEM, PADDING, UNKNOWN

Tensor = Any  # of Keras' backend; Keras has no types
Shape = tuple[int | None, ...]  # None: any size


class Network(layers.Layer):
    """Base of all networks: embeddings, features and popularity of items.

    Args:
        num_users, num_items: how many there are; the first ``num_warm_items`` items have training
            interactions.
        embedding_dim: dimension of queries and embeddings.
        dropout: dropout rate.
        user_feature_shape, item_feature_shape: (entries, columns) of their encoded features, see
            ``FeatureEncoder``; None: there are no features.
    """

    # Whether the scores have a trainable popularity of each item.
    use_popularity = True

    def __init__(
        self,
        num_users: int,
        num_items: int,
        num_warm_items: int,
        embedding_dim: int,
        dropout: float = 0.0,
        seed: int = 0,
        user_feature_shape: tuple[int, int] | None = None,
        item_feature_shape: tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_users, self.num_items = num_users, num_items
        self.num_warm_items = num_warm_items
        self.embedding_dim, self.rate, self.seed = embedding_dim, dropout, seed
        self.user_feature_shape, self.item_feature_shape = user_feature_shape, item_feature_shape

    def build(self, shape: Shape | None = None) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed)
        self.item_embedding = self.add_weight(
            (FIRST_ITEM + self.num_items, self.embedding_dim), small, name="item_embeddings"
        )
        self.log_popularity = self.add_weight(
            (self.num_items,), "zeros", trainable=False, name="log_popularity"
        )
        self.popularity = None
        if self.use_popularity:
            # Not named a bias, which optimizers exclude from weight decay.
            self.popularity = self.add_weight((self.num_items,), "zeros", name="popularity")
        for name, rows, shape in (
            ("user_table", 1 + self.num_users, self.user_feature_shape),
            ("item_table", FIRST_ITEM + self.num_items, self.item_feature_shape),
        ):
            table = kernel = None
            if shape:
                entries, columns = shape
                table = self.add_weight((rows, entries, 2), "zeros", trainable=False, name=name)
                kernel = self.add_weight(
                    (columns, self.embedding_dim), small, name=f"{name}_kernel"
                )
            setattr(self, name, table)
            setattr(self, f"{name}_kernel", kernel)
        self.dropout = layers.Dropout(self.rate, seed=self.seed)
        self.build_layers()

    def build_layers(self) -> None:
        """Create the weights and layers that only this network has."""

    def set_statistics(
        self,
        log_popularity: np.ndarray,
        user_table: np.ndarray | None,
        item_table: np.ndarray | None,
    ) -> None:
        """Set the weights that are computed from the training interactions.

        Args:
            log_popularity: (items,) logarithm of each item's share of the interactions.
            user_table, item_table: (users or items, entries, 2) encoded features, or None.
        """
        self.log_popularity.assign(log_popularity)
        if self.popularity is not None:
            self.popularity.assign(log_popularity)
        for weight, table in ((self.user_table, user_table), (self.item_table, item_table)):
            if weight is not None and table is not None:
                # The first rows are those of special numbers such as UNKNOWN.
                rows = np.zeros(weight.shape, "float32")
                rows[len(rows) - len(table) :] = table
                weight.assign(rows)

    def embed_queries(self, user: Tensor, items: Tensor, training: bool) -> Tensor:
        """Embed what may come next after each position; a query sees no later position.

        Args:
            user: (batch,) int32 user numbers.
            items: (batch, length) int32 item numbers, START before and PADDING behind them.
            training: whether dropout applies.

        Returns:
            (batch, length, embedding_dim), or (batch, 1, embedding_dim) where the network ignores
            the items.

        Raises:
            NotImplementedError: a network of your own lacks this method.
        """
        raise NotImplementedError

    def embed_items(self, numbers: Tensor | None = None) -> Tensor:
        """Embed items: the item's own embedding plus that of its features.

        Args:
            numbers: (…) int32 item numbers; None: the whole catalogue. Items without training
                interactions have the embedding of an unknown item and their features.

        Returns:
            (…, embedding_dim) or (items, embedding_dim) float32.
        """
        if numbers is None:
            numbers = ops.arange(FIRST_ITEM, FIRST_ITEM + self.num_items, dtype="int32")
        # The embedding of a cold item would never be trained; that of UNKNOWN is, by augmentation.
        warm = ops.where(numbers < FIRST_ITEM + self.num_warm_items, numbers, UNKNOWN)
        own = ops.take(self.item_embedding, warm, axis=0)
        return own + _embed_features(self.item_table, self.item_table_kernel, numbers)

    def embed_user_features(self, user: Tensor) -> Tensor:
        """Embed the features of users (batch,): (batch, 1, embedding_dim), or 0 without any."""
        return _embed_features(self.user_table, self.user_table_kernel, user[:, None])

    def item_logits(self) -> Tensor:
        """Return the part of the scores that no query changes (items,)."""
        return ops.zeros((self.num_items,)) if self.popularity is None else self.popularity

    def score(self, queries: Tensor) -> Tensor:
        """Score the catalogue for queries (…, embedding_dim): (…, items)."""
        return ops.matmul(queries, ops.transpose(self.embed_items())) + self.item_logits()

    def get_config(self) -> dict[str, Any]:
        names = [
            *("num_users", "num_items", "num_warm_items", "embedding_dim", "seed"),
            *("user_feature_shape", "item_feature_shape"),
        ]
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "dropout": self.rate}


def _embed_features(table: Tensor | None, kernel: Tensor | None, numbers: Tensor) -> Tensor:
    """Multiply the encoded features of numbers (…) by a kernel.

    Args:
        table: (rows, entries, 2) column and value of each entry; None: there are no features.
        kernel: (columns, embedding_dim).

    Returns:
        (…, embedding_dim), or 0 without features.
    """
    if table is None:
        return 0.0
    columns, values = ops.split(ops.take(table, numbers, axis=0), 2, axis=-1)  # (…, entries, 1)
    # Gathering the few rows of the kernel that have entries stands for a product with a matrix
    # (…, columns) of mostly zeros.
    rows = ops.take(kernel, ops.cast(ops.squeeze(columns, -1), "int32"), axis=0)
    return ops.sum(rows * values, axis=-2)  # (…, entries, embedding_dim) -> (…, embedding_dim)


@keras.saving.register_keras_serializable(__package__)
class MatrixFactorization(Network):
    """An embedding for each user and item: Koren, Bell & Volinsky, Computer 42, 2009."""

    def build_layers(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.user_embedding = self.add_weight(
            (1 + self.num_users, self.embedding_dim), small, name="user_embeddings"
        )

    def embed_queries(self, user: Tensor, items: Tensor, training: bool) -> Tensor:
        own = ops.take(self.user_embedding, user[:, None], axis=0)  # (batch, 1, embedding_dim)
        return own + self.embed_user_features(user)


@keras.saving.register_keras_serializable(__package__)
class TwoTower(Network):
    """A tower for users (id, features, mean and last item of the history) and one for items: Yi et
    al., RecSys 2019."""

    # As in the paper, scores are dot products alone.
    use_popularity = False

    def build_layers(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.user_embedding = self.add_weight(
            (1 + self.num_users, self.embedding_dim), small, name="user_embeddings"
        )
        self.user_tower = self._build_tower("user", 3 * self.embedding_dim)
        self.item_tower = self._build_tower("item", self.embedding_dim)

    def _build_tower(self, name: str, input_dim: int) -> list[layers.Layer]:
        hidden_dim = 2 * self.embedding_dim
        tower = [
            layers.Dense(hidden_dim, activation="relu", name=f"{name}_hidden"),
            # float32 at any precision, as both towers' outputs are multiplied with each other.
            layers.Dense(self.embedding_dim, dtype="float32", name=f"{name}_out"),
        ]
        tower[0].build((None, input_dim))
        tower[1].build((None, hidden_dim))
        return tower

    def embed_queries(self, user: Tensor, items: Tensor, training: bool) -> Tensor:
        history = super().embed_items(items)  # (batch, length, embedding_dim)
        mask = ops.cast(ops.expand_dims(items != PADDING, -1), history.dtype)  # (batch, length, 1)
        count = ops.maximum(ops.cumsum(mask, axis=1), 1.0)
        mean = ops.cumsum(history * mask, axis=1) / count  # of all items up to each position
        own = ops.take(self.user_embedding, user[:, None], axis=0)  # (batch, 1, embedding_dim)
        profile = ops.broadcast_to(own + self.embed_user_features(user), ops.shape(history))
        x = ops.concatenate([mean, history, profile], axis=-1)  # (batch, length, 3 embedding_dim)
        return self._apply_tower(self.user_tower, x, training)

    def embed_items(self, numbers: Tensor | None = None) -> Tensor:
        return self._apply_tower(self.item_tower, super().embed_items(numbers), False)

    def _apply_tower(self, tower: list[layers.Layer], x: Tensor, training: bool) -> Tensor:
        hidden, out = tower
        return out(self.dropout(hidden(x), training=training))


@keras.saving.register_keras_serializable(__package__)
class TransformerBlock(layers.Layer):
    """Self-attention and a feed-forward network, each pre-norm and residual.

    keras_hub.layers.TransformerDecoder would do the same, but takes no seed for its dropout.
    """

    def __init__(self, num_heads: int, dropout: float, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_heads, self.rate, self.seed = num_heads, dropout, seed

    def build(self, shape: tuple[int | None, int | None, int]) -> None:
        hidden_dim = shape[-1]

        def glorot(offset: int) -> keras.initializers.Initializer:
            return keras.initializers.GlorotUniform(seed=self.seed + offset)

        self.attention_norm = layers.LayerNormalization(epsilon=1e-6, name="attention_norm")
        self.attention = layers.MultiHeadAttention(
            self.num_heads,
            max(1, hidden_dim // self.num_heads),
            kernel_initializer=glorot(0),
            dropout=self.rate,
            seed=self.seed,
            name="attention",
        )
        self.dense_norm = layers.LayerNormalization(epsilon=1e-6, name="dense_norm")
        self.up = layers.Dense(
            2 * hidden_dim, activation="gelu", kernel_initializer=glorot(1), name="up"
        )
        self.down = layers.Dense(hidden_dim, kernel_initializer=glorot(2), name="down")
        self.dropout = layers.Dropout(self.rate, seed=self.seed + 3)
        self.attention.build(shape, shape)
        for layer in (self.attention_norm, self.dense_norm, self.up):
            layer.build(shape)
        self.down.build((*shape[:-1], 2 * hidden_dim))

    def call(self, x: Tensor, attention_mask: Tensor, training: bool = False) -> Tensor:
        """Return (batch, length, hidden_dim) for the same and a mask.

        Args:
            x: (batch, length, hidden_dim).
            attention_mask: (batch, length, length) bool, whether a position sees another.
            training: whether dropout applies.
        """
        y = self.attention_norm(x)
        y = self.attention(y, y, attention_mask=attention_mask, training=training)
        x = x + self.dropout(y, training=training)
        y = self.down(self.up(self.dense_norm(x)))  # hidden_dim -> 2 hidden_dim -> hidden_dim
        return x + self.dropout(y, training=training)

    def compute_output_shape(self, shape: Shape, *others: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        own = {"num_heads": self.num_heads, "dropout": self.rate, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(__package__)
class SASRec(Network):
    """Self-attention over the history: Kang & McAuley, ICDM 2018, with pre-norm blocks.

    Args:
        max_length: longest input, START and all items.
        num_blocks: number of transformer blocks.
        num_heads: attention heads of each block.
    """

    def __init__(self, max_length: int, num_blocks: int, num_heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.max_length, self.num_blocks, self.num_heads = max_length, num_blocks, num_heads

    def build_layers(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.position_embedding = self.add_weight(
            (self.max_length, self.embedding_dim), small, name="positions"
        )
        self.blocks = [
            TransformerBlock(
                self.num_heads, self.rate, self.seed + 10 * number, name=f"block_{number}"
            )
            for number in range(1, self.num_blocks + 1)
        ]
        for block in self.blocks:
            block.build((None, None, self.embedding_dim))
        # float32 at any precision, as the item embeddings that queries are multiplied with.
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype="float32", name="norm")
        self.norm.build((None, None, self.embedding_dim))

    def embed_queries(self, user: Tensor, items: Tensor, training: bool) -> Tensor:
        length = ops.shape(items)[1]
        # Scaled so that items outweigh positions, as in the authors' code.
        x = (self.embed_items(items) + self.embed_user_features(user)) * self.embedding_dim**0.5
        # (batch, length, embedding_dim)
        x = self.dropout(x + self.position_embedding[:length], training=training)
        position = ops.arange(length)
        causal = ops.expand_dims(ops.expand_dims(position, 1) >= position, 0)  # (1, length, length)
        # START, the first item, is never padding: each position sees one at least.
        mask = ops.logical_and(causal, ops.expand_dims(items != PADDING, 1))
        for block in self.blocks:
            x = block(x, mask, training=training)
        return self.norm(x)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("max_length", "num_blocks", "num_heads")}
        return {**super().get_config(), **own}
