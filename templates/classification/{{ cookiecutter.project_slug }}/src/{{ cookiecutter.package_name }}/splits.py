"""Splits that do not leak: stratified by class, and never cutting through a group."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .errors import DataProblem

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def joined_groups(*keys: np.ndarray) -> np.ndarray:
    """Group numbers (size,): examples that share the value of any key are in one group.

    Args:
        keys: (size,) values each, such as content hashes and patients; '' groups nothing.
    """
    size = len(keys[0])
    numbers, count = [], size
    for key in keys:
        values, inverse = np.unique(key, return_inverse=True)
        alone = values[inverse] == ""
        node = np.where(alone, np.arange(size), size + count + inverse)
        numbers.append(node)
        count += size + len(values)
    rows = np.tile(np.arange(size), len(keys))
    columns = np.concatenate(numbers)
    nodes = int(columns.max()) + 1
    edges = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][:size]


def assign_splits(
    labels: np.ndarray, groups: np.ndarray, *, validation: float, test: float, seed: int
) -> np.ndarray:
    """A split's name (size,) for each example; a share of 0 leaves that split out.

    Each class is divided by these shares of its examples, group by group, in a random order; a
    group counts for its most frequent class.

    Raises:
        DataProblem: a class has too few groups to stand in every split.
    """
    wanted = {name: share for name, share in ((TEST, test), (VALIDATION, validation)) if share > 0}
    random = np.random.default_rng(seed)
    splits = np.full(len(labels), TRAIN, dtype=object)
    members = _members(groups)
    class_of = [_most_frequent(labels[places]) for places in members]
    for name in np.unique(labels):
        own = [i for i, label in enumerate(class_of) if label == name]
        if len(own) < len(wanted) + 1:
            raise DataProblem(
                f"class {str(name)!r}: {len(own)} distinct examples or groups are too few; "
                f"at least {len(wanted) + 1} are needed to stand in every split."
            )
        random.shuffle(own)
        total = sum(len(members[i]) for i in own)
        for place, (split, share) in enumerate(wanted.items()):
            left_for_others = len(wanted) - place
            taken = 0
            while not taken or (taken < round(share * total) and len(own) > left_for_others):
                group = members[own.pop()]
                splits[group] = split
                taken += len(group)
    return splits.astype(str)


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Positions (size,) such that each beginning holds the classes in their proportions.

    A few examples of each class come first, so that a small ``data.limit`` keeps every class.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    rank = np.empty(len(labels))
    for name in np.unique(labels):
        own = shuffled[labels[shuffled] == name]
        first = np.arange(len(own))
        rank[own] = np.where(first < 3, first - 3, (first + random.random()) / len(own))
    return np.argsort(rank, kind="stable")


def _members(groups: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, starts)


def _most_frequent(labels: Sequence[str]) -> str:
    values, counts = np.unique(labels, return_counts=True)
    return str(values[counts.argmax()])
