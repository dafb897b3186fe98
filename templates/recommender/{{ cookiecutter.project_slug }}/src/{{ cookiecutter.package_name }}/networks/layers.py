"""Networks that say what comes next: a query for each place of a history, and an item's vector; the
larger their product, the likelier the item.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ..preprocessing import FIRST, PADDING, UNKNOWN


class Network(layers.Layer):
    """What all networks have: vectors and popularity of items.

    Args:
        users, items: how many different ones; the first ``trained`` items have training events.
        user_shape, item_shape: of their features, see ``features.Features``: how many a row of
            the table keeps, and of how many; None: there are no features.
    """

    # Whether it is known by itself how popular an item is.
    biased = True

    def __init__(
        self,
        users: int,
        items: int,
        trained: int,
        width: int,
        dropout: float = 0.0,
        seed: int = 0,
        user_shape: tuple[int, int] | None = None,
        item_shape: tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.users, self.items, self.trained = users, items, trained
        self.width, self.rate, self.seed = width, dropout, seed
        self.user_shape, self.item_shape = user_shape, item_shape

    def build(self, shape=None) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed)
        self.item_embedding = self.add_weight(
            (FIRST + self.items, self.width), small, name="item_embeddings"
        )
        self.shares = self.add_weight((self.items,), "zeros", trainable=False, name="shares")
        self.bias = None
        if self.biased:
            self.bias = self.add_weight((self.items,), "zeros", name="popularity")
        for name, rows, shape in (
            ("user_table", 1 + self.users, self.user_shape),
            ("item_table", FIRST + self.items, self.item_shape),
        ):
            table = described = None
            if shape:
                kept, columns = shape
                table = self.add_weight((rows, kept, 2), "zeros", trainable=False, name=name)
                described = self.add_weight((columns, self.width), small, name=f"{name}_kernel")
            setattr(self, name, table)
            setattr(self, f"{name}_kernel", described)
        self.dropout = layers.Dropout(self.rate, seed=self.seed)
        self.build_more()

    def build_more(self) -> None:
        """Make the weights that only this network has."""

    def begin(self, popularity: np.ndarray, user_table: Any, item_table: Any) -> None:
        """Set what is known before training.

        Args:
            popularity: (items,) logarithms of shares.
            user_table, item_table: (users, kept, 2) and (items, kept, 2) features, or None.
        """
        self.shares.assign(popularity)
        if self.biased:
            self.bias.assign(popularity)
        for weight, table in ((self.user_table, user_table), (self.item_table, item_table)):
            if weight is not None:
                rows = np.zeros(weight.shape, "float32")
                rows[len(rows) - len(table) :] = table
                weight.assign(rows)

    def queries(self, user: Any, items: Any, training: bool) -> Any:
        """Users (batch,) and items (batch, places) -> queries (batch, places, width): each is about
        what comes after its place and sees nothing of it. Of a network that does not look at the
        items there is one place."""
        raise NotImplementedError

    def vectors(self, numbers: Any = None) -> Any:
        """Vectors (…, width) float32 of item numbers (…), or of the whole catalogue (items, width):
        each item's own and what its features say. New items are unknown ones with features."""
        if numbers is None:
            numbers = ops.arange(FIRST, FIRST + self.items, dtype="int32")
        known = ops.where(numbers < FIRST + self.trained, numbers, UNKNOWN)
        own = ops.take(self.item_embedding, known, axis=0)
        return own + _described(self.item_table, self.item_table_kernel, numbers)

    def told(self, user: Any) -> Any:
        """What features say of users (batch,): (batch, 1, width), or 0."""
        return _described(self.user_table, self.user_table_kernel, user[:, None])

    def level(self) -> Any:
        """What is added to the scores of each item (items,)."""
        return self.bias if self.biased else ops.zeros((self.items,))

    def scores(self, queries: Any) -> Any:
        """Queries (…, width) -> scores of the catalogue (…, items)."""
        return ops.matmul(queries, ops.transpose(self.vectors())) + self.level()

    def get_config(self) -> dict[str, Any]:
        names = ("users", "items", "trained", "width", "seed", "user_shape", "item_shape")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "dropout": self.rate}


def _described(table: Any, kernel: Any, numbers: Any) -> Any:
    """What features say of numbers (…): (…, width), or 0 where there are none."""
    if table is None:
        return 0.0
    columns, values = ops.split(ops.take(table, numbers, axis=0), 2, axis=-1)  # (…, kept, 1)
    found = ops.take(kernel, ops.cast(ops.squeeze(columns, -1), "int32"), axis=0)
    return ops.sum(found * values, axis=-2)


