"""Fit a logistic regression with curves and pairs of inputs, from which networks start.

Its weights have zero-mean normal priors with one precision for each group of terms: inputs, curves,
pairs. The precisions maximize the evidence of the training rows (MacKay, "The evidence framework
applied to classification networks", Neural Computation 4(5), 1992). Cross-validation decides
whether curves and pairs are used.
"""

from collections.abc import Iterable
from itertools import combinations, product

import numpy as np
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from .layers import Terms

MAX_SELECTION_ROWS = 20_000  # rows that select precisions and terms
MAX_ROWS = 200_000  # rows that fit the weights: more would change nothing
MAX_INPUTS = 300  # with more, Newton's method takes too long for what it gains
MAX_CURVE_TERMS = 400
MAX_PAIRS = 300
ROWS_PER_PAIR = 20  # fewer make weights uncertain (Harrell, Regression Modeling Strategies)
# Log-likelihood of held-out patients, in nats, that a group of terms must gain: with a few hundred
# patients, a smaller gain is as often noise.
MIN_GAIN = 2.0
MIN_PRECISION, MAX_PRECISION = 0.1, 1e4  # the upper one shrinks a group to nothing
INITIAL_PRECISION = 10.0
MAX_EVIDENCE_STEPS, MAX_NEWTON_STEPS = 20, 30


def fit(
    inputs: np.ndarray,
    truth: np.ndarray,
    patients: np.ndarray,
    columns: tuple[str, ...],
    quantiles: tuple[tuple[float, ...], ...],
) -> tuple[Terms, np.ndarray] | None:
    """Select the terms that best predict held-out patients, and fit their weights to all rows.

    Args:
        inputs: (size, width) of the training split.
        truth: (size,) 1 where the outcome is yes, else 0.
        patients: (size,) identifiers; a patient is in one fold.
        columns: (width,) the column of each input; two inputs of one column are no pair.
        quantiles: of each number, increasing; numbers are the first inputs.

    Returns:
        The terms and their weights (terms + 1,), the intercept last; None with fewer than five
        patients of either outcome, or more than ``MAX_INPUTS`` inputs.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    from ..tuning import NUM_FOLDS, SINGLE_THREAD_ROWS

    fewest = min(len(np.unique(patients[truth == value])) for value in (0, 1))
    if fewest < NUM_FOLDS or inputs.shape[1] > MAX_INPUTS:
        return None
    means = inputs.mean(axis=0)
    sample = _sample(len(inputs), MAX_SELECTION_ROWS)
    some_inputs, some_truth = inputs[sample], truth[sample].astype("float64")
    k_fold = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=0)
    folds = list(k_fold.split(some_inputs, some_truth, patients[sample]))
    knots = tuple(row[1:-1] for row in quantiles)
    if sum(map(len, knots)) > MAX_CURVE_TERMS:
        knots = ()
    with threadpool_limits(1 if len(inputs) <= SINGLE_THREAD_ROWS else None):
        pairs = _pairs(columns, len(inputs))
        candidates = [
            Terms(some_knots, some_pairs, means)
            for some_knots, some_pairs in product(_options(knots), _options(pairs))
        ]
        scores = [_score(terms, some_inputs, some_truth, folds) for terms in candidates]
        best = min(range(len(candidates)), key=lambda i: scores[i][0])
        terms, (_, precision) = candidates[best], scores[best]
        rows = _sample(len(inputs), MAX_ROWS)
        design = _design_matrix(terms, inputs[rows])
        weights = _fit_weights(design, truth[rows].astype("float64"), precision)
    return terms, weights


def _options(terms: tuple) -> tuple[tuple, ...]:
    """Return no terms and these terms; only the former if these are empty."""
    return ((), terms) if any(terms) else ((),)


def _sample(size: int, limit: int) -> np.ndarray:
    """Return sorted positions of all rows, or of ``limit`` random ones."""
    if size <= limit:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, limit, replace=False))


def _design_matrix(terms: Terms, inputs: np.ndarray) -> np.ndarray:
    """Return the terms of inputs, and a last column of ones: (size, terms + 1) float64."""
    features = np.asarray(terms(inputs), "float64")
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _score(
    terms: Terms,
    inputs: np.ndarray,
    truth: np.ndarray,
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
) -> tuple[float, np.ndarray]:
    """Score terms by cross-validation.

    Returns:
        The cross-entropy of held-out rows in nats plus ``MIN_GAIN`` for each further group (lower
        is better), and precisions (terms + 1,).
    """
    design = _design_matrix(terms, inputs)
    weights, precision = _maximize_evidence(design, truth, terms.groups)
    score = MIN_GAIN * (len(set(terms.groups)) - 1)
    for train, held_out in folds:
        fold_weights = _fit_weights(design[train], truth[train], precision, weights)
        score += _cross_entropy(design[held_out] @ fold_weights, truth[held_out])
    return score, precision


def _pairs(columns: tuple[str, ...], rows: int) -> tuple[tuple[int, int], ...]:
    """Return all pairs of inputs of different columns, or none if the rows are too few for all.

    The strongest pairs are not selected: on the rows that select them, they look good by chance.
    """
    indices = range(len(columns))
    pairs = [(a, b) for a, b in combinations(indices, 2) if columns[a] != columns[b]]
    return tuple(pairs) if len(pairs) <= min(rows // ROWS_PER_PAIR, MAX_PAIRS) else ()


def _maximize_evidence(
    design: np.ndarray, truth: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the precision of each group of terms.

    Args:
        design: (size, terms + 1) see ``_design_matrix``.
        truth: (size,) 1 where the outcome is yes, else 0.
        groups: (terms,) group numbers from 0; terms of a group share a precision.

    Returns:
        Weights and precisions, each (terms + 1,); the intercept has precision 0.
    """
    is_member = np.arange(groups.max() + 1)[:, None] == groups  # (groups, terms)
    group_precision = np.full(len(is_member), INITIAL_PRECISION)
    weights = None
    for _ in range(MAX_EVIDENCE_STEPS):
        precision = np.append(group_precision[groups], 0.0)
        weights = _fit_weights(design, truth, precision, weights)
        hessian = _hessian(design, expit(design @ weights), precision)
        variance = np.diag(np.linalg.inv(hessian))[:-1]
        # MacKay's gamma: how many weights of a group the rows determine, rather than the prior.
        gamma = is_member.sum(axis=1) - group_precision * (is_member @ variance)
        squares = is_member @ weights[:-1] ** 2
        before = group_precision
        group_precision = np.clip(gamma / (squares + 1e-12), MIN_PRECISION, MAX_PRECISION)
        if np.abs(np.log(group_precision / before)).max() < 0.05:
            break
    precision = np.append(group_precision[groups], 0.0)
    return _fit_weights(design, truth, precision, weights), precision


