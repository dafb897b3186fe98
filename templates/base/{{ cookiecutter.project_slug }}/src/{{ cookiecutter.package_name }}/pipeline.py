"""Batches as tf.data: what stands in a batch is a pure function of the seed and the step.

So training can begin at any step, on any number of machines, and see exactly what it would have
seen. Positions are shuffled over the whole split, whatever its size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from .contract import Preprocessing, Split

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def training_batches(
    split: Split,
    preprocessing: Preprocessing,
    *,
    order: "ShuffledOrder",
    first_step: int = 0,
    last_step: int,
    augment: Augment | None = None,
    weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Batches of the steps ``first_step`` to ``last_step``, shuffled anew in each epoch.

    Args:
        split: prepared examples, see ``cache.prepared``.
        order: which examples stand in which batch.
        augment: (prepared (batch, …), seed (2,) int32) -> augmented (batch, …).
        weights: (size,) weight of each example's loss.
    """
    make = _batch_maker(split, preprocessing, weights)

    def batch(step: tf.Tensor) -> tuple[Any, ...]:
        augment_step = augment and (lambda prepared: augment(prepared, order.seed_of(step)))
        return make(order.positions(step), augment_step)

    return (
        tf.data.Dataset.range(first_step, last_step)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Every example of the split exactly once, in order."""
    size, make = len(split), _batch_maker(split, preprocessing, None)

    def batch(step: tf.Tensor) -> tuple[Any, ...]:
        start = step * batch_size
        return make(tf.range(start, tf.minimum(start + batch_size, size)), None)

    return (
        tf.data.Dataset.range(-(-size // batch_size))
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


class ShuffledOrder:
    """Which examples stand in which batch, without a list of them.

    Args:
        size: examples of the split.
        batch_size: global, in examples; the last batch of an epoch may be smaller.
        least: from 1; a smaller rest is joined to the batch before: each replica needs an example.
    """

    def __init__(self, size: int, batch_size: int, seed: int, least: int = 1) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        whole, rest = divmod(size, batch_size)
        self.steps_per_epoch = max(1, whole + (rest >= least))

    def positions(self, step: tf.Tensor) -> tf.Tensor:
        """Positions (batch,) int64 of a step, int64; each stands in one batch of an epoch."""
        epoch, place = step // self.steps_per_epoch, step % self.steps_per_epoch
        start = place * self.batch_size
        is_last = place == self.steps_per_epoch - 1
        places = tf.range(
            start, tf.where(is_last, tf.constant(self.size, tf.int64), start + self.batch_size)
        )
        seed = tf.stack([tf.constant(self.seed, tf.int64), epoch])
        return tf.random.experimental.index_shuffle(
            places, tf.cast(seed, tf.uint32), max_index=tf.constant(self.size - 1, tf.int64)
        )

    def seed_of(self, step: tf.Tensor) -> tf.Tensor:
        """A seed (2,) int32 for whatever is drawn at random for a step."""
        return tf.cast(tf.stack([tf.constant(self.seed, tf.int64), step]), tf.int32)


def _batch_maker(
    split: Split, preprocessing: Preprocessing, weights: np.ndarray | None
) -> Callable[..., tuple[Any, ...]]:
    with tf.device("CPU:0"):
        targets = tf.constant(preprocessing.encode_targets(split.targets))
        weight_of = None if weights is None else tf.constant(weights, tf.float32)

    def make(
        positions: tf.Tensor, augment: Callable[[tf.Tensor], tf.Tensor] | None
    ) -> tuple[Any, ...]:
        prepared = split.fetch(positions)
        if augment is not None:
            prepared = augment(prepared)
        inputs = preprocessing.finish(prepared)
        encoded = tf.gather(targets, positions)
        if weight_of is None:
            return inputs, encoded
        return inputs, encoded, tf.gather(weight_of, positions)

    return make
