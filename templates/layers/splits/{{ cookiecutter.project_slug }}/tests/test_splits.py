import tracemalloc

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.datasets.splits import (
    assign_splits,
    merge_groups,
    shuffle_stratified,
    split_examples,
)
from {{ cookiecutter.package_name }}.engine.config_fields import DataFields
from {{ cookiecutter.package_name }}.engine.errors import DataProblem


def split(labels: np.ndarray, groups: np.ndarray, keys=None, seed: int = 0) -> np.ndarray:
    """Splits with a tenth for validation and a fifth for the test."""
    keys = np.arange(len(labels)).astype(str) if keys is None else keys
    return assign_splits(labels, groups, keys, validation=0.1, test=0.2, seed=seed)


def test_shares_hold_in_every_class() -> None:
    labels = np.array(["a"] * 1000 + ["b"] * 100)
    splits = split(labels, np.arange(1100))
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert np.mean(splits[labels == "a"] == name) == pytest.approx(share, abs=0.001)
        assert np.mean(splits[labels == "b"] == name) == pytest.approx(share, abs=0.01)


def test_split_depends_on_the_seed_alone() -> None:
    labels, groups = np.array(["a", "b"] * 50), np.arange(100)
    first = split(labels, groups)
    np.testing.assert_array_equal(first, split(labels, groups))
    assert (first != split(labels, groups, seed=1)).any()


def test_no_group_is_torn_apart() -> None:
    groups = np.repeat(np.arange(60), 5)
    labels = np.array(["a", "b", "c"])[groups % 3]
    splits = split(labels, groups)
    for group in range(60):
        assert len(set(splits[groups == group])) == 1
    assert set(splits) == {"train", "validation", "test"}


def test_smallest_classes_stand_in_every_split_or_are_refused() -> None:
    labels = np.array(["a"] * 50 + ["b"] * 3)
    splits = split(labels, np.arange(53))
    assert set(splits[labels == "b"]) == {"train", "validation", "test"}
    with pytest.raises(DataProblem, match="class 'b': 2 distinct examples"):
        split(labels[:-1], np.arange(52))


def test_training_examples_that_are_all_copies_of_test_examples_are_refused() -> None:
    labels, keys = np.array(["a", "b"] * 10), np.array(list("xy" * 10))
    source_splits = np.array(["train"] * 10 + ["test"] * 10)
    with pytest.raises(DataProblem, match="class 'a' has no example in the training split"):
        split_examples(labels, keys, None, source_splits, DataFields(source="folder"))


def test_groups_are_merged_over_several_keys() -> None:
    hashes = np.array(["x", "y", "x", "z", "w"])
    patients = np.array(["p", "p", "q", "", ""])
    groups = merge_groups(hashes, patients)
    # 0 and 1 share a patient, 0 and 2 a picture; the empty patient joins nothing.
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], groups[3], groups[4]}) == 3


def test_beginnings_keep_every_class() -> None:
    labels = np.array(["a"] * 900 + ["b"] * 90 + ["c"] * 10)
    order = shuffle_stratified(labels, seed=0)
    assert sorted(order) == list(range(1000))
    assert set(labels[order[:9]]) == {"a", "b", "c"}
    assert np.mean(labels[order[:500]] == "b") == pytest.approx(0.09, abs=0.01)


def test_class_that_is_rare_in_every_group() -> None:
    # 40 patients with nine normal images and a tumour each.
    groups = np.repeat(np.arange(40), 10)
    labels = np.where(np.arange(400) % 10 == 0, "tumour", "normal")
    splits = split(labels, groups)
    for name, count in (("train", 28), ("validation", 4), ("test", 8)):
        assert np.sum((labels == "tumour") & (splits == name)) == pytest.approx(count, abs=1)


def test_one_huge_group_is_for_training() -> None:
    groups = np.concatenate([np.zeros(900, int), np.arange(1, 110)])
    labels = np.array(["a", "b"])[np.arange(1009) % 2]
    for seed in range(5):
        splits = split(labels, groups, seed=seed)
        assert set(splits[:900]) == {"train"}
        assert set(splits) == {"train", "validation", "test"}


def test_added_examples_move_few_others() -> None:
    labels = np.array(["a", "b"])[np.arange(320) % 2]
    keys = np.random.default_rng(0).integers(0, 2**60, 320).astype(str)
    before = split(labels[:300], np.arange(300), keys[:300])
    after = split(labels, np.arange(320), keys)
    assert np.mean(before != after[:300]) < 0.1


def test_every_split_has_every_class() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        groups = random.integers(0, 12, 60)
        labels = np.array(list("abc"))[random.integers(0, 3, 60)]
        if min(len(np.unique(groups[labels == name])) for name in "abc") < 3:
            continue
        splits = split(labels, groups)
        for name in ("train", "validation", "test"):
            assert set(labels[splits == name]) == set("abc")


def test_many_groups_and_classes_take_no_table_of_both() -> None:
    # 30,000 groups and 1,000 classes: a table of both would take 240 MB.
    classes = np.array([f"c{number:03d}" for number in range(1_000)])
    labels, groups = np.tile(classes, 40), np.arange(40_000) // 2 * 2
    groups[:20_000] = np.arange(20_000)
    keys = np.arange(len(labels)).astype(str)
    tracemalloc.start()
    splits = split(labels, groups, keys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    for name in ("train", "validation", "test"):
        assert len(np.unique(labels[splits == name])) == 1_000