def _fit_weights(
    design: np.ndarray, truth: np.ndarray, precision: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Fit the most probable weights (terms + 1,) by Newton's method.

    ``LogisticRegression(solver="newton-cholesky", tol=1e-8)`` on scaled features agrees to 3e-7,
    but takes twice as long, without a documented way to set ``start``.

    Args:
        design: (size, terms + 1) see ``_design_matrix``.
        truth: (size,) 1 where the outcome is yes, else 0.
        precision: (terms + 1,) of the normal priors.
        start: (terms + 1,) initial weights; None for zeros and the logit of the prevalence.
    """

    def cost(at: np.ndarray) -> float:
        return _cross_entropy(design @ at, truth) + float((precision * at**2).sum()) / 2

    weights = start
    if weights is None:
        weights = np.append(np.zeros(design.shape[1] - 1), logit(truth.mean()))
    current = cost(weights)
    for _ in range(MAX_NEWTON_STEPS):
        risk = expit(design @ weights)
        gradient = design.T @ (truth - risk) - precision * weights
        step = np.linalg.solve(_hessian(design, risk, precision), gradient)
        while (proposal := cost(weights + step)) > current and np.abs(step).max() > 1e-9:
            step = step / 2
        weights, gain, current = weights + step, current - proposal, proposal
        if gain < 1e-5:
            break
    return weights


def _hessian(design: np.ndarray, risk: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return the Hessian (terms + 1, terms + 1) of the cost; a constant keeps it regular."""
    return (design.T * (risk * (1 - risk))) @ design + np.diag(precision + 1e-8)


def _cross_entropy(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the sum of cross-entropies, in nats."""
    return float((np.logaddexp(0, logits) - truth * logits).sum())
