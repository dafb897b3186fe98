"""Batches as tf.data: the examples of a batch are a pure function of the seed and the step.

So training can begin at any step, on any number of machines, and see exactly what it would have
seen. Positions are shuffled over the whole split, whatever its size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from .interfaces import Preprocessing, Split, Uniform, finish_inputs
from .strategy import Shard

Augment = Callable[[Any, tf.Tensor, Uniform], tuple[Any, tf.Tensor]]
MakeBatch = Callable[[Any, tf.Tensor, Any], tuple[Any, tf.Tensor, tf.Tensor | None]]
Lengths = np.ndarray | Mapping[str, np.ndarray]
WHOLE = Shard()
WINDOW = 50  # batches among which examples are sorted by length
# Lengths that batches are padded to: few, since each is a program of its own on some backends.
BUCKETS = np.array([round(2 ** (power / 2)) for power in range(4, 41)], "int32")


class SequentialSampler:
    """Samples the examples of each batch one after the other.

    Args:
        size: examples of the split.
        batch_size: global, in examples; the last batch has the rest.
        multiple: rows are filled up to a multiple of it, so that all batches have as many; None:
            the last batch is smaller.
    """

    def __init__(self, size: int, batch_size: int, multiple: int | None = None) -> None:
        self.size, self.batch_size = size, batch_size
        self.steps = -(-size // batch_size)
        self.filled = multiple is not None
        self.rows = -(-batch_size // (multiple or 1)) * (multiple or 1)

    def batch(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return positions (rows,) int64 and weights (rows,) float32 for a step () int64.

        The weights' mean is 1, and 0 is that of rows which only fill the batch up: those hold
        other examples, so that statistics of the batch stay natural.
        """
        start = step * self.batch_size
        examples = tf.minimum(tf.constant(self.batch_size, tf.int64), self.size - start)
        places = tf.range(tf.constant(self.rows, tf.int64) if self.filled else examples)
        share = tf.cast(tf.size(places), tf.float32) / tf.cast(examples, tf.float32)
        weights = tf.where(places < examples, share, 0.0)
        return (start + places) % self.size, weights


