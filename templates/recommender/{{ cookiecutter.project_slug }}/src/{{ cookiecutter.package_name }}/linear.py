"""Recommending without training by gradients: popularity, neighbours, and EASE in closed form.

They are baselines, and views that a model adds to its own.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from .data import Histories

MOST_ITEMS = 6_000  # of a catalogue for which a matrix (items, items) is made
HALF_LIFE = 5.0  # events after which one counts half: what is older says less
PRIOR = 20.0  # events by popularity that are added to those that followed an item
RIDGE = (30.0, 100.0, 300.0, 1000.0)  # strengths of EASE's regularisation, to be chosen from


def matrix(train: Histories, items: dict[str, int]) -> sparse.csr_matrix:
    """What each user of the training histories had (users, items), 1 where it did.

    Args:
        items: id -> place in the catalogue.
    """
    log = train.log
    place = np.array([items.get(name, -1) for name in log.item_ids])
    events = np.concatenate(
        [np.arange(a, b) for a, b in zip(train.knowns, train.ends, strict=True)]
    )
    events = events[(log.weights[events] > 0) & (place[log.items[events]] >= 0)]
    made = sparse.csr_matrix(
        (np.ones(len(events)), (log.users[events], place[log.items[events]])),
        shape=(len(log.user_ids), len(items)),
    )
    made.data[:] = 1  # repeated events are one
    return made


def ease(had: sparse.csr_matrix, ridge: float) -> np.ndarray:
    """Item weights (items, items) of an autoencoder without hidden layer: Steck, WWW 2019."""
    gram = (had.T @ had).toarray()
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0
    return weights.astype("float32")


def transitions(train: Histories, items: dict[str, int], counts: tuple[int, ...]) -> np.ndarray:
    """Logarithms of how likely each item comes right after another (items, items); where little was
    seen it is as likely as it is popular: Rendle, Freudenthaler & Schmidt-Thieme, WWW 2010, without
    the user.

    Args:
        counts: training events of each item.
    """
    log = train.log
    place = np.array([items.get(name, -1) for name in log.item_ids])
    first, second = [], []
    for begin, end in zip(train.begins, train.ends, strict=True):
        found = place[log.items[begin:end]]
        first.append(found[:-1])
        second.append(found[1:])
    first, second = np.concatenate(first), np.concatenate(second)
    good = (first >= 0) & (second >= 0)
    followed = np.zeros((len(items), len(items)), "float32")
    np.add.at(followed, (first[good], second[good]), 1)
    popularity = (np.array(counts, "float32") + 0.1) / (sum(counts) + 0.1 * len(counts))
    followed += PRIOR * popularity
    return np.log(followed / followed.sum(axis=1, keepdims=True))


def neighbours(had: sparse.csr_matrix, most: int = 100, shrink: float = 10.0) -> sparse.csr_matrix:
    """Cosines (items, items) of who had them, the nearest of each item alone."""
    counts = np.sqrt(np.asarray(had.sum(axis=0)).ravel())
    together = (had.T @ had).tocsr()
    together.setdiag(0)
    together = together.tocoo()
    scaled = together.data / (counts[together.row] * counts[together.col] + shrink)
    cosines = sparse.csr_matrix((scaled, (together.row, together.col)), shape=together.shape)
    for row in range(cosines.shape[0]):
        part = slice(cosines.indptr[row], cosines.indptr[row + 1])
        if part.stop - part.start > most:
            few = np.partition(cosines.data[part], -most)[-most]
            cosines.data[part] = np.where(cosines.data[part] >= few, cosines.data[part], 0)
    cosines.eliminate_zeros()
    return cosines


def histories(
    split: Histories,
    items: dict[str, int],
    half_life: float | None,
    liked_alone: bool = True,
    batch: int = 512,
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Weighted histories (batch, items) of those who are asked about.

    Args:
        half_life: events after which one counts half; None: all count alike.
        liked_alone: leave out events that count nothing, although they are known.
    """
    log = split.log
    place = np.array([items.get(name, -1) for name in log.item_ids])
    for start in range(0, len(split), batch):
        rows, columns, values = [], [], []
        part = slice(start, min(start + batch, len(split)))
        for row, (begin, known) in enumerate(
            zip(split.begins[part], split.knowns[part], strict=True)
        ):
            found = place[log.items[begin:known]]
            age = np.arange(len(found))[::-1]
            weight = np.ones(len(found)) if half_life is None else 0.5 ** (age / half_life)
            good = (found >= 0) & ((log.weights[begin:known] > 0) | (not liked_alone))
            rows += [row] * int(good.sum())
            columns.append(found[good])
            values.append(weight[good])
        shape = (part.stop - part.start, len(items))
        entries = (np.concatenate(values), (rows, np.concatenate(columns).astype(int)))
        yield part, sparse.csr_matrix(entries, shape=shape)


def ndcg(
    weights: np.ndarray | sparse.spmatrix,
    split: Histories,
    items: dict[str, int],
    half_life: float | None,
    most: int = 10,
) -> float:
    """NDCG of the ``most`` likeliest items that are not in the history, for item weights."""
    gains, most = [], min(most, len(items))
    for part, had in histories(split, items, half_life):
        scores = had @ weights
        scores = scores.toarray() if sparse.issparse(scores) else scores
        scores[had.nonzero()] = -np.inf
        top = np.argpartition(-scores, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        for row, targets in zip(top, split.targets[part], strict=True):
            wanted = {items[name] for name in targets if name in items}
            hits = np.isin(row, list(wanted)) / np.log2(np.arange(2, most + 2))
            best = (1 / np.log2(np.arange(2, min(len(targets[targets != ""]), most) + 2))).sum()
            gains.append(hits.sum() / best)
    return float(np.mean(gains))
