import numpy as np
import pytest

from {{ cookiecutter.package_name }}.errors import DataProblem
from {{ cookiecutter.package_name }}.splits import (
    assign_splits,
    joined_groups,
    stratified_order,
)

SHARES = {"validation": 0.1, "test": 0.2, "seed": 0}


def test_shares_hold_in_every_class() -> None:
    labels = np.array(["a"] * 1000 + ["b"] * 100)
    splits = assign_splits(labels, np.arange(1100), **SHARES)
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert np.mean(splits[labels == "a"] == name) == pytest.approx(share, abs=0.001)
        assert np.mean(splits[labels == "b"] == name) == pytest.approx(share, abs=0.01)


def test_split_depends_on_the_seed_alone() -> None:
    labels, groups = np.array(["a", "b"] * 50), np.arange(100)
    first = assign_splits(labels, groups, **SHARES)
    np.testing.assert_array_equal(first, assign_splits(labels, groups, **SHARES))
    assert (first != assign_splits(labels, groups, **{**SHARES, "seed": 1})).any()


def test_no_group_is_torn_apart() -> None:
    groups = np.repeat(np.arange(60), 5)
    labels = np.array(["a", "b", "c"])[groups % 3]
    splits = assign_splits(labels, groups, **SHARES)
    for group in range(60):
        assert len(set(splits[groups == group])) == 1
    assert set(splits) == {"train", "validation", "test"}


def test_smallest_classes_stand_in_every_split_or_are_refused() -> None:
    labels = np.array(["a"] * 50 + ["b"] * 3)
    splits = assign_splits(labels, np.arange(53), **SHARES)
    assert set(splits[labels == "b"]) == {"train", "validation", "test"}
    with pytest.raises(DataProblem, match="class 'b': 2 distinct examples"):
        assign_splits(labels[:-1], np.arange(52), **SHARES)


def test_groups_are_joined_over_several_keys() -> None:
    hashes = np.array(["x", "y", "x", "z", "w"])
    patients = np.array(["p", "p", "q", "", ""])
    groups = joined_groups(hashes, patients)
    # 0 and 1 share a patient, 0 and 2 a picture; the empty patient joins nothing.
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], groups[3], groups[4]}) == 3


def test_beginnings_keep_every_class() -> None:
    labels = np.array(["a"] * 900 + ["b"] * 90 + ["c"] * 10)
    order = stratified_order(labels, seed=0)
    assert sorted(order) == list(range(1000))
    assert set(labels[order[:9]]) == {"a", "b", "c"}
    assert np.mean(labels[order[:500]] == "b") == pytest.approx(0.09, abs=0.01)