class ShuffledSampler(SequentialSampler):
    """Samples examples without replacement, in a new order each epoch, without a list of them.

    ``steps`` are those of an epoch; batches of later epochs follow.

    Args:
        lengths: of the examples, see ``Split.lengths``; batches then hold examples of similar
            length, by the longest entry of each.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        multiple: int | None = None,
        lengths: Lengths | None = None,
    ) -> None:
        super().__init__(size, batch_size, multiple)
        self.seed = seed
        with tf.device("CPU:0"):
            self.bucketed = None if lengths is None else tf.constant(_bucket_longest(lengths))

    def batch(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, place = step // self.steps, step % self.steps
        if self.bucketed is None:
            places, weights = super().batch(place)
            return self._permute(places, epoch, self.size), weights
        return self._batch_by_length(epoch, place)

    def _batch_by_length(self, epoch: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sort the examples of some dozen shuffled batches by length, divide them anew, and take
        the batches in a random order."""
        first = place - place % WINDOW
        batches = tf.minimum(tf.constant(WINDOW, tf.int64), self.steps - first)
        start = first * self.batch_size
        end = tf.minimum(start + batches * self.batch_size, self.size)
        examples = self._permute(tf.range(start, end), epoch, self.size)
        # Sorting is stable: among examples that are padded alike the order stays random.
        order = tf.argsort(tf.gather(self.bucketed, examples), stable=True)
        by_length = tf.gather(examples, order)
        turn = first + self._permute(place - first, epoch * self.steps + first, batches)
        places, weights = super().batch(turn)
        return tf.gather(by_length, (places - start) % (end - start)), weights

    def _permute(self, places: tf.Tensor, draw: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        """Permute places in [0, size); each ``draw`` () int64 is another permutation."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), draw])
        return tf.random.experimental.index_shuffle(
            places, tf.cast(seed, tf.uint32), max_index=tf.cast(size, tf.int64) - 1
        )

    def step_seed(self, step: tf.Tensor) -> tf.Tensor:
        """Return a seed (2,) int32 for the random numbers of a step."""
        return tf.cast(tf.stack([tf.constant(self.seed, tf.int64), step]), tf.int32)


def training_batches(
    split: Split,
    preprocessing: Preprocessing,
    *,
    sampler: ShuffledSampler,
    first_step: int = 0,
    last_step: int,
    make_batch: MakeBatch = finish_inputs,
    augment: Augment | None = None,
    weights: np.ndarray | None = None,
    shard: Shard = WHOLE,
) -> tf.data.Dataset:
    """Return batches ``(inputs, targets, weights)`` of the steps ``first_step`` to ``last_step``.

    Args:
        split: prepared examples, see ``cache.cache_split``.
        sampler: says which examples each batch has.
        make_batch: see ``Task.make_batch``.
        augment: prepared inputs and targets (batch, …), ``Uniform`` -> both, augmented.
        weights: (size,) weight of each example's loss.
        shard: the part of each batch to yield; of several parts each is an element of its own.
    """
    numbers = tf.data.Dataset.range(first_step * shard.count, last_step * shard.count)
    return _batches(split, preprocessing, sampler, numbers, shard, make_batch, augment, weights)


def evaluation_batches(
    split: Split,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    passes: int | None = 1,
    make_batch: MakeBatch = finish_inputs,
    shard: Shard = WHOLE,
) -> tf.data.Dataset:
    """Return batches with every example of the split exactly once, in order.

    Args:
        passes: how often; None: without an end.
        make_batch: see ``Task.make_batch``.
    """
    sampler = SequentialSampler(len(split), batch_size, shard.multiple)
    numbers = tf.data.Dataset.range(sampler.steps * shard.count).repeat(passes)
    return _batches(split, preprocessing, sampler, numbers, shard, make_batch)


def _batches(
    split: Split,
    preprocessing: Preprocessing,
    sampler: SequentialSampler,
    numbers: tf.data.Dataset,
    shard: Shard,
    make_batch: MakeBatch,
    augment: Augment | None = None,
    weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Map numbers (of steps, times the parts that this process feeds) to batches."""
    with tf.device("CPU:0"):
        targets = tf.constant(preprocessing.encode_targets(split.targets))
        weight_of = None if weights is None else tf.constant(weights, tf.float32)
        bucketed: Any = None
        if split.lengths is not None:
            bucketed = tf.nest.map_structure(
                lambda o: tf.constant(bucket_lengths(o)), split.lengths
            )
    # A smaller last batch cannot be divided; ``shard`` fills batches up wherever it divides them.
    part_rows = sampler.rows // shard.num_shards

    def cut(
        prepared: tf.Tensor, bucketed: tf.Tensor, positions: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        # To the longest of the whole batch: its parts have the same shape. Rows that only fill it
        # up do not count: what is drawn at random for the others must not depend on them.
        length = tf.reduce_max(tf.where(weight > 0, tf.gather(bucketed, positions), 0))
        return prepared[:, :length]

    def part(rows: tf.Tensor, begin: tf.Tensor) -> tf.Tensor:
        here = rows[begin : begin + part_rows]
        return tf.ensure_shape(here, (part_rows,)) if sampler.filled else here

    def element(number: tf.Tensor) -> tuple[Any, ...]:
        step = number // shard.count
        batch = sampler.batch(step)
        begin = (shard.first + number % shard.count) * part_rows
        positions, weight = (part(values, begin) for values in batch)
        prepared = split.fetch(positions)
        if isinstance(bucketed, dict):
            prepared |= {name: cut(prepared[name], own, *batch) for name, own in bucketed.items()}
        elif bucketed is not None:
            prepared = cut(prepared, bucketed, *batch)
        encoded = tf.gather(targets, positions)
        if augment is not None and isinstance(sampler, ShuffledSampler):
            here = tf.size(positions, tf.int64)
            uniform = _make_uniform(sampler, step, begin, begin + here)
            prepared, encoded = augment(prepared, encoded, uniform)
        if weight_of is not None:
            weight = weight * tf.gather(weight_of, positions)
        inputs, encoded, own_weight = make_batch(prepared, encoded, preprocessing)
        return inputs, encoded, _multiply(weight, own_weight)

    elements = numbers.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return elements.prefetch(tf.data.AUTOTUNE)


def bucket_lengths(lengths: np.ndarray) -> np.ndarray:
    """Return the lengths that batches with examples of these lengths are padded to."""
    return BUCKETS[np.searchsorted(BUCKETS, lengths)]


def _bucket_longest(lengths: Lengths) -> np.ndarray:
    """Return the bucket of the longest entry of each example."""
    entries = list(lengths.values()) if isinstance(lengths, Mapping) else [lengths]
    return bucket_lengths(np.max(entries, axis=0))


def _multiply(weight: tf.Tensor, own: tf.Tensor | None) -> tf.Tensor:
    """Return the weights of rows (rows,) times those within them (rows, …), if there are any."""
    if own is None:
        return weight
    return own * tf.reshape(weight, [-1] + [1] * (len(own.shape) - 1))


def _make_uniform(
    sampler: ShuffledSampler, step: tf.Tensor, begin: tf.Tensor, end: tf.Tensor
) -> Uniform:
    def uniform(count: int) -> tf.Tensor:
        # Drawn for the whole batch: an example's numbers do not depend on who works on it.
        return tf.random.stateless_uniform((sampler.rows, count), sampler.step_seed(step))[
            begin:end
        ]

    return uniform