@keras.saving.register_keras_serializable(__package__)
class MatrixFactorisation(Network):
    """A vector for each user and item: Koren, Bell & Volinsky, Computer 42, 2009."""

    def build_more(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.user_embedding = self.add_weight(
            (1 + self.users, self.width), small, name="user_embeddings"
        )

    def queries(self, user, items, training):
        return ops.take(self.user_embedding, user[:, None], axis=0) + self.told(user)


@keras.saving.register_keras_serializable(__package__)
class TwoTower(Network):
    """Users from their features and the mean of what they had, items from theirs: Yi et al.,
    RecSys 2019."""

    biased = False

    def build_more(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.user_embedding = self.add_weight(
            (1 + self.users, self.width), small, name="user_embeddings"
        )
        self.user_tower = self._tower("user", 3 * self.width)
        self.item_tower = self._tower("item", self.width)

    def _tower(self, name: str, inputs: int) -> list[layers.Layer]:
        made = [
            layers.Dense(2 * self.width, activation="relu", name=f"{name}_hidden"),
            # float32 whatever the precision, as what it is multiplied with.
            layers.Dense(self.width, dtype="float32", name=f"{name}_out"),
        ]
        made[0].build((None, inputs))
        made[1].build((None, 2 * self.width))
        return made

    def queries(self, user, items, training):
        had = super().vectors(items)
        there = ops.cast(ops.expand_dims(items != PADDING, -1), had.dtype)
        count = ops.maximum(ops.cumsum(there, axis=1), 1.0)
        mean = ops.cumsum(had * there, axis=1) / count  # of all up to each place
        who = ops.take(self.user_embedding, user[:, None], axis=0) + self.told(user)
        parts = [mean, had, ops.broadcast_to(who, ops.shape(had))]
        return self._through(self.user_tower, ops.concatenate(parts, axis=-1), training)

    def vectors(self, numbers=None):
        return self._through(self.item_tower, super().vectors(numbers), False)

    def _through(self, tower, x, training):
        first, second = tower
        return second(self.dropout(first(x), training=training))


@keras.saving.register_keras_serializable(__package__)
class Block(layers.Layer):
    """Attention and two dense layers, each after a norm and added to what came in."""

    def __init__(self, heads: int, dropout: float, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.rate, self.seed = heads, dropout, seed

    def build(self, shape) -> None:
        width = shape[-1]

        def start(number: int) -> keras.initializers.Initializer:
            return keras.initializers.GlorotUniform(seed=self.seed + number)

        self.attention_norm = layers.LayerNormalization(epsilon=1e-6, name="attention_norm")
        self.attention = layers.MultiHeadAttention(
            self.heads,
            max(1, width // self.heads),
            kernel_initializer=start(0),
            dropout=self.rate,
            seed=self.seed,
            name="attention",
        )
        self.dense_norm = layers.LayerNormalization(epsilon=1e-6, name="dense_norm")
        self.up = layers.Dense(2 * width, activation="gelu", kernel_initializer=start(1), name="up")
        self.down = layers.Dense(width, kernel_initializer=start(2), name="down")
        self.drop = layers.Dropout(self.rate, seed=self.seed + 3)
        self.attention.build(shape, shape)
        for part in (self.attention_norm, self.dense_norm, self.up):
            part.build(shape)
        self.down.build((*shape[:-1], 2 * width))

    def call(self, x, visible, training=False):
        y = self.attention_norm(x)
        y = self.attention(y, y, attention_mask=visible, training=training)
        x = x + self.drop(y, training=training)
        y = self.down(self.up(self.dense_norm(x)))
        return x + self.drop(y, training=training)

    def compute_output_shape(self, shape, *others):
        return shape

    def get_config(self):
        own = {"heads": self.heads, "dropout": self.rate, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(__package__)
class SelfAttention(Network):
    """Self-attention over the history: Kang & McAuley, ICDM 2018, with pre-norm blocks.

    Args:
        places: longest history.
    """

    def __init__(self, places: int, blocks: int, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.places, self.blocks, self.heads = places, blocks, heads

    def build_more(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.position = self.add_weight((self.places, self.width), small, name="positions")
        self.made = [
            Block(self.heads, self.rate, self.seed + 10 * number, name=f"block_{number}")
            for number in range(1, self.blocks + 1)
        ]
        for block in self.made:
            block.build((None, None, self.width))
        # float32 whatever the precision, as the vectors that queries are multiplied with.
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype="float32", name="norm")
        self.norm.build((None, None, self.width))

    def queries(self, user, items, training):
        places = ops.shape(items)[1]
        x = (self.vectors(items) + self.told(user)) * self.width**0.5
        x = self.dropout(x + self.position[:places], training=training)
        there = ops.expand_dims(items != PADDING, 1)
        row = ops.arange(places)
        causal = ops.expand_dims(ops.expand_dims(row, 1) >= row, 0)
        visible = ops.logical_and(causal, there)
        for block in self.made:
            x = block(x, visible, training=training)
        return self.norm(x)

    def get_config(self):
        own = {"places": self.places, "blocks": self.blocks, "heads": self.heads}
        return {**super().get_config(), **own}
