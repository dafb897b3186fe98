"""A logistic regression with curves and pairs of inputs, fitted exactly: where networks begin.

Its weights have normal priors around zero, one precision for each group: the inputs themselves, the
curves, the pairs. The precisions maximise the evidence of the training rows (MacKay, Neural
Computation 1992). Whether curves and pairs are worth having is decided by cross-validation.
"""

from collections.abc import Iterable
from itertools import combinations, product

import numpy as np
from scipy.special import expit, logit
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from .layers import Terms

FOLDS = 5
FEW = 20_000  # rows at most from which precisions and terms are chosen; all give the weights
MOST_ROWS = 200_000  # rows at most that give the weights: more would change nothing
MOST_INPUTS = 300  # beyond, Newton's method takes too long for what it gains
MOST_TERMS = 400  # of all curves
MOST_PAIRS = 300
ROWS_PER_PAIR = 20  # fewer make weights uncertain (Harrell, Regression Modeling Strategies)
# What a group of terms must gain in log-likelihood of held-out patients, in nats: on a few hundred
# of them, a smaller gain is as often noise.
PRICE = 2.0
PRECISIONS = (0.1, 1e4)  # beyond the upper one, a group is left out
ROUNDS, STEPS = 20, 30  # of the evidence, of Newton's method


def fit(
    inputs: np.ndarray,
    truth: np.ndarray,
    patients: np.ndarray,
    columns: tuple[str, ...],
    borders: tuple[tuple[float, ...], ...],
) -> tuple[Terms, np.ndarray] | None:
    """The terms that predict other patients best, and their weights (terms + 1,), the last being
    the intercept; None where there are too few patients or too many inputs to tell.

    Args:
        inputs: (size, width) of the training split.
        truth: (size,) 1 where the outcome is yes.
        patients: (size,) names or numbers; a patient is in one fold.
        columns: (width,) the column that each input comes from.
        borders: of the pieces of each number's range, the first inputs; rising.
    """
    few = min(len(np.unique(patients[truth == value])) for value in (0, 1)) < FOLDS
    if few or inputs.shape[1] > MOST_INPUTS:
        return None
    usual = inputs.mean(axis=0)
    some = _sample(len(inputs), FEW)
    known, outcome = inputs[some], truth[some].astype("float64")
    made = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    folds = list(made.split(known, outcome, patients[some]))
    knots = tuple(row[1:-1] for row in borders)
    if sum(map(len, knots)) > MOST_TERMS:
        knots = ()
    with threadpool_limits(1 if len(inputs) <= FEW else None):
        pairs = _pairs(columns, len(inputs))
        candidates = [
            Terms(curves, products, usual)
            for curves, products in product(_or_none(knots), _or_none(pairs))
        ]
        tried = [(terms, *_try(terms, known, outcome, folds)) for terms in candidates]
        terms, _, precision = min(tried, key=lambda row: row[1])
        many = _sample(len(inputs), MOST_ROWS)
        weights = _newton(_design(terms, inputs[many]), truth[many].astype("float64"), precision)
    return terms, weights


def _or_none(terms: tuple) -> tuple[tuple, ...]:
    return ((), terms) if any(terms) else ((),)


def _sample(size: int, most: int) -> np.ndarray:
    """Positions of all rows, or of some drawn at random."""
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, most, replace=False))


def _design(terms: Terms, inputs: np.ndarray) -> np.ndarray:
    """What the logits are made of (size, terms + 1), a column of ones last."""
    features = np.asarray(terms(inputs), "float64")
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _try(
    terms: Terms, inputs: np.ndarray, truth: np.ndarray, folds: Iterable
) -> tuple[float, np.ndarray]:
    """The price of terms less the log-likelihood of held-out rows, and precisions (terms + 1,)."""
    design = _design(terms, inputs)
    weights, precision = _evidence(design, truth, terms.groups)
    price = PRICE * (len(set(terms.groups)) - 1)
    for seen, held_out in folds:
        found = _newton(design[seen], truth[seen], precision, weights)
        price += _surprise(design[held_out] @ found, truth[held_out])
    return price, precision


def _pairs(columns: tuple[str, ...], rows: int) -> tuple[tuple[int, int], ...]:
    """All pairs of inputs of different columns; none where there are too many for so many rows.

    The strongest are not picked: picked by the rows that judge them, they look good by chance.
    """
    pairs = [pair for pair in combinations(range(len(columns)), 2) if _differ(columns, pair)]
    return tuple(pairs) if len(pairs) <= min(rows // ROWS_PER_PAIR, MOST_PAIRS) else ()


def _differ(columns: tuple[str, ...], pair: tuple[int, int]) -> bool:
    return columns[pair[0]] != columns[pair[1]]


def _evidence(
    design: np.ndarray, truth: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and their precisions (terms + 1,), that of the intercept being 0.

    Args:
        groups: (terms,) numbers from 0 on; terms of a group share a precision.
    """
    members = np.arange(groups.max() + 1)[:, None] == groups  # (groups, terms)
    shared = np.full(len(members), 10.0)
    weights = None
    for _ in range(ROUNDS):
        precision = np.append(shared[groups], 0.0)
        weights = _newton(design, truth, precision, weights)
        risk = expit(design @ weights)
        curvature = _curvature(design, risk, precision)
        variance = np.diag(np.linalg.inv(curvature))[:-1]
        # How many weights of each group the rows determine, and not the prior.
        determined = members.sum(axis=1) - shared * (members @ variance)
        sizes = members @ weights[:-1] ** 2
        before, shared = shared, np.clip(determined / (sizes + 1e-12), *PRECISIONS)
        if np.abs(np.log(shared / before)).max() < 0.05:
            break
    precision = np.append(shared[groups], 0.0)
    return _newton(design, truth, precision, weights), precision


def _newton(
    design: np.ndarray, truth: np.ndarray, precision: np.ndarray, begin: np.ndarray | None = None
) -> np.ndarray:
    """The likeliest weights (terms + 1,) given the rows and the priors."""

    def cost(at: np.ndarray) -> float:
        return _surprise(design @ at, truth) + (precision * at**2).sum() / 2

    weights = begin
    if weights is None:
        weights = np.append(np.zeros(design.shape[1] - 1), logit(truth.mean()))
    now = cost(weights)
    for _ in range(STEPS):
        risk = expit(design @ weights)
        slope = design.T @ (truth - risk) - precision * weights
        step = np.linalg.solve(_curvature(design, risk, precision), slope)
        while (then := cost(weights + step)) > now and np.abs(step).max() > 1e-9:
            step = step / 2
        weights, gain, now = weights + step, now - then, then
        if gain < 1e-5:
            break
    return weights


def _curvature(design: np.ndarray, risk: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Of the cost (terms + 1, terms + 1); never singular."""
    return (design.T * (risk * (1 - risk))) @ design + np.diag(precision + 1e-8)


def _surprise(logits: np.ndarray, truth: np.ndarray) -> float:
    """The sum of cross-entropies, in nats."""
    return float((np.logaddexp(0, logits) - truth * logits).sum())
