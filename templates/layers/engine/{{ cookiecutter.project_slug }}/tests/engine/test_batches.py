import errno
import os
import signal
import threading
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.engine import cache
from {{ cookiecutter.package_name }}.engine.batches import (
    SequentialSampler,
    ShuffledSampler,
    evaluation_batches,
    training_batches,
)
from {{ cookiecutter.package_name }}.engine.errors import Interrupted, ProjectError
from {{ cookiecutter.package_name }}.engine.interfaces import Split
from {{ cookiecutter.package_name }}.engine.signals import StopRequest
from {{ cookiecutter.package_name }}.engine.strategy import Shard, Strategy

SIZE, BATCH = 23, 5


class Doubling:
    """The simplest preprocessing: numbers, doubled."""

    def prepare(self, raw):
        return raw * 2

    lengths = max_length = None

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
    prepared = cache.cache_split(split, Doubling(), "none", "x")
    sampler = ShuffledSampler(SIZE, BATCH, options.pop("seed"))
    batches = training_batches(prepared, Doubling(), sampler=sampler, **options)
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


@pytest.mark.parametrize(("size", "batch_size", "multiple"), [(23, 5, 2), (23, 5, 5), (3, 8, 4)])
def test_filled_batches_weigh_each_example_once(size: int, batch_size: int, multiple: int) -> None:
    filled = ShuffledSampler(size, batch_size, seed=1, multiple=multiple)
    plain = ShuffledSampler(size, batch_size, seed=1)
    assert filled.steps == plain.steps
    for step in range(filled.steps):
        positions, weights = filled.batch(tf.constant(step, tf.int64))
        expected, ones = plain.batch(tf.constant(step, tf.int64))
        assert len(positions) == filled.rows
        assert filled.rows % multiple == 0
        assert positions.numpy()[weights > 0].tolist() == expected.numpy().tolist()
        assert ones.numpy().tolist() == [1.0] * len(expected)
        assert tf.reduce_mean(weights).numpy() == pytest.approx(1.0), "the mean loss is right"


@pytest.mark.parametrize("batch_size", [5, 8])
def test_parts_make_up_the_batch(split: Split, batch_size: int) -> None:
    def augment(prepared, targets, uniform):
        return tf.cast(prepared, tf.float32) + uniform(1)[:, 0], targets

    def batches(shard: Shard) -> list[tuple]:
        sampler = ShuffledSampler(SIZE, batch_size, 1, shard.multiple)
        options = {"first_step": 2, "last_step": 2 * sampler.steps, "augment": augment}
        found = training_batches(split, Doubling(), sampler=sampler, shard=shard, **options)
        return [tuple(part.numpy() for part in batch) for batch in found]

    whole = batches(Shard())
    # Two workers with two devices each: every element is a quarter of a batch.
    workers = [batches(Shard(num_shards=4, first=first, count=2, multiple=4)) for first in (0, 2)]
    for step, (inputs, targets, _) in enumerate(whole):
        parts = [worker[2 * step + device] for worker in workers for device in (0, 1)]
        assert len({len(part[0]) for part in parts}) == 1
        weights = np.concatenate([part[2] for part in parts])
        for place, expected in enumerate((inputs, targets)):
            together = np.concatenate([part[place] for part in parts])[weights > 0]
            np.testing.assert_array_equal(together, expected)


def test_evaluation_in_parts_counts_each_example_once(split: Split) -> None:
    seen = []
    for first in (0, 1):
        shard = Shard(num_shards=2, first=first, multiple=2)
        for _, targets, weights in evaluation_batches(
            split, Doubling(), batch_size=BATCH, shard=shard
        ):
            seen += targets.numpy()[weights > 0].tolist()
    assert sorted(seen) == list(range(SIZE))
    assert SequentialSampler(SIZE, BATCH, 2).rows == 6


def test_shuffling_is_even() -> None:
    # Over many epochs each example comes first about as often as any other.
    sampler = ShuffledSampler(size=10, batch_size=10, seed=3)
    firsts = [int(sampler.batch(tf.constant(step, tf.int64))[0][0]) for step in range(1000)]
    assert np.bincount(firsts, minlength=10).min() > 60


def test_augmentation_is_seeded_by_step(split: Split) -> None:
    def add_noise(prepared, targets, uniform):
        return tf.cast(prepared, tf.float32) + uniform(1)[:, 0], targets

    def inputs(first_step: int) -> list[list[float]]:
        prepared = cache.cache_split(split, Doubling(), "none", "x")
        options = {"sampler": ShuffledSampler(SIZE, BATCH, 1), "last_step": 8, "augment": add_noise}
        batches = training_batches(prepared, Doubling(), first_step=first_step, **options)
        return [batch[0].numpy().tolist() for batch in batches]

    assert inputs(3) == inputs(0)[3:]


