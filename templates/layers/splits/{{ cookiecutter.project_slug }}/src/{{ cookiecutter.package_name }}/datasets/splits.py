"""Training, validation and test splits that do not leak: stratified by class, groups kept whole.

Not scikit-learn's ``StratifiedGroupKFold``: adding examples would move others to another split, and
a split may lack a class.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from ..engine.config_fields import DataFields
from ..engine.errors import DataProblem, UsageProblem

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
# Names of splits in folders, data sets and columns, in lower case.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}


def is_split_column(values: Iterable[str]) -> bool:
    """Return whether all cells but empty ones name splits, the training split among them."""
    names = {value.strip().lower() for value in values} - {""}
    return names <= set(SPLIT_NAMES) and TRAIN in {SPLIT_NAMES[name] for name in names}


def parse_split(value: str, column: str, place: str) -> str:
    """Return the split that a cell names.

    Args:
        value: the cell's text.
        column: the column's name, for the message.
        place: file and row, for the message.

    Raises:
        DataProblem: the value is no name of a split.
    """
    name = value.strip().lower()
    if name not in SPLIT_NAMES:
        raise DataProblem(
            f"{place}: column {column!r}: {value!r} is not one of {', '.join(SPLIT_NAMES)}."
        )
    return SPLIT_NAMES[name]


def split_examples(
    labels: np.ndarray,
    keys: np.ndarray,
    groups: np.ndarray | None,
    source_splits: np.ndarray | None,
    data: DataFields,
) -> np.ndarray:
    """Return each example's split (size,), or '' for a copy of an example of a later split.

    Args:
        labels: (size,) names of classes.
        keys: (size,) hashes of the examples' content; copies share a key.
        groups: (size,) groups to keep in one split ('' for none), or None.
        source_splits: (size,) splits as the source defines them, or None; a missing validation or
            test split is taken from the training split.
        data: fractions and seed of the split.

    Raises:
        DataProblem: a class is in too few groups, or has no example in the training split.
    """
    merged = merge_groups(keys) if groups is None else merge_groups(keys, groups)
    if source_splits is None:
        return assign_splits(
            labels,
            merged,
            keys,
            validation=data.validation_fraction,
            test=data.test_fraction,
            seed=data.split_seed,
        )
    splits = source_splits.astype(object)
    # Of copies in several splits, the test split keeps its own, so that nothing leaks into it.
    for kept, others in ((TEST, (TRAIN, VALIDATION)), (VALIDATION, (TRAIN,))):
        copies = np.isin(merged, merged[splits == kept])
        splits[copies & np.isin(splits, others)] = ""
    rest = splits == TRAIN
    missing = {VALIDATION, TEST} - set(splits)
    if missing and rest.any():
        splits[rest] = assign_splits(
            labels[rest],
            merged[rest],
            keys[rest],
            validation=data.validation_fraction if VALIDATION in missing else 0.0,
            test=data.test_fraction if TEST in missing else 0.0,
            seed=data.split_seed,
        )
    for name in np.unique(labels):
        if not np.any((labels == name) & (splits == TRAIN)):
            raise DataProblem(f"data: class {str(name)!r} has no example in the training split.")
    return splits.astype(str)


def sample_stratified(
    labels: np.ndarray, source_splits: np.ndarray | None, data: DataFields
) -> np.ndarray:
    """Return sorted positions of ``data.limit`` examples, with every class in every split.

    Args:
        labels: (size,) names of classes.
        source_splits: (size,) splits as the source defines them, or None.
        data: the limit, and the seed of the split.

    Raises:
        UsageProblem: the limit is too low for that.
    """
    strata = labels
    if source_splits is not None:
        pairs = zip(source_splits, labels, strict=True)
        strata = np.array([f"{split}/{label}" for split, label in pairs])
    minimum = len(SPLITS) * len(np.unique(strata))
    assert data.limit is not None, "asked for only where there is a limit"
    if data.limit < minimum:
        raise UsageProblem(
            f"data.limit: {data.limit} is too few for {len(np.unique(labels))} classes; "
            f"at least {minimum} are needed."
        )
    return np.sort(shuffle_stratified(strata, data.split_seed)[: data.limit])


def merge_groups(*keys: np.ndarray) -> np.ndarray:
    """Return group numbers (size,): examples that share the value of any key are in one group.

    Args:
        keys: (size,) values each, such as content hashes and patients; '' joins nothing.
    """
    size = len(keys[0])
    numbers, count = [], size
    for key in keys:
        values, inverse = np.unique(key, return_inverse=True)
        empty = values[inverse] == ""
        # Each example is a node, and each value another; an empty value is an edge to oneself.
        node = np.where(empty, np.arange(size), size + count + inverse)
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
    """Assign each example to a split, stratified by class as nearly as whole groups allow.

    The order in which groups are assigned depends only on the seed and their content, so adding
    examples later moves few others from one split to another.

    Args:
        labels: (size,) names of classes.
        groups: (size,) group numbers; a group stays in one split.
        keys: (size,) hashes of the examples' content.
        validation: fraction of the examples for validation; 0 for no such split.
        test: fraction of the examples for the test; 0 for no such split.
        seed: of the order in which groups are assigned.

    Returns:
        Names of splits (size,).

    Raises:
        DataProblem: a class is in too few groups to be in every split.
    """
    shares = {TRAIN: 1.0 - validation - test, VALIDATION: validation, TEST: test}
    names = [name for name, share in shares.items() if share > 0]
    classes, class_ids = np.unique(labels, return_inverse=True)
    numbers, member_of = np.unique(groups, return_inverse=True)
    ones = np.ones(len(labels), dtype=int)
    # (groups, classes) examples; sparse, since most groups have few classes.
    counts = csr_matrix((ones, (member_of, class_ids)), shape=(len(numbers), len(classes)))
    _check_class_sizes(counts, classes, len(names))
    order = _order_groups(member_of, keys, _count_examples(counts, axis=1), seed)
    class_sizes = _count_examples(counts, axis=0)
    targets = np.outer([shares[name] for name in names], class_sizes).astype(float)
    split_of = _assign_groups(order, counts, targets)
    _fill_gaps(split_of, counts, len(names))
    return np.array(names)[split_of[member_of]]


def _count_examples(counts: csr_matrix, axis: int) -> np.ndarray:
    """Count the examples of each group (axis 1) or class (axis 0)."""
    return np.asarray(counts.sum(axis=axis)).ravel()


def _check_class_sizes(counts: csr_matrix, classes: np.ndarray, splits: int) -> None:
    groups_per_class = counts.getnnz(axis=0)
    for name, number in zip(classes, groups_per_class, strict=True):
        if number < splits:
            raise DataProblem(
                f"class {str(name)!r}: {number} distinct examples or groups are too few; "
                f"at least {splits} are needed, one for each split."
            )


def _order_groups(
    member_of: np.ndarray, keys: np.ndarray, sizes: np.ndarray, seed: int
) -> np.ndarray:
    """Sort groups from large to small; groups of one size by a hash of seed and content."""
    lowest: list[bytes] = [b"\xff"] * len(sizes)
    for group, key in zip(member_of, keys, strict=True):
        lowest[group] = min(lowest[group], hashlib.sha256(f"{seed}/{key}".encode()).digest())
    return np.array(sorted(range(len(sizes)), key=lambda group: (-sizes[group], lowest[group])))


def _assign_groups(order: np.ndarray, counts: csr_matrix, targets: np.ndarray) -> np.ndarray:
    """Assign each group to the split that is then furthest below its target.

    Args:
        order: (groups,) groups, those with several examples before single examples.
        counts: (groups, classes) examples.
        targets: (splits, classes) examples.

    Returns:
        The index of each group's split (groups,).
    """
    remaining = targets.copy()
    split_of = np.zeros(counts.shape[0], dtype=int)
    sizes = _count_examples(counts, axis=1)
    for group in order[sizes[order] > 1]:
        row = slice(counts.indptr[group], counts.indptr[group + 1])
        classes, own = counts.indices[row], counts.data[row]
        missing = (remaining[:, classes] - own) / targets[:, classes]  # (splits, classes of group)
        split = int(np.argmax(missing @ own))
        remaining[split, classes] -= own
        split_of[group] = split
    # Single examples, mostly the bulk, fill what remains, class by class.
    singles = order[sizes[order] == 1]
    class_of = counts.indices[counts.indptr[singles]]
    by_class = singles[np.argsort(class_of, kind="stable")]
    ends = np.cumsum(np.bincount(class_of, minlength=counts.shape[1]))
    for column, own in enumerate(np.split(by_class, ends[:-1])):
        start = 0
        for split in reversed(range(1, len(targets))):
            number = max(0, round(remaining[split, column]))
            split_of[own[start : start + number]] = split
            start += number
    return split_of


def _fill_gaps(split_of: np.ndarray, counts: csr_matrix, splits: int) -> None:
    """Move a group of each class that a split lacks into it: the smallest of the split with most.

    The training split, the first, is filled last, so that it has every class in the end.
    """
    by_class, sizes = counts.tocsc(), _count_examples(counts, axis=1)
    by_class.sort_indices()
    for split in reversed(range(splits)):
        for column in range(counts.shape[1]):
            groups = by_class.indices[by_class.indptr[column] : by_class.indptr[column + 1]]
            if np.any(split_of[groups] == split):
                continue
            per_split = np.bincount(split_of[groups], minlength=splits)
            candidates = groups[split_of[groups] == per_split.argmax()]
            split_of[candidates[sizes[candidates].argmin()]] = split


def shuffle_stratified(labels: np.ndarray, seed: int) -> np.ndarray:
    """Shuffle positions (size,) so that any first n of them hold the classes in proportion.

    Three examples of each class come first, so that a small ``data.limit`` keeps every class in
    every split.

    Args:
        labels: (size,) names of classes.
        seed: of the shuffle.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    rank = np.empty(len(labels))
    for name in np.unique(labels):
        own = shuffled[labels[shuffled] == name]
        first = np.arange(len(own))
        rank[own] = np.where(first < 3, first - 3, (first + random.random()) / len(own))
    return np.argsort(rank, kind="stable")
