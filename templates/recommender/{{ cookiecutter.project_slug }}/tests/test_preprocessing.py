"""From ids to numbers, and histories that hold every event once."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import inputs
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import Histories, load
from {{ cookiecutter.package_name }}.datasets.interactions import Log
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.networks.features import MOST_PARTS, Features
from {{ cookiecutter.package_name }}.networks.layers import _described
from {{ cookiecutter.package_name }}.preprocessing import (
    FIRST,
    START,
    UNKNOWN,
    Preprocessing,
    augment,
)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(["--data.limit", "300", "--data.max_history", "10"], environment={})


@pytest.fixture(scope="module")
def data(config: Config) -> DatasetSplits:
    return load(config)


@pytest.fixture(scope="module")
def preprocessing(data: DatasetSplits, config: Config) -> Preprocessing:
    return Preprocessing.fit(data.train, config)


def test_every_training_event_is_learnt_once_and_nothing_that_is_held_out(
    data: DatasetSplits,
) -> None:
    train, held = data.train, {}
    learnt = np.concatenate(
        [np.arange(a, b) for a, b in zip(train.knowns, train.ends, strict=True)]
    )
    assert len(learnt) == len(np.unique(learnt))
    for name in ("validation", "test"):
        split = getattr(data, name)
        held[name] = set(split.knowns)
        assert not held[name] & set(learnt)
    assert not held["validation"] & held["test"]
    # All that is left is the last two events of those who have three.
    assert len(learnt) + len(held["validation"]) + len(held["test"]) == len(train.log)
    assert (data.test.knowns - 1 == data.validation.knowns).all()


def test_what_is_fitted_knows_nothing_of_what_is_held_out(
    data: DatasetSplits, config: Config
) -> None:
    log = data.train.log
    held = np.ones(len(log), dtype=bool)
    held[data.train.events] = False
    changed = replace(log, items=np.where(held, 0, log.items))

    def fitted(split: Histories, log: Log) -> tuple:
        made = Preprocessing.fit(replace(split, log=log), config)
        return made.to_config(), made.transitions.pairs.tolist(), made.transitions.counts.tolist()

    assert fitted(data.train, log) == fitted(data.train, changed)
    leak = replace(data.train, knowns=data.test.knowns, ends=data.test.ends)
    assert fitted(leak, log) != fitted(leak, changed), "a leak would be seen"


def test_prepared_histories(data: DatasetSplits, preprocessing: Preprocessing) -> None:
    for split in (data.train, data.test):
        few = np.arange(20)
        raw = split.fetch(few)
        prepared = preprocessing.prepare(raw)
        assert prepared.shape == (20, 21, 4)
        lengths = preprocessing.lengths(prepared).numpy()
        finished = {name: value.numpy() for name, value in preprocessing.finish(prepared).items()}
        assert (finished["items"][:, 0] == START).all()
        for row in range(20):
            known = [name.decode() for name in raw["known"][row].numpy() if name][-10:]
            after = [name.decode() for name in raw["next"][row].numpy() if name]
            numbers = [
                UNKNOWN
                if name not in preprocessing.items
                else preprocessing.items.index(name) + FIRST
                for name in (*known, *after)
            ]
            assert lengths[row] == 1 + len(numbers)
            assert finished["items"][row, 1 : 1 + len(numbers)].tolist() == numbers
            assert not finished["items"][row, 1 + len(numbers) :].any()
            wanted = [0.0] * len(known) + [
                float(number >= FIRST) for number in numbers[len(known) :]
            ]
            assert finished["weights"][row, : len(numbers)].tolist() == wanted
            assert not finished["weights"][row, len(numbers) :].any()


def test_who_is_asked_about_sees_nothing_of_what_came_next(
    data: DatasetSplits, preprocessing: Preprocessing
) -> None:
    raw = data.test.fetch(np.arange(20))
    other = raw | {"next": tf.fill(tf.shape(raw["next"]), preprocessing.items[0])}
    for name, value in preprocessing(raw).items():
        np.testing.assert_array_equal(value, preprocessing(other)[name])


def test_unknown_users_and_items(preprocessing: Preprocessing) -> None:
    first, second = preprocessing.items[:2]
    given = preprocessing(inputs.raw(["nobody"], [[first, "unheard of", second]]))
    assert given["user"].numpy().tolist() == [0]
    assert given["items"].numpy().tolist() == [[START, FIRST, UNKNOWN, FIRST + 1]]
    places = preprocessing.catalogue_numbers(np.array([[first, "unheard of", ""]], dtype=object))
    assert places.tolist() == [[0, -1, -1]]


def test_only_the_newest_events_of_a_long_history_count(preprocessing: Preprocessing) -> None:
    history = list(preprocessing.items[:15])
    given = preprocessing(inputs.raw(["nobody"], [history]))["items"].numpy()[0]
    assert given.tolist() == [START, *range(FIRST + 5, FIRST + 15)]


def test_augmentation_leaves_what_is_learnt(
    data: DatasetSplits, preprocessing: Preprocessing
) -> None:
    prepared = preprocessing.prepare(data.train.fetch(np.arange(50)))
    lost = augment(prepared, lambda count: tf.zeros([50, count]), load_config([], environment={}))
    learnt = prepared.numpy()[:, :, 1] > 0
    np.testing.assert_array_equal(lost.numpy()[learnt], prepared.numpy()[learnt])
    assert not lost.numpy()[:, 0, 0].any()
    kept = augment(prepared, lambda count: tf.ones([50, count]), load_config([], environment={}))
    np.testing.assert_array_equal(kept, prepared)


def test_saved_and_read_again(preprocessing: Preprocessing) -> None:
    again = Preprocessing.from_config(json.loads(json.dumps(preprocessing.to_config())))
    assert again == preprocessing


def dense(packed: np.ndarray, width: int) -> np.ndarray:
    """What the core makes of features (size, kept, 2): (size, width)."""
    return np.asarray(_described(packed, np.eye(width, dtype="float32"), np.arange(len(packed))))


def test_features() -> None:
    columns = {
        "age": np.array(["10", "", "30"], dtype=object),
        "kind": np.array(["a|b", "a", ""], dtype=object),
    }
    features = Features.fit(columns)
    assert features.width == 4
    packed = features(columns, 3)
    assert packed.shape == (3, 4, 2)
    table = dense(packed, features.width)
    np.testing.assert_allclose(table[:, :2], [[-1, 1], [0, 0], [1, 1]])
    np.testing.assert_allclose(table[:, 2:], [[0.5**0.5, 0.5**0.5], [1, 0], [0, 0]])
    again = Features.from_config(json.loads(json.dumps(features.to_config())))
    few = again({"kind": np.array(["c", "b"], dtype=object)}, 2)
    np.testing.assert_array_equal(dense(few, again.width)[1], [0, 0, 0, 1])


def test_features_take_room_for_what_a_row_has() -> None:
    draw = np.random.default_rng(0).integers(0, 900, (3, 2_000))
    columns = {f"kind{n}": np.array([f"k{i}" for i in row], object) for n, row in enumerate(draw)}
    columns["tags"] = np.array(["a|b"] * 1_999 + ["|".join(map(str, range(500)))], dtype=object)
    features = Features.fit(columns)
    assert features.width > 2_500
    packed = features(columns, 2_000)
    assert packed.shape == (2_000, 3 + MOST_PARTS, 2)  # 0.6 MB; with all categories over 20 MB
    np.testing.assert_allclose(np.square(packed[:, :, 1]).sum(axis=1), 4, rtol=1e-5)