def test_weights_go_with_their_examples(split: Split) -> None:
    weights = np.arange(SIZE) / 10
    sampler = ShuffledSampler(SIZE, BATCH, seed=0)
    batches = training_batches(split, Doubling(), sampler=sampler, last_step=5, weights=weights)
    for _, targets, weight in batches:
        np.testing.assert_allclose(weight, targets.numpy() / 10, rtol=1e-6)


def test_evaluation_sees_every_example_once_in_order(split: Split) -> None:
    batches = list(evaluation_batches(split, Doubling(), batch_size=BATCH))
    assert np.concatenate([targets for _, targets, _ in batches]).tolist() == list(range(SIZE))


@pytest.mark.parametrize("mode", ["auto", "memory", "disk", "none"])
def test_every_cache_gives_the_same(split: Split, mode: str) -> None:
    prepared = cache.cache_split(split, Doubling(), mode, "numbers")
    positions = tf.constant([3, 22, 0], tf.int64)
    assert prepared.fetch(positions).numpy().tolist() == [6, 44, 0]
    assert take(prepared, seed=1, last_step=3)


def test_disk_cache_is_used_again_and_named_after_the_data(split: Split, own_folder) -> None:
    cache.cache_split(split, Doubling(), "disk", "first")
    cache.cache_split(split, Doubling(), "disk", "first")
    cache.cache_split(split, Doubling(), "disk", "second")
    assert len(list((own_folder / ".cache" / "prepared").iterdir())) == 2


class Noting(Doubling):
    """Notes which examples it prepared."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def prepare(self, raw):
        def note(numbers: np.ndarray) -> np.ndarray:
            self.seen += numbers.tolist()
            return 2 * numbers

        return tf.ensure_shape(tf.numpy_function(note, [raw], tf.int32), (None,))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHUNK", 2)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_a_signal_is_heard_while_examples_are_prepared(split: Split, mode: str) -> None:
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        stop.check("while examples are prepared")

    with StopRequest() as stop, pytest.raises(Interrupted) as stopped:
        cache.cache_split(split, Doubling(), mode, "x", check=look)
    assert str(stopped.value) == (
        "stopped by SIGTERM while examples are prepared; the same command resumes."
    )
    assert len(looks) == 4
    again = Noting()
    prepared = cache.cache_split(split, again, mode, "x")
    rows = prepared.fetch(tf.range(SIZE, dtype=tf.int64))
    assert rows.numpy().tolist() == list(range(0, 2 * SIZE, 2))
    # Four chunks of two examples are on disk.
    assert sorted(again.seen) == list(range(0 if mode == "memory" else 8, SIZE))


@pytest.mark.usefixtures("small_chunks")
def test_what_is_damaged_of_an_interrupted_cache_is_made_anew(
    split: Split, own_folder: Path
) -> None:
    def stop() -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        cache.cache_split(split, Doubling(), "disk", "x", check=stop)
    folder = own_folder / ".cache" / "prepared"
    (part,) = folder.glob("*.part")
    part.write_bytes(part.read_bytes()[:-3])
    prepared = cache.cache_split(split, Doubling(), "disk", "x")
    rows = prepared.fetch(tf.range(SIZE, dtype=tf.int64))
    assert rows.numpy().tolist() == list(range(0, 2 * SIZE, 2))
    assert [file.suffix for file in folder.iterdir()] == [".npy"]


@pytest.mark.parametrize("moment", ["before", "while it is written"])
def test_full_disk(
    split: Split, moment: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if moment == "before":
        usage = SimpleNamespace(free=SIZE)
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    else:
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(cache.os, "fsync", Mock(side_effect=full))
    with pytest.raises(ProjectError, match=r"data\.cache: 0 MB of prepared .*; make room, or use"):
        cache.cache_split(split, Doubling(), "disk", "x")
    assert list((own_folder / ".cache" / "prepared").iterdir()) == []


def test_old_caches_make_room(split: Split, own_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Those that were not used for longest go first; one that is in use stays."""
    folder = own_folder / ".cache" / "prepared"
    used = cache.cache_split(split, Doubling(), "disk", "used")
    (in_use,) = folder.iterdir()
    for days, name in enumerate(("new.npy", "fresh.part", "old.npy", "left.part", ".x-new.npy")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (time.time() - days * 90_000,) * 2)
    os.utime(in_use, (0, 0))
    (folder / "fresh.part").touch()
    monkeypatch.setattr(cache, "MAX_DISK", in_use.stat().st_size + 4 * SIZE + 250)
    cache.cache_split(split, Doubling(), "disk", "another")
    left = {file.name for file in folder.iterdir()} - {"new.npy", "fresh.part", in_use.name}
    assert len(left) == 1
    assert (folder / left.pop()).stat().st_size == in_use.stat().st_size
    assert used.fetch(tf.constant([3], tf.int64)).numpy() == [6]


