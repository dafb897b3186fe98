"""Labels that may be wrong: those that a simple model, which has not seen them, contradicts.

Confident learning (Northcutt, Jiang & Chuang, JAIR 70, 2021): out-of-fold probabilities are
compared with the mean confidence of each class, so that a class that is hard as a whole is not
suspected.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
MIN_MARGIN = 0.5  # by which another class must be likelier than the given one
MAX_ITERATIONS = 300
# Examples x features x classes x iterations x folds: about a minute. Beyond it, fewer iterations.
MAX_OPERATIONS = 40_000_000_000


@dataclass(frozen=True)
class Suspect:
    """An example whose label may be wrong.

    Attributes:
        position: of the example.
        label: the given class.
        likelier: the class that the model finds likelier.
        probability: of that class.
    """

    position: int
    label: str
    likelier: str
    probability: float


def find_suspects(inputs: Any, labels: np.ndarray, seed: int = 0) -> list[Suspect]:
    """Return the examples that a logistic regression contradicts, the most confident first.

    Args:
        inputs: (size, features) an array or a sparse matrix.
        labels: (size,) names of classes; classes with fewer examples than folds are left out. Of
            several labels, each combination is a class.
        seed: of the folds.
    """
    names, counts = np.unique(labels, return_counts=True)
    kept = np.flatnonzero(np.isin(labels, names[counts >= FOLDS]))
    classes, truth = np.unique(labels[kept], return_inverse=True)
    if len(classes) < 2:
        return []
    features = inputs.nnz // max(inputs.shape[0], 1) if issparse(inputs) else inputs.shape[1]
    iterations = MAX_OPERATIONS // max(len(kept) * features * len(classes) * FOLDS, 1)
    iterations = max(5, min(MAX_ITERATIONS, iterations))
    model = make_pipeline(
        StandardScaler(with_mean=False), LogisticRegression(C=0.1, max_iter=iterations)
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A model that was stopped early still contradicts the right ones.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_predict(model, inputs[kept], truth, cv=folds, method="predict_proba")
    own = scores[np.arange(len(truth)), truth]
    usual = np.array([own[truth == number].mean() for number in range(len(classes))])
    likely = np.where(scores >= usual, scores, 0.0)
    other = likely.argmax(axis=1)
    best = likely[np.arange(len(truth)), other]
    wrong = np.flatnonzero((other != truth) & (best - own >= MIN_MARGIN))
    order = wrong[np.argsort(own[wrong] - best[wrong], kind="stable")]
    return [
        Suspect(int(kept[i]), str(classes[truth[i]]), str(classes[other[i]]), float(best[i]))
        for i in order
    ]
