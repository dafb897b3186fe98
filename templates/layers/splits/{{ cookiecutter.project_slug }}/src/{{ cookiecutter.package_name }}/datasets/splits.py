"""Splits that do not leak: stratified by class, and never cutting through a group."""

import hashlib
from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from ..engine.config_fields import DataFields
from ..engine.errors import DataProblem, UsageProblem

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
# How folders, data sets and columns name them, in small letters.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}


def names_splits(values: Iterable[str]) -> bool:
    """Whether a column says which split each row belongs to: its cells, but for empty ones, are
    names of splits, the training split among them."""
    there = {value.strip().lower() for value in values} - {""}
    return there <= set(SPLIT_NAMES) and TRAIN in {SPLIT_NAMES[name] for name in there}


def split_named(value: str, column: str, place: str) -> str:
    """The split that a cell of a column names.

    Args:
        place: file and row, for the message.

    Raises:
        DataProblem: it names none.
    """
    name = value.strip().lower()
    if name not in SPLIT_NAMES:
        raise DataProblem(
            f"{place}: column {column!r}: {value!r} is not one of {', '.join(SPLIT_NAMES)}."
        )
    return SPLIT_NAMES[name]


def divided(
    labels: np.ndarray,
    keys: np.ndarray,
    groups: np.ndarray | None,
    given: np.ndarray | None,
    data: DataFields,
) -> np.ndarray:
    """The split (size,) of each example; '' for a copy of one that stands in a later split.

    Args:
        labels: (size,) names of classes.
        keys: (size,) of the examples' content; those with the same key are copies.
        groups: (size,) what must not be torn apart ('' for none), or None.
        given: (size,) the source's own splits, which stand, or None; it may lack some of them.

    Raises:
        DataProblem: a class stands in too few groups, or not in the training split.
    """
    joined = joined_groups(keys) if groups is None else joined_groups(keys, groups)
    if given is None:
        return assign_splits(
            labels,
            joined,
            keys,
            validation=data.validation_fraction,
            test=data.test_fraction,
            seed=data.split_seed,
        )
    splits = given.astype(object)
    # Where a copy is in two of them, the test keeps it.
    for kept, others in ((TEST, (TRAIN, VALIDATION)), (VALIDATION, (TRAIN,))):
        inside = np.isin(joined, joined[splits == kept])
        splits[inside & np.isin(splits, others)] = ""
    rest = splits == TRAIN
    missing = {VALIDATION, TEST} - set(splits)
    if missing:
        splits[rest] = assign_splits(
            labels[rest],
            joined[rest],
            keys[rest],
            validation=data.validation_fraction if VALIDATION in missing else 0.0,
            test=data.test_fraction if TEST in missing else 0.0,
            seed=data.split_seed,
        )
    for name in np.unique(labels):
        if not np.any((labels == name) & (splits == TRAIN)):
            raise DataProblem(f"data: class {str(name)!r} has no example in the training split.")
    return splits.astype(str)


def limited(labels: np.ndarray, given: np.ndarray | None, data: DataFields) -> np.ndarray:
    """Places of ``data.limit`` examples, every class in every split among them.

    Raises:
        UsageProblem: they are too few for that.
    """
    parts = labels
    if given is not None:
        parts = np.array([f"{split}/{label}" for split, label in zip(given, labels, strict=True)])
    least = 3 * len(np.unique(parts))  # one for each split that a class may be divided into
    if data.limit < least:
        raise UsageProblem(
            f"data.limit: {data.limit} is too few for {len(np.unique(labels))} classes; "
            f"at least {least} are needed."
        )
    return np.sort(stratified_order(parts, data.split_seed)[: data.limit])


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
    labels: np.ndarray,
    groups: np.ndarray,
    keys: np.ndarray,
    *,
    validation: float,
    test: float,
    seed: int,
) -> np.ndarray:
    """A split's name (size,) for each example; a share of 0 leaves that split out.

    Each class is divided by these shares, as nearly as whole groups allow. The order in which
    groups are placed depends on the seed and their content alone, so examples that are added later
    move few others from one split to another.

    Args:
        labels: (size,) names of classes.
        groups: (size,) numbers; a group stays in one split.
        keys: (size,) hashes of the examples' content.

    Raises:
        DataProblem: a class stands in too few groups to be in every split.
    """
    shares = {TRAIN: 1.0 - validation - test, VALIDATION: validation, TEST: test}
    names = [name for name, share in shares.items() if share > 0]
    classes, encoded = np.unique(labels, return_inverse=True)
    numbers, member_of = np.unique(groups, return_inverse=True)
    ones = np.ones(len(labels), dtype=int)
    # Of examples, by group and class; most groups have few classes.
    counts = csr_matrix((ones, (member_of, encoded)), shape=(len(numbers), len(classes)))
    _check_enough(counts, classes, len(names))
    order = _order(member_of, keys, _sums(counts, axis=1), seed)
    wanted = np.outer([shares[name] for name in names], _sums(counts, axis=0)).astype(float)
    split_of = _place(order, counts, wanted)
    _fill_gaps(split_of, counts, len(names))
    return np.array(names)[split_of[member_of]]


