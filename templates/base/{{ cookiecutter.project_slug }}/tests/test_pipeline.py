from itertools import chain

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import cache
from {{ cookiecutter.package_name }}.contract import Split
from {{ cookiecutter.package_name }}.pipeline import (
    ShuffledOrder,
    evaluation_batches,
    training_batches,
)

SIZE, BATCH = 23, 5


class Doubling:
    """The simplest preprocessing: numbers, doubled."""

    def prepare(self, raw):
        return raw * 2

    def finish(self, prepared):
        return tf.cast(prepared, tf.float32)

    def encode_targets(self, targets):
        return targets

    def to_config(self):
        return {}


@pytest.fixture
def split() -> Split:
    numbers = tf.range(SIZE)
    ids = np.arange(SIZE).astype(str)
    return Split(ids, np.arange(SIZE), lambda positions: tf.gather(numbers, positions))


def take(split: Split, **options) -> list[list[int]]:
    prepared = cache.prepared(split, Doubling(), "none", "x")
    order = ShuffledOrder(SIZE, BATCH, options.pop("seed"))
    batches = training_batches(prepared, Doubling(), order=order, **options)
    return [targets.numpy().tolist() for _, targets, *_ in batches]


def test_each_example_once_an_epoch_in_an_order_of_its_own(split: Split) -> None:
    batches = take(split, seed=1, last_step=10)
    first, second = (list(chain(*part)) for part in (batches[:5], batches[5:]))
    assert sorted(first) == sorted(second) == list(range(SIZE))
    assert first != second != list(range(SIZE))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3] * 2


def test_order_is_a_function_of_seed_and_step(split: Split) -> None:
    whole = take(split, seed=1, last_step=12)
    assert take(split, seed=1, last_step=12) == whole
    assert take(split, seed=1, first_step=7, last_step=12) == whole[7:]
    assert take(split, seed=2, last_step=12) != whole


def test_rest_too_small_for_the_replicas_joins_the_batch_before() -> None:
    order = ShuffledOrder(size=21, batch_size=5, seed=0, least=2)
    batches = [order.positions(tf.constant(step, tf.int64)).numpy() for step in range(4)]
    assert order.steps_per_epoch == 4
    assert [len(batch) for batch in batches] == [5, 5, 5, 6]
    assert sorted(np.concatenate(batches)) == list(range(21))
    assert ShuffledOrder(size=1, batch_size=5, seed=0, least=2).steps_per_epoch == 1


def test_shuffling_is_even() -> None:
    # Over many epochs each example comes first about as often as any other.
    order = ShuffledOrder(size=10, batch_size=10, seed=3)
    firsts = [int(order.positions(tf.constant(step, tf.int64))[0]) for step in range(1000)]
    assert np.bincount(firsts, minlength=10).min() > 60


def test_augmentation_is_seeded_by_step(split: Split) -> None:
    def add_noise(prepared, seed):
        return prepared + tf.random.stateless_uniform(tf.shape(prepared), seed, 0, 99, tf.int32)

    def inputs(first_step: int) -> list[list[float]]:
        prepared = cache.prepared(split, Doubling(), "none", "x")
        options = {"order": ShuffledOrder(SIZE, BATCH, 1), "last_step": 8, "augment": add_noise}
        batches = training_batches(prepared, Doubling(), first_step=first_step, **options)
        return [batch[0].numpy().tolist() for batch in batches]

    assert inputs(3) == inputs(0)[3:]


def test_weights_go_with_their_examples(split: Split) -> None:
    weights = np.arange(SIZE) / 10
    order = ShuffledOrder(SIZE, BATCH, seed=0)
    batches = training_batches(split, Doubling(), order=order, last_step=5, weights=weights)
    for _, targets, weight in batches:
        np.testing.assert_allclose(weight, targets.numpy() / 10, rtol=1e-6)


def test_evaluation_sees_every_example_once_in_order(split: Split) -> None:
    batches = list(evaluation_batches(split, Doubling(), batch_size=BATCH))
    assert np.concatenate([targets for _, targets in batches]).tolist() == list(range(SIZE))


@pytest.mark.parametrize("mode", ["auto", "memory", "disk", "none"])
def test_every_cache_gives_the_same(split: Split, mode: str) -> None:
    prepared = cache.prepared(split, Doubling(), mode, "numbers")
    positions = tf.constant([3, 22, 0], tf.int64)
    assert prepared.fetch(positions).numpy().tolist() == [6, 44, 0]
    assert take(prepared, seed=1, last_step=3)


def test_disk_cache_is_used_again_and_named_after_the_data(split: Split, own_folder) -> None:
    cache.prepared(split, Doubling(), "disk", "first")
    cache.prepared(split, Doubling(), "disk", "first")
    cache.prepared(split, Doubling(), "disk", "second")
    assert len(list((own_folder / ".cache" / "prepared").iterdir())) == 2
