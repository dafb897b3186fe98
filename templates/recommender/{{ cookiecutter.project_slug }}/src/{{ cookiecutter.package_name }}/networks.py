"""Networks that say what comes next: a query for each place of a history, and an item's vector; the
larger their product, the likelier the item.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from .preprocessing import FIRST, PADDING


class Network(layers.Layer):
    """What all networks have: vectors and popularity of items.

    Args:
        users, items: how many different ones; the first ``trained`` items have training events.
        item_table: (items, …) features, or None.
        user_table: (users, …) features, or None.
    """

    # Whether an item without training events has a vector of its own, and whether it is known by
    # itself how popular an item is.
    knows_new_items = False
    biased = True

    def __init__(
        self,
        users: int,
        items: int,
        trained: int,
        width: int,
        dropout: float = 0.0,
        seed: int = 0,
        user_width: int = 0,
        item_width: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.users, self.items, self.trained = users, items, trained
        self.width, self.rate, self.seed = width, dropout, seed
        self.user_width, self.item_width = user_width, item_width

    def build(self, shape=None) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed)
        self.item_embedding = self.add_weight(
            (FIRST + self.items, self.width), small, name="item_embeddings"
        )
        self.shares = self.add_weight((self.items,), "zeros", trainable=False, name="shares")
        self.bias = None
        if self.biased:
            self.bias = self.add_weight((self.items,), "zeros", name="popularity")
        for name, rows, columns in (
            ("user_table", 1 + self.users, self.user_width),
            ("item_table", FIRST + self.items, self.item_width),
        ):
            value = None
            if columns:
                value = self.add_weight((rows, columns), "zeros", trainable=False, name=name)
            setattr(self, name, value)
        self.dropout = layers.Dropout(self.rate, seed=self.seed)
        self.build_more()

    def build_more(self) -> None:
        """Make the weights that only this network has."""

    def begin(self, popularity: np.ndarray, user_table: Any, item_table: Any) -> None:
        """Set what is known before training.

        Args:
            popularity: (items,) logarithms of shares.
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
        what comes after its place and sees nothing of it."""
        raise NotImplementedError

    def vectors(self, numbers: Any = None) -> Any:
        """Vectors (…, width) of item numbers (…), or of the whole catalogue (items, width)."""
        if numbers is None:
            return self.item_embedding[FIRST:]
        return ops.take(self.item_embedding, numbers, axis=0)

    def level(self) -> Any:
        """What is added to the scores of each item (items,)."""
        return self.bias if self.biased else ops.zeros((self.items,))

    def scores(self, queries: Any) -> Any:
        """Queries (…, width) -> scores of the catalogue (…, items)."""
        return ops.matmul(queries, ops.transpose(self.vectors())) + self.level()

    def get_config(self) -> dict[str, Any]:
        names = ("users", "items", "trained", "width", "seed", "user_width", "item_width")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "dropout": self.rate}


@keras.saving.register_keras_serializable(__package__)
class MatrixFactorisation(Network):
    """A vector for each user and item: Koren, Bell & Volinsky, Computer 42, 2009."""

    def build_more(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.user_embedding = self.add_weight(
            (1 + self.users, self.width), small, name="user_embeddings"
        )

    def queries(self, user, items, training):
        query = ops.expand_dims(ops.take(self.user_embedding, user, axis=0), 1)
        return ops.broadcast_to(query, (*ops.shape(items), self.width))


@keras.saving.register_keras_serializable(__package__)
class TwoTower(Network):
    """Users from their features and the mean of what they had, items from theirs: Yi et al.,
    RecSys 2019. Items without events are known by their features."""

    knows_new_items = True
    biased = False

    def build_more(self) -> None:
        small = keras.initializers.RandomNormal(0.02, seed=self.seed + 1)
        self.user_embedding = self.add_weight(
            (1 + self.users, self.width), small, name="user_embeddings"
        )
        self.user_tower = self._tower("user", 3 * self.width + self.user_width)
        self.item_tower = self._tower("item", self.width + self.item_width)

    def _tower(self, name: str, inputs: int) -> list[layers.Layer]:
        made = [
            layers.Dense(2 * self.width, activation="relu", name=f"{name}_hidden"),
            layers.Dense(self.width, name=f"{name}_out"),
        ]
        made[0].build((None, inputs))
        made[1].build((None, 2 * self.width))
        setattr(self, f"{name}_layers", made)
        return made

    def queries(self, user, items, training):
        had = ops.take(self.item_embedding, items, axis=0)
        there = ops.cast(ops.expand_dims(items != PADDING, -1), had.dtype)
        count = ops.maximum(ops.cumsum(there, axis=1), 1.0)
        mean = ops.cumsum(had * there, axis=1) / count  # of all up to each place
        parts = [mean, had, self._of_user(self.user_embedding, user, items)]
        if self.user_table is not None:
            parts.append(self._of_user(self.user_table, user, items))
        return self._through(self.user_tower, ops.concatenate(parts, axis=-1), training)

    def vectors(self, numbers=None):
        if numbers is None:
            numbers = ops.arange(FIRST, FIRST + self.items, dtype="int32")
        known = ops.where(numbers < FIRST + self.trained, numbers, 1)  # others as unknown ones
        parts = [ops.take(self.item_embedding, known, axis=0)]
        if self.item_table is not None:
            parts.append(ops.take(self.item_table, numbers, axis=0))
        return self._through(self.item_tower, ops.concatenate(parts, axis=-1), False)

    def _of_user(self, table, user, items):
        row = ops.expand_dims(ops.take(table, user, axis=0), 1)
        return ops.broadcast_to(row, (*ops.shape(items), table.shape[-1]))

    def _through(self, tower, x, training):
        first, second = tower
        return second(self.dropout(first(x), training=training))


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
        made = []
        for number in range(1, self.blocks + 1):
            name, seed = f"block_{number}", self.seed + 10 * number
            block = {
                "attention_norm": layers.LayerNormalization(
                    epsilon=1e-6, name=f"{name}_attention_norm"
                ),
                "attention": layers.MultiHeadAttention(
                    self.heads,
                    max(1, self.width // self.heads),
                    kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
                    dropout=self.rate,
                    seed=seed,
                    name=f"{name}_attention",
                ),
                "dense_norm": layers.LayerNormalization(epsilon=1e-6, name=f"{name}_dense_norm"),
                "up": layers.Dense(
                    2 * self.width,
                    activation="gelu",
                    kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 1),
                    name=f"{name}_up",
                ),
                "down": layers.Dense(
                    self.width,
                    kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 2),
                    name=f"{name}_down",
                ),
                "drop": layers.Dropout(self.rate, seed=seed + 3),
            }
            shape = (None, None, self.width)
            block["attention"].build(shape, shape)
            block["down"].build((None, None, 2 * self.width))
            for part in ("attention_norm", "dense_norm", "up"):
                block[part].build(shape)
            for part, layer in block.items():
                setattr(self, f"{name}_{part}", layer)
            made.append(block)
        self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.norm.build((None, None, self.width))
        self._made = made

    def queries(self, user, items, training):
        places = ops.shape(items)[1]
        x = ops.take(self.item_embedding, items, axis=0) * self.width**0.5
        x = self.dropout(x + self.position[:places], training=training)
        there = ops.expand_dims(items != PADDING, 1)
        row = ops.arange(places)
        causal = ops.expand_dims(ops.expand_dims(row, 1) >= row, 0)
        mask = ops.logical_and(causal, there)
        for block in self._made:
            y = block["attention_norm"](x)
            y = block["attention"](y, y, attention_mask=mask, training=training)
            x = x + block["drop"](y, training=training)
            y = block["down"](block["up"](block["dense_norm"](x)))
            x = x + block["drop"](y, training=training)
        return self.norm(x)

    def get_config(self):
        own = {"places": self.places, "blocks": self.blocks, "heads": self.heads}
        return {**super().get_config(), **own}