def _sums(counts: csr_matrix, axis: int) -> np.ndarray:
    """Examples of each group (axis 1) or class (axis 0)."""
    return np.asarray(counts.sum(axis=axis)).ravel()


def _check_enough(counts: csr_matrix, classes: np.ndarray, splits: int) -> None:
    standing_in = counts.getnnz(axis=0)
    for name, number in zip(classes, standing_in, strict=True):
        if number < splits:
            raise DataProblem(
                f"class {str(name)!r}: {number} distinct examples or groups are too few; "
                f"at least {splits} are needed to stand in every split."
            )


def _order(member_of: np.ndarray, keys: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Groups, the largest first; among equals in an order drawn from seed and content."""
    drawn = [hashlib.sha256(f"{seed}/{key}".encode()).digest() for key in keys]
    first: list[bytes] = [b"\xff"] * len(sizes)
    for group, draw in zip(member_of, drawn, strict=True):
        first[group] = min(first[group], draw)
    return np.array(sorted(range(len(sizes)), key=lambda group: (-sizes[group], first[group])))


def _place(order: np.ndarray, counts: csr_matrix, wanted: np.ndarray) -> np.ndarray:
    """Give each group to the split that then still lacks the largest share of what it should have.

    Args:
        counts: (groups, classes) examples.
        wanted: (splits, classes) examples.
    """
    lacking = wanted.copy()
    split_of = np.zeros(counts.shape[0], dtype=int)
    sizes = _sums(counts, axis=1)
    for group in order[sizes[order] > 1]:
        row = slice(counts.indptr[group], counts.indptr[group + 1])
        inside, own = counts.indices[row], counts.data[row]
        left = (lacking[:, inside] - own) / wanted[:, inside]
        split = int(np.argmax(left @ own))
        lacking[split, inside] -= own
        split_of[group] = split
    # Single examples, mostly the bulk, fill what is left, class by class.
    alone = order[sizes[order] == 1]
    class_of = counts.indices[counts.indptr[alone]]
    by_class = alone[np.argsort(class_of, kind="stable")]
    ends = np.cumsum(np.bincount(class_of, minlength=counts.shape[1]))
    for column, own in enumerate(np.split(by_class, ends[:-1])):
        start = 0
        for split in reversed(range(1, len(wanted))):
            number = max(0, round(lacking[split, column]))
            split_of[own[start : start + number]] = split
            start += number
    return split_of


def _fill_gaps(split_of: np.ndarray, counts: csr_matrix, splits: int) -> None:
    """Where a split lacks a class, move the smallest group that has it from where it stands most.

    The training split, the first, is filled last, so that it never lacks one in the end.
    """
    by_class, sizes = counts.tocsc(), _sums(counts, axis=1)
    by_class.sort_indices()
    for split in reversed(range(splits)):
        for column in range(counts.shape[1]):
            holding = by_class.indices[by_class.indptr[column] : by_class.indptr[column + 1]]
            if np.any(split_of[holding] == split):
                continue
            standing = np.bincount(split_of[holding], minlength=splits)
            candidates = holding[split_of[holding] == standing.argmax()]
            split_of[candidates[sizes[candidates].argmin()]] = split


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
