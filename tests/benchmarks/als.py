"""The peer of the recommender: alternating least squares of ``implicit``, tuned on validation.

    python als.py FILE

Takes a table with the columns user, item and timestamp. The last item of each user with three and
more is held out for the test, the one before for validation; all items are ranked but those that
the user had. Prints NDCG@10 and recall@20 as JSON.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import bm25_weight
from imports import read
from scipy import sparse

FACTORS = (32, 64, 128)
REGULARIZATION = (0.01, 0.1, 1.0)
WEIGHT = (1.0, 4.0, 16.0)  # of what was had, against what was not
BM25 = (True, False)


def main() -> None:
    had = read(Path(sys.argv[1]))
    names = dict.fromkeys(itertools.chain.from_iterable(had.values()))
    place = {name: number for number, name in enumerate(names)}
    rows = [[place[item] for item in items] for items in had.values()]
    train = [row[:-2] if len(row) >= 3 else row for row in rows]
    asked = np.array([i for i, row in enumerate(rows) if len(row) >= 3])

    def matrix(histories: list[list[int]]) -> sparse.csr_matrix:
        lengths = [len(history) for history in histories]
        user = np.repeat(np.arange(len(histories)), lengths)
        item = np.array(list(itertools.chain.from_iterable(histories)))
        return sparse.csr_matrix(
            (np.ones(len(item), "float32"), (user, item)), shape=(len(rows), len(place))
        )

    def reached(model, known: sparse.csr_matrix, targets: np.ndarray) -> tuple[float, float]:
        found, _ = model.recommend(
            asked, known[asked], N=20, filter_already_liked_items=True, recalculate_user=True
        )
        hits = found == targets[:, None]
        gain = (hits[:, :10] / np.log2(np.arange(2, 12))).sum(axis=1)
        return float(gain.mean()), float(hits.any(axis=1).mean())

    def weighted(known: sparse.csr_matrix, bm25: bool, weight: float) -> sparse.csr_matrix:
        return ((bm25_weight(known) if bm25 else known) * weight).tocsr().astype("float32")

    learnt = matrix(train)
    before = np.array([rows[i][-2] for i in asked])
    last = np.array([rows[i][-1] for i in asked])
    known = matrix([row[:-1] if len(row) >= 3 else row for row in rows])
    best = None
    for factors, ridge, weight, bm25 in itertools.product(FACTORS, REGULARIZATION, WEIGHT, BM25):
        model = AlternatingLeastSquares(
            factors=factors, regularization=ridge, random_state=0, num_threads=2
        )
        model.fit(weighted(learnt, bm25, weight), show_progress=False)
        ndcg, _ = reached(model, weighted(learnt, bm25, weight), before)
        if best is None or ndcg > best[0]:
            best = ndcg, model, bm25, weight
            chosen = {"factors": factors, "regularization": ridge, "weight": weight, "bm25": bm25}
    _, model, bm25, weight = best
    ndcg, recall = reached(model, weighted(known, bm25, weight), last)
    print(json.dumps({"ndcg_at_10": ndcg, "recall_at_20": recall, "chosen": chosen}))


if __name__ == "__main__":
    main()
