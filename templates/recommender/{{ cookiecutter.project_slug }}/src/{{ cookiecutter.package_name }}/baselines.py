"""What a model must beat: popularity, neighbours of items, and EASE."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse

from . import linear
from .config import Config
from .contract import Data
from .data import Histories
from .objective import MOST, best
from .preprocessing import Preprocessing
from .report import baseline_row

Scores = Callable[[sparse.csr_matrix], np.ndarray]  # of weighted histories (batch, items)


def measure(data: Data, preprocessing: Preprocessing, config: Config) -> list[dict[str, Any]]:
    """Each baseline's name and test metrics."""
    items = {name: place for place, name in enumerate(preprocessing.items)}
    test = data.test

    def row(name: str, scores: Scores, half_life: float | None = None) -> dict[str, Any]:
        outputs = np.concatenate(
            list(_recommended(test, items, scores, half_life, preprocessing.unseen_only))
        )
        return baseline_row(name, test, outputs, preprocessing)

    counts, recent = (
        np.array(part, float) for part in (preprocessing.counts, preprocessing.recent)
    )
    rows = [
        row("popularity", lambda had: np.tile(counts, (had.shape[0], 1))),
        row("recent popularity", lambda had: np.tile(recent, (had.shape[0], 1))),
    ]
    known = linear.matrix(data.train, items)
    nearest = linear.neighbours(known)
    rows.append(row("item-kNN", lambda had: (had @ nearest).toarray()))
    if len(items) <= linear.MOST_ITEMS:
        for name, half_life in (("EASE", None), ("EASE, fading", linear.HALF_LIFE)):
            tried = []
            for ridge in linear.RIDGE:
                weights = linear.ease(known, ridge)
                reached = linear.ndcg(weights, data.validation, items, half_life)
                tried.append((reached, weights))
            weights = max(tried, key=lambda pair: pair[0])[1]
            rows.append(row(name, lambda had, weights=weights: had @ weights, half_life))
    return rows


def _recommended(
    split: Histories,
    items: dict[str, int],
    scores: Scores,
    half_life: float | None,
    unseen_only: bool,
) -> Iterator[np.ndarray]:
    for (_, weighted), (_, had) in zip(
        linear.histories(split, items, half_life),
        linear.histories(split, items, None, liked_alone=False),
        strict=True,
    ):
        found = scores(weighted)
        if unseen_only:
            found[had.nonzero()] = -np.inf
        yield best(found, MOST)
