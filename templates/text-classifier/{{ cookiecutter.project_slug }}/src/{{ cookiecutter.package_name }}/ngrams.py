"""A linear model of n-grams, weighted by how rare they are.

N-grams need no list of them: numbers drawn from their tokens do (A. Joulin et al., Bag of Tricks,
EACL 2017). What stands in few texts says more (K. Spärck Jones, J. Documentation 28, 1972).
"""

from collections.abc import Iterable

import keras
import numpy as np
from keras import layers, ops

BUCKETS = 131_071  # numbers for n-grams of two tokens and more; a prime
FACTOR = 8_191  # BUCKETS times it fits into 32 bits
FEWEST = 2  # training texts that an n-gram must stand in to count
# Weights learn as fast as those of other layers, but must grow larger: logits are sums of hundreds
# of products, each of them small.
SCALE = 16.0


@keras.saving.register_keras_serializable(__package__)
class NGramLogits(layers.Layer):
    """Token numbers (batch, tokens) -> logits (batch, classes): the sum of a weight for each
    n-gram and class, each text's n-grams being scaled to a length of 1.

    Args:
        numbers: different token numbers; 0 is padding.
        longest: tokens of the longest n-gram.
    """

    def __init__(self, numbers: int, classes: int, longest: int, **options) -> None:
        super().__init__(**options)
        self.numbers, self.classes, self.longest = numbers, classes, longest

    def build(self, shape) -> None:
        rows = self.numbers + (BUCKETS if self.longest > 1 else 0)
        self.table = self.add_weight((rows, self.classes), "zeros", name="table")
        self.rarity = self.add_weight((rows,), "ones", trainable=False, name="rarity")

    def call(self, tokens):
        ids, there = ngrams(tokens, self.numbers, self.longest)
        value = ops.take(self.rarity, ids) * there
        length = ops.sqrt(ops.maximum(ops.sum(value * value, axis=1, keepdims=True), 1e-6))
        weights = ops.take(self.table, ids, axis=0) * ops.expand_dims(value / length, -1)
        # Nothing else uses the weights of padding: they stand for the classes' own frequency.
        return SCALE * ops.sum(weights, axis=1) + self.table[0]

    def learn_rarity(self, texts: Iterable[np.ndarray]) -> None:
        """Set each n-gram's inverse document frequency.

        Args:
            texts: batches of token numbers (batch, tokens) of the training split.
        """
        counts, size = np.zeros(self.rarity.shape), 0
        for tokens in texts:
            ids, there = map(ops.convert_to_numpy, ngrams(tokens, self.numbers, self.longest))
            size += len(tokens)
            for row, inside in zip(ids, there, strict=True):
                counts[np.unique(row[inside > 0])] += 1
        if size:
            rarity = np.log((1 + size) / (1 + counts)) + 1
            self.rarity.assign(np.where(counts < FEWEST, 0, rarity).astype("float32"))

    def get_config(self):
        own = {"numbers": self.numbers, "classes": self.classes, "longest": self.longest}
        return {**super().get_config(), **own}


def ngrams(tokens, numbers: int, longest: int):
    """Numbers (batch, n-grams) of all n-grams, and 1.0 for each without padding, else 0.0."""
    ids, there = [tokens], [tokens > 0]
    drawn = tokens
    for length in range(2, longest + 1):
        # ``tokens`` moved to the left: each n-gram stands at its first token.
        rest = ops.pad(tokens[:, length - 1 :], [[0, 0], [0, length - 1]])
        drawn = (drawn * FACTOR + rest) % BUCKETS
        ids.append(numbers + drawn)
        there.append(rest > 0)
    return ops.concatenate(ids, axis=1), ops.cast(ops.concatenate(there, axis=1), "float32")
