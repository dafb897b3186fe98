"""Ids become numbers, and every training interaction is a target exactly once."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import inputs
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import Histories, load
from {{ cookiecutter.package_name }}.datasets.interactions import Interactions
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.networks.features import MAX_VALUES, FeatureEncoder
from {{ cookiecutter.package_name }}.networks.layers import _embed_features
from {{ cookiecutter.package_name }}.preprocessing import (
    FIRST_ITEM,
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


def test_every_training_interaction_is_a_target_once(data: DatasetSplits) -> None:
    train, held_out = data.train, {}
    targets = np.concatenate(
        [np.arange(a, b) for a, b in zip(train.target_starts, train.ends, strict=True)]
    )
    assert len(targets) == len(np.unique(targets))
    for name in ("validation", "test"):
        split = getattr(data, name)
        held_out[name] = set(split.target_starts)
        assert not held_out[name] & set(targets)
    assert not held_out["validation"] & held_out["test"]
    # All other interactions are the two held out of each user with three or more.
    sizes = [len(targets), len(held_out["validation"]), len(held_out["test"])]
    assert sum(sizes) == len(train.interactions)
    assert (data.test.target_starts - 1 == data.validation.target_starts).all()


def test_fit_ignores_held_out_interactions(data: DatasetSplits, config: Config) -> None:
    log = data.train.interactions
    held_out = np.ones(len(log), dtype=bool)
    held_out[data.train.target_positions] = False
    changed = replace(log, items=np.where(held_out, 0, log.items))

    def fit(split: Histories, log: Interactions) -> tuple:
        fitted = Preprocessing.fit(replace(split, interactions=log), config)
        transitions = fitted.transitions
        return fitted.to_config(), transitions.pairs.tolist(), transitions.counts.tolist()

    assert fit(data.train, log) == fit(data.train, changed)
    leak = replace(data.train, target_starts=data.test.target_starts, ends=data.test.ends)
    assert fit(leak, log) != fit(leak, changed), "the test detects a leak"


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
            history = [name.decode() for name in raw["history"][row].numpy() if name][-10:]
            next_items = [name.decode() for name in raw["next_items"][row].numpy() if name]
            numbers = [
                UNKNOWN
                if name not in preprocessing.items
                else preprocessing.items.index(name) + FIRST_ITEM
                for name in (*history, *next_items)
            ]
            assert lengths[row] == 1 + len(numbers)
            assert finished["items"][row, 1 : 1 + len(numbers)].tolist() == numbers
            assert not finished["items"][row, 1 + len(numbers) :].any()
            expected = [0.0] * len(history) + [
                float(number >= FIRST_ITEM) for number in numbers[len(history) :]
            ]
            assert finished["weights"][row, : len(numbers)].tolist() == expected
            assert not finished["weights"][row, len(numbers) :].any()


def test_prediction_ignores_next_items(data: DatasetSplits, preprocessing: Preprocessing) -> None:
    raw = data.test.fetch(np.arange(20))
    other = raw | {"next_items": tf.fill(tf.shape(raw["next_items"]), preprocessing.items[0])}
    for name, value in preprocessing(raw).items():
        np.testing.assert_array_equal(value, preprocessing(other)[name])


def test_unknown_users_and_items(preprocessing: Preprocessing) -> None:
    first, second = preprocessing.items[:2]
    encoded = preprocessing(inputs.build_raw_inputs(["nobody"], [[first, "unheard of", second]]))
    assert encoded["user"].numpy().tolist() == [0]
    assert encoded["items"].numpy().tolist() == [[START, FIRST_ITEM, UNKNOWN, FIRST_ITEM + 1]]
    places = preprocessing.catalogue_indices(np.array([[first, "unheard of", ""]], dtype=object))
    assert places.tolist() == [[0, -1, -1]]


def test_long_histories_are_truncated_to_the_newest_items(preprocessing: Preprocessing) -> None:
    history = list(preprocessing.items[:15])
    encoded = preprocessing(inputs.build_raw_inputs(["nobody"], [history]))["items"].numpy()[0]
    assert encoded.tolist() == [START, *range(FIRST_ITEM + 5, FIRST_ITEM + 15)]


def test_augmentation_keeps_targets(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> None:
    prepared = preprocessing.prepare(data.train.fetch(np.arange(50)))
    labels = tf.range(50)
    augmented, same = augment(prepared, labels, lambda count: tf.zeros([50, count]), config)
    targets = prepared.numpy()[:, :, 1] > 0
    np.testing.assert_array_equal(augmented.numpy()[targets], prepared.numpy()[targets])
    assert not augmented.numpy()[:, 0, 0].any()
    assert same is labels
    kept, _ = augment(prepared, labels, lambda count: tf.ones([50, count]), config)
    np.testing.assert_array_equal(kept, prepared)


def test_config_round_trip(preprocessing: Preprocessing) -> None:
    restored = Preprocessing.from_config(json.loads(json.dumps(preprocessing.to_config())))
    assert restored == preprocessing


def dense(packed: np.ndarray, width: int) -> np.ndarray:
    """Unpack encoded features (size, entries, 2) to a matrix (size, width)."""
    return np.asarray(
        _embed_features(packed, np.eye(width, dtype="float32"), np.arange(len(packed)))
    )


def test_feature_encoding() -> None:
    columns = {
        "age": np.array(["10", "", "30"], dtype=object),
        "kind": np.array(["a|b", "a", ""], dtype=object),
    }
    encoder = FeatureEncoder.fit(columns)
    assert encoder.num_columns == 4
    packed = encoder(columns, 3)
    assert packed.shape == (3, 4, 2)
    table = dense(packed, encoder.num_columns)
    np.testing.assert_allclose(table[:, :2], [[-1, 1], [0, 0], [1, 1]])
    np.testing.assert_allclose(table[:, 2:], [[0.5**0.5, 0.5**0.5], [1, 0], [0, 0]])
    restored = FeatureEncoder.from_config(json.loads(json.dumps(encoder.to_config())))
    few = restored({"kind": np.array(["c", "b"], dtype=object)}, 2)
    np.testing.assert_array_equal(dense(few, restored.num_columns)[1], [0, 0, 0, 1])


def test_encoded_features_are_sparse() -> None:
    draw = np.random.default_rng(0).integers(0, 900, (3, 2_000))
    columns = {f"kind{n}": np.array([f"k{i}" for i in row], object) for n, row in enumerate(draw)}
    columns["tags"] = np.array(["a|b"] * 1_999 + ["|".join(map(str, range(500)))], dtype=object)
    encoder = FeatureEncoder.fit(columns)
    assert encoder.num_columns > 2_500
    packed = encoder(columns, 2_000)
    assert packed.shape == (2_000, 3 + MAX_VALUES, 2)  # 0.6 MB; with all categories over 20 MB
    np.testing.assert_allclose(np.square(packed[:, :, 1]).sum(axis=1), 4, rtol=1e-5)
