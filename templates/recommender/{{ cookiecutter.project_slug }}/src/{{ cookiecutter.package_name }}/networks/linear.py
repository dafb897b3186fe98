"""Recommending without training by gradients: neighbours of items, and EASE in closed form."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse

from ..data import Histories
from ..engine.interfaces import Preprocessing
from ..ranking import MOST, best, per_user, rows_at_a_time

MOST_ITEMS = 6_000  # of a catalogue for which a matrix (items, items) is made
PRODUCTS = 2**24  # pairs of events that neighbours are counted from at a time
MOST_ROWS = 512  # of histories that are scored at a time
HALF_LIFE = 5.0  # events after which one counts half: what is older says less
Scores = Callable[[sparse.csr_matrix], np.ndarray]  # of weighted histories (batch, items)
RIDGE = (30.0, 100.0, 300.0, 1000.0)  # strengths of EASE's regularisation, to be chosen from


def shares(counts: tuple[int, ...]) -> np.ndarray:
    """Shares (items,) of the events; none is zero."""
    smooth = np.array(counts, "float64") + 0.1
    return smooth / smooth.sum()


def matrix(train: Histories, preprocessing: Preprocessing) -> sparse.csr_matrix:
    """What each user of the training histories had (users, items), 1 where it did."""
    log, events = train.log, train.events
    item = preprocessing.catalogue_numbers(log.item_ids)[log.items[events]]
    good = (log.weights[events] > 0) & (item >= 0)
    made = sparse.csr_matrix(
        (np.ones(good.sum()), (log.users[events[good]], item[good])),
        shape=(len(log.user_ids), len(preprocessing.items)),
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


def fitted_ease(
    had: sparse.csr_matrix,
    validation: Histories,
    preprocessing: Preprocessing,
    half_life: float | None,
) -> np.ndarray:
    """EASE with the strength that is best for the validation split."""

    def reached(weights: np.ndarray) -> float:
        outputs = recommended(validation, preprocessing, lambda had: had @ weights, half_life)
        return per_user(validation.targets, outputs, preprocessing)["ndcg_10"].mean()

    return max((ease(had, ridge) for ridge in RIDGE), key=reached)


def neighbours(had: sparse.csr_matrix, most: int = 100, shrink: float = 10.0) -> sparse.csr_matrix:
    """Cosines (items, items) of who had them, the nearest of each item alone."""
    counts = np.sqrt(np.asarray(had.sum(axis=0)).ravel())
    of_item = had.T.tocsr()
    # All pairs of a large catalogue would fill the memory; few of each item's are kept.
    products = np.cumsum(of_item @ np.asarray(had.sum(axis=1)).ravel())
    borders = np.flatnonzero(np.diff(products // PRODUCTS)) + 1
    ends = [*borders.tolist(), len(counts)]
    return sparse.vstack(
        [
            _nearest(of_item, had, slice(start, end), counts, most, shrink)
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ],
        format="csr",
    )


def _nearest(
    of_item: sparse.csr_matrix,
    had: sparse.csr_matrix,
    items: slice,
    counts: np.ndarray,
    most: int,
    shrink: float,
) -> sparse.csr_matrix:
    """Rows (rows, items) of ``neighbours``.

    Args:
        of_item: (items, users) who had each item.
        counts: (items,) roots of how many had them.
    """
    together = (of_item[items] @ had).tocoo()
    row, column = together.row + items.start, together.col
    others = row != column
    scaled = together.data[others] / (counts[row] * counts[column] + shrink)[others]
    place = (together.row[others], column[others])
    cosines = sparse.csr_matrix((scaled, place), shape=together.shape)
    for number in range(cosines.shape[0]):
        part = slice(cosines.indptr[number], cosines.indptr[number + 1])
        if part.stop - part.start > most:
            few = np.partition(cosines.data[part], -most)[-most]
            cosines.data[part] = np.where(cosines.data[part] >= few, cosines.data[part], 0)
    cosines.eliminate_zeros()
    return cosines


def recommended(
    split: Histories,
    preprocessing: Preprocessing,
    scores: Scores,
    half_life: float | None = None,
) -> np.ndarray:
    """The best recommendations (size, 100, 2) for those who are asked about, see ``ranking.best``.

    Args:
        half_life: events after which one counts half; None: all count alike.
    """
    found = []
    for liked, had in histories(split, preprocessing, half_life):
        rated = scores(liked)
        if preprocessing.unseen_only:
            rated[had.nonzero()] = -np.inf
        found.append(best(rated, MOST))
    return np.concatenate(found)


def histories(
    split: Histories, preprocessing: Preprocessing, half_life: float | None
) -> Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix]]:
    """Weighted histories (batch, items): of the events that count, and of all; the larger the
    catalogue, the fewer at a time."""
    log = split.log
    batch = min(MOST_ROWS, rows_at_a_time(len(preprocessing.items)))
    place = preprocessing.catalogue_numbers(log.item_ids)
    for start in range(0, len(split), batch):
        part = slice(start, min(start + batch, len(split)))
        lengths = (split.knowns - split.begins)[part]
        rows = np.repeat(np.arange(len(lengths)), lengths)
        age = np.concatenate([np.arange(length)[::-1] for length in lengths])
        events = np.repeat(split.knowns[part], lengths) - 1 - age
        items = place[log.items[events]]
        weight = np.ones(len(events)) if half_life is None else 0.5 ** (age / half_life)
        shape = (len(lengths), len(preprocessing.items))
        yield tuple(
            sparse.csr_matrix((weight[good], (rows[good], items[good])), shape=shape)
            for good in ((items >= 0) & (log.weights[events] > 0), items >= 0)
        )
