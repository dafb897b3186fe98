"""Closed-form recommenders: item-based nearest neighbours and EASE."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse

from ..data import Histories
from ..preprocessing import Preprocessing
from ..ranking import MAX_RECOMMENDATIONS, rows_at_once, top_k, user_metrics

MAX_EASE_ITEMS = 6_000  # EASE inverts a dense matrix (items, items)
PAIRS_AT_ONCE = 2**24  # pairs of interactions from which neighbours are counted at a time
MAX_ROWS = 512  # histories scored at a time
HALF_LIFE = 5.0  # in interactions: the recency-weighted variants halve the weight every five
RIDGE_GRID = (30.0, 100.0, 300.0, 1000.0)  # strengths of EASE's L2 regularisation to try
Scores = Callable[[sparse.csr_matrix], np.ndarray]  # weighted histories -> scores (batch, items)


def popularity(counts: tuple[int, ...]) -> np.ndarray:
    """Return the share (items,) of each item in the interactions, smoothed so that none is 0."""
    smooth = np.array(counts, "float64") + 0.1
    return smooth / smooth.sum()


def build_matrix(train: Histories, preprocessing: Preprocessing) -> sparse.csr_matrix:
    """Build the binary matrix of positive training interactions.

    Args:
        train: the training split.
        preprocessing: its catalogue has the columns' order.

    Returns:
        (users, items) float64, 1 where there is any interaction.
    """
    log, positions = train.interactions, train.target_positions
    item = preprocessing.catalogue_indices(log.item_ids)[log.items[positions]]
    mask = (log.weights[positions] > 0) & (item >= 0)
    matrix = sparse.csr_matrix(
        (np.ones(mask.sum()), (log.users[positions[mask]], item[mask])),
        shape=(len(log.user_ids), len(preprocessing.items)),
    )
    matrix.data[:] = 1  # repeats were summed
    return matrix


def score_by(weights: np.ndarray) -> Scores:
    """Return a function that scores histories by item weights (items, items)."""
    return lambda history: history @ weights


def fit_ease(matrix: sparse.csr_matrix, ridge: float) -> np.ndarray:
    """Fit the item weights (items, items) of EASE: Steck, WWW 2019.

    Args:
        matrix: (users, items) interactions.
        ridge: strength of the L2 regularisation.
    """
    gram = (matrix.T @ matrix).toarray()
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0
    return weights.astype("float32")


def tune_ease(
    matrix: sparse.csr_matrix,
    validation: Histories,
    preprocessing: Preprocessing,
    half_life: float | None,
) -> np.ndarray:
    """Fit EASE with the regularisation that has the best NDCG@10 on the validation split.

    Args:
        matrix: (users, items) training interactions.
        half_life: see ``recommend``.
    """

    def validation_ndcg(weights: np.ndarray) -> float:
        outputs = recommend(validation, preprocessing, score_by(weights), half_life)
        return user_metrics(validation.targets, outputs, preprocessing)["ndcg_at_10"].mean()

    return max((fit_ease(matrix, ridge) for ridge in RIDGE_GRID), key=validation_ndcg)


def fit_item_knn(
    matrix: sparse.csr_matrix, k: int = 100, shrinkage: float = 10.0
) -> sparse.csr_matrix:
    """Compute cosine similarities (items, items), those to the ``k`` nearest items of each.

    scikit-learn's nearest neighbours have no shrinkage, without which rare items come out on top.

    Args:
        matrix: (users, items) interactions.
        shrinkage: added to the denominator, to damp similarities from few interactions.
    """
    norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
    by_item = matrix.T.tocsr()
    # All pairs of a large catalogue would fill the memory: count some rows, keep the nearest.
    pairs = np.cumsum(by_item @ np.asarray(matrix.sum(axis=1)).ravel())
    borders = np.flatnonzero(np.diff(pairs // PAIRS_AT_ONCE)) + 1
    ends = [*borders.tolist(), len(norms)]
    return sparse.vstack(
        [
            _fit_item_knn_rows(by_item, matrix, slice(start, end), norms, k, shrinkage)
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ],
        format="csr",
    )


def _fit_item_knn_rows(
    by_item: sparse.csr_matrix,
    matrix: sparse.csr_matrix,
    items: slice,
    norms: np.ndarray,
    k: int,
    shrinkage: float,
) -> sparse.csr_matrix:
    """Compute some rows (rows, items) of ``fit_item_knn``.

    Args:
        by_item: (items, users) the transposed matrix.
        norms: (items,) norm of each item's column.
    """
    together = (by_item[items] @ matrix).tocoo()
    row, column = together.row + items.start, together.col
    others = row != column
    similarity = together.data[others] / (norms[row] * norms[column] + shrinkage)[others]
    cells = (together.row[others], column[others])
    nearest = sparse.csr_matrix((similarity, cells), shape=together.shape)
    for number in range(nearest.shape[0]):
        part = slice(nearest.indptr[number], nearest.indptr[number + 1])
        if part.stop - part.start > k:
            least = np.partition(nearest.data[part], -k)[-k]
            nearest.data[part] = np.where(nearest.data[part] >= least, nearest.data[part], 0)
    nearest.eliminate_zeros()
    return nearest


def recommend(
    split: Histories,
    preprocessing: Preprocessing,
    scores: Scores,
    half_life: float | None = None,
) -> np.ndarray:
    """Recommend to the users of a split.

    Args:
        scores: scores the catalogue for weighted histories.
        half_life: interactions after which the weight in a history halves; None: all weigh 1.

    Returns:
        (size, 100, 2) recommendations, see ``ranking.top_k``.
    """
    outputs = []
    for positive, history in weigh_histories(split, preprocessing, half_life):
        batch = scores(positive)
        if preprocessing.exclude_seen:
            batch[history.nonzero()] = -np.inf
        outputs.append(top_k(batch, MAX_RECOMMENDATIONS))
    return np.concatenate(outputs)


def weigh_histories(
    split: Histories, preprocessing: Preprocessing, half_life: float | None
) -> Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix]]:
    """Yield histories in batches, the smaller the larger the catalogue.

    Args:
        half_life: see ``recommend``.

    Yields:
        Weighted histories (batch, items) of the positive interactions, and of all.
    """
    log = split.interactions
    batch = min(MAX_ROWS, rows_at_once(len(preprocessing.items)))
    index = preprocessing.catalogue_indices(log.item_ids)
    for start in range(0, len(split), batch):
        part = slice(start, min(start + batch, len(split)))
        lengths = (split.target_starts - split.history_starts)[part]
        rows = np.repeat(np.arange(len(lengths)), lengths)
        age = np.concatenate([np.arange(length)[::-1] for length in lengths])  # 0: the newest
        positions = np.repeat(split.target_starts[part], lengths) - 1 - age
        items = index[log.items[positions]]
        weight = np.ones(len(positions)) if half_life is None else 0.5 ** (age / half_life)
        shape = (len(lengths), len(preprocessing.items))
        known = items >= 0  # in the catalogue
        positive, every = (
            sparse.csr_matrix((weight[mask], (rows[mask], items[mask])), shape=shape)
            for mask in (known & (log.weights[positions] > 0), known)
        )
        yield positive, every