def test_others_wait_for_the_one_that_writes(split: Split, own_folder: Path) -> None:
    preparing = threading.Event()

    def write() -> None:
        def slow() -> None:
            preparing.set()
            time.sleep(0.5)

        cache.cache_split(split, Doubling(), "disk", "x", check=slow)

    waiting = Noting()
    writer = threading.Thread(target=write)
    writer.start()
    assert preparing.wait(120)
    for writes in (False, True):  # a worker of the same run, and another run
        prepared = cache.cache_split(split, waiting, "disk", "x", writes)
        assert prepared.fetch(tf.constant([3], tf.int64)).numpy() == [6]
    writer.join()
    assert waiting.seen == []


def test_waiting_for_one_that_does_not_get_on_ends(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.3)
    with pytest.raises(ProjectError, match=r"another process that prepares .* has not got on"):
        cache.cache_split(split, Doubling(), "disk", "x", writes=False)


@pytest.mark.parametrize("shared", [True, False])
def test_the_chief_writes_where_all_see_it(shared: bool, own_folder: Path) -> None:
    """Two processes of a run: with one disk, or each with its own."""
    sent: list[str | None] = []

    class TwoProcesses(Strategy):
        def broadcast(self, value):
            if self.is_chief:
                sent.append(value)
                if value is None:
                    answers.append(cache.writes_cache(replace(self, process=1)))
                return value
            if not shared:
                return "not-here"
            return sent[0]

    answers: list[bool] = []
    chief = TwoProcesses("tensorflow", "multi_worker", 2, "", processes=2)
    assert cache.writes_cache(chief)
    assert answers == [not shared]
    assert list((own_folder / ".cache" / "prepared").iterdir()) == []


# === Examples of different lengths ===

LENGTHS = np.random.default_rng(0).integers(1, 60, 330)


class Padded(Doubling):
    """Rows of ones, as long as the number of the example says; the rest is zero."""

    def prepare(self, raw):
        return tf.sequence_mask(raw, 60, tf.int32)

    def lengths(self, prepared):
        return tf.reduce_sum(prepared, axis=1)

    def finish(self, prepared):
        return prepared


def of_lengths(mode: str = "memory") -> Split:
    lengths = tf.constant(LENGTHS)
    ids = np.arange(len(LENGTHS))
    split = Split(ids.astype(str), ids, lambda positions: tf.gather(lengths, positions))
    return cache.cache_split(split, Padded(), mode, "lengths")


def batches_of_lengths(split: Split, shard: Shard | None = None, **options) -> list[tuple]:
    shard = shard or Shard()
    sampler = ShuffledSampler(len(split), 16, 1, shard.multiple, split.lengths)
    options = {"last_step": 2 * sampler.steps, **options}
    found = training_batches(split, Padded(), sampler=sampler, shard=shard, **options)
    return [tuple(part.numpy() for part in batch) for batch in found]


@pytest.mark.parametrize("mode", ["memory", "disk", "none"])
def test_batches_hold_examples_of_similar_length(mode: str) -> None:
    split = of_lengths(mode)
    assert split.lengths.tolist() == LENGTHS.tolist()
    batches = batches_of_lengths(split)
    for epoch in (batches[:21], batches[21:]):
        assert sorted(t for _, targets, _ in epoch for t in targets) == list(range(330))
    for inputs, targets, _ in batches:
        assert inputs.sum() == LENGTHS[targets].sum(), "nothing is cut"
        assert inputs.shape[1] < 2 * LENGTHS[targets].max() or inputs.shape[1] == 4
    places = sum(inputs.size for inputs, *_ in batches)
    assert places < 1.4 * 2 * LENGTHS.sum(), "little padding"
    widths = [inputs.shape[1] for inputs, *_ in batches[:21]]
    assert widths != sorted(widths), "short and long batches in a random order"
    assert [t.tolist() for _, t, _ in batches[:21]] != [t.tolist() for _, t, _ in batches[21:]]


def test_order_by_length_is_a_function_of_seed_and_step() -> None:
    split = of_lengths()
    later = batches_of_lengths(split, first_step=13)
    for ours, theirs in zip(later, batches_of_lengths(split)[13:], strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_parts_of_a_batch_are_padded_alike() -> None:
    split = of_lengths()
    whole = batches_of_lengths(split)
    parts = [batches_of_lengths(split, Shard(2, first, 1, 2)) for first in (0, 1)]
    for (inputs, targets, _), *both in zip(whole, *parts, strict=True):
        assert {part[0].shape[1] for part in both} == {inputs.shape[1]}
        weights = np.concatenate([part[2] for part in both])
        together = np.concatenate([part[1] for part in both])[weights > 0]
        np.testing.assert_array_equal(together, targets)
