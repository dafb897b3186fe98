"""Clinical metrics, calibration and operating points: pure functions of outcomes and risks.

Everywhere ``truth`` (size,) is 1 where the outcome happened, else 0, and ``risk`` (size,) is in
[0, 1]. Rows whose risk is at or above a threshold are flagged. Metrics that are undefined for the
given rows are missing from the result.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from ..engine.bootstrap import resample
from ..engine.errors import DataProblem

EPSILON = 1e-6  # risks are clipped to this distance from 0 and 1 before their logarithm is taken
NUM_BINS = 10  # of equal width, for the calibration error
MAX_COEFFICIENT = 100.0  # a larger one means that the outcomes are separated
MAX_STEPS = 100  # of Newton's method
PRIOR_STD = 0.1  # standard deviation of the priors of Platt's slope and intercept
MIN_SLOPE = 0.05  # a lower slope would lose the order of the risks


def discrimination(truth: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Compute AUROC and AUPRC.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].

    Returns:
        ``auroc``, the area under the ROC curve (Hanley & McNeil, Radiology 143, 1982), and
        ``auprc``, the average precision; empty unless both outcomes occur.
    """
    if not _has_both_outcomes(truth):
        return {}
    metrics = weighted_metrics(truth, risk, np.ones((1, len(truth))))
    return {name: float(metrics[name][0]) for name in ("auroc", "auprc")}


def threshold_metrics(truth: np.ndarray, risk: np.ndarray, threshold: float) -> dict[str, float]:
    """Compute the metrics of decisions at a threshold.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].
        threshold: rows with a risk of at least this are flagged.

    Returns:
        ``sensitivity``, ``specificity``, ``ppv``, ``npv`` and ``flag_rate``, the share of rows that
        are flagged; those with a denominator of zero are missing.
    """
    is_event, is_flagged = truth > 0, risk >= threshold
    ratios = {
        "sensitivity": (is_event & is_flagged, is_event),
        "specificity": (~is_event & ~is_flagged, ~is_event),
        "ppv": (is_event & is_flagged, is_flagged),
        "npv": (~is_event & ~is_flagged, ~is_flagged),
        "flag_rate": (is_flagged, np.ones(len(is_event), bool)),
    }
    return {name: float(a.sum() / b.sum()) for name, (a, b) in ratios.items() if b.any()}


def calibration(truth: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Compute how well risks agree with the frequency of the outcome.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].

    Returns:
        ``brier``: mean squared error (Brier, 1950).
        ``ece``: expected calibration error, the distance between mean risk and event rate in 10
        bins of equal width, weighted by their rows (Naeini et al., AAAI 2015).
        ``calibration_slope``: slope of a logistic regression of the outcome on the logit of the
        risk (Cox, Biometrika 45, 1958).
        ``calibration_intercept``: its intercept with the slope fixed at 1 (calibration in the
        large). Both are missing where the regression has no finite solution.
        ``loss``: mean cross-entropy in nats.
    """
    if not len(truth):
        return {}
    logits = logit(clip_risk(risk))
    metrics = {"brier": float(np.mean((risk - truth) ** 2)), "ece": _calibration_error(truth, risk)}
    ones = np.ones(len(truth))
    line = _fit_logistic(np.stack([ones, logits], axis=1), truth)
    if line is not None:
        metrics["calibration_slope"] = float(line[1])
    shift = _fit_logistic(ones[:, None], truth, offset=logits)
    if shift is not None:
        metrics["calibration_intercept"] = float(shift[0])
    return metrics | {"loss": float(_cross_entropy(logits, truth).mean())}


def net_benefit(truth: np.ndarray, risk: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Compute the net benefit of treating the flagged patients (Vickers & Elkin, 2006).

    It is the number of hits minus that of false alarms times the odds of the threshold, per row.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].
        thresholds: (thresholds,) in [0, 1).

    Returns:
        Net benefit (thresholds,).
    """
    hits, alarms = _count_flagged(truth, risk, thresholds)
    return (hits - alarms * thresholds / (1 - thresholds)) / len(truth)


def net_benefit_treat_all(truth: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Compute the net benefit of treating everybody; that of treating nobody is 0.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        thresholds: (thresholds,) in [0, 1).
    """
    return net_benefit(truth, np.ones(len(truth)), thresholds)


def bootstrap_intervals(
    truth: np.ndarray,
    risk: np.ndarray,
    patients: np.ndarray,
    names: Sequence[str] = ("auroc", "auprc", "brier"),
    num_draws: int = 500,
    seed: int = 0,
) -> dict[str, float]:
    """Compute 95 % percentile intervals by resampling patients (Efron & Tibshirani, 1993).

    Rows of a patient are correlated: resampling rows would give intervals that are too narrow.
    Draws with a single outcome are skipped.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].
        patients: (size,) the patient of each row; each '' is a patient of its own.
        names: metrics among ``auroc``, ``auprc`` and ``brier``.
        num_draws: number of bootstrap samples.
        seed: of the random generator.

    Returns:
        ``NAME_low`` and ``NAME_high`` of each metric.
    """
    if not _has_both_outcomes(truth):
        return {}
    parts = [
        weighted_metrics(truth, risk, weights)
        for weights in resample(len(truth), patients, num_draws, seed)
    ]
    intervals: dict[str, float] = {}
    for name in names:
        values = np.concatenate([part[name] for part in parts])
        if not np.isnan(values).all():
            low, high = np.nanquantile(values, [0.025, 0.975])
            intervals |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return intervals


def weighted_metrics(
    truth: np.ndarray, risk: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute AUROC, average precision and Brier score for many sets of row weights.

    scikit-learn's functions would sort the rows once for each draw; this sorts them once.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].
        weights: (draws, size) how often each row counts.

    Returns:
        ``auroc``, ``auprc`` and ``brier``, each (draws,); NaN for draws with a single outcome.
    """
    order = np.argsort(risk, kind="stable")
    starts = np.flatnonzero(np.diff(risk[order], prepend=-1.0))  # of runs of equal risks
    weights, is_event = weights[:, order].astype("float64"), truth[order] > 0
    events = np.add.reduceat(weights * is_event, starts, axis=1)  # (draws, distinct risks)
    others = np.add.reduceat(weights * ~is_event, starts, axis=1)
    errors = weights @ (risk[order] - is_event) ** 2 / np.maximum(weights.sum(axis=1), 1)
    num_events, num_others = events.sum(axis=1), others.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = np.cumsum(others, axis=1) - others / 2  # ties count half
        auroc = (events * ranks).sum(axis=1) / (num_events * num_others)
        hits = np.cumsum(events[:, ::-1], axis=1)
        precision = hits / np.cumsum((events + others)[:, ::-1], axis=1)
        auprc = (events[:, ::-1] * np.nan_to_num(precision)).sum(axis=1) / num_events
    is_single = (num_events == 0) | (num_others == 0)
    values = {"auroc": auroc, "auprc": auprc, "brier": errors}
    return {name: np.where(is_single, np.nan, value) for name, value in values.items()}


def fit_platt(
    truth: np.ndarray, logits: np.ndarray, shift: float = 0.0, prior_std: float = PRIOR_STD
) -> tuple[float, float]:
    """Fit a slope and an intercept that calibrate logits (Platt, 1999).

    Validation splits are small, so both have a normal prior, the slope around 1. The slope is at
    least ``MIN_SLOPE``, so that the order of the risks stays.

    Args:
        truth: (size,) outcomes of the validation split.
        logits: (size,) of the validation split.
        shift: mean of the intercept's prior.
        prior_std: standard deviation of both priors.

    Returns:
        Slope and intercept; 1 and 0 if the fit does not converge.
    """
    logits = np.asarray(logits, dtype="float64")
    design = np.stack([np.ones(len(logits)), logits], axis=1)
    mean, precision = np.array([shift, 1.0]), np.full(2, prior_std**-2)
    line = _fit_logistic(design, truth, mean=mean, precision=precision)
    if line is not None and line[1] < MIN_SLOPE:
        offset = MIN_SLOPE * logits
        intercept = _fit_logistic(design[:, :1], truth, offset, mean[:1], precision[:1])
        line = None if intercept is None else np.array([intercept[0], MIN_SLOPE])
    return (1.0, 0.0) if line is None else (float(line[1]), float(line[0]))


def fit_isotonic(truth: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit an increasing curve from logits to risks (Zadrozny & Elkan, KDD 2002).

    Between knots the logit of the risk is linear; outside it is that of the nearest knot. No risk
    is nearer to 0 or 1 than half a row of the validation split.

    Args:
        truth: (size,) outcomes of the validation split.
        logits: (size,) of the validation split.

    Returns:
        Logits, increasing, and risks of the knots, each (knots,) float32; a single knot if all
        logits are equal.
    """
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(out_of_bounds="clip").fit(
        np.asarray(logits, dtype="float32"), np.asarray(truth, dtype="float32")
    )
    margin = 1 / (2 * len(truth))
    y = np.clip(curve.y_thresholds_, margin, 1 - margin).astype("float32")
    changes = np.append(True, y[1:] != y[:-1])
    is_knot = changes | np.append(changes[1:], True)  # both ends of each plateau
    return curve.X_thresholds_.astype("float32")[is_knot], y[is_knot]


def choose_operating_point(
    truth: np.ndarray, risk: np.ndarray, min_sensitivity: float, cost_ratio: float | None = None
) -> float:
    """Choose the threshold from which patients are flagged, on the validation split.

    Candidates are the midpoints between neighbouring risks, so that tiny numerical differences
    between machines flip no decision. Of equally good thresholds the lowest is chosen.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        risk: (size,) in [0, 1].
        min_sensitivity: the threshold has the fewest false alarms among those that reach it.
        cost_ratio: cost of a missed patient in false alarms; if set, the threshold has the lowest
            cost instead.

    Raises:
        DataProblem: no row has the outcome.
    """
    num_events = truth.sum()
    if not num_events:
        raise DataProblem(
            "the validation split has no row with the outcome, so no operating point can be chosen."
        )
    risks = np.unique(risk)
    ends = [1.0] if risks[-1] < 1 else []  # a threshold above the highest risk flags nobody
    edges = np.concatenate([[0.0], risks, ends])
    thresholds = (edges[:-1] + edges[1:]) / 2
    hits, alarms = _count_flagged(truth, risk, thresholds)
    if cost_ratio is not None:
        return float(thresholds[np.argmin(alarms + cost_ratio * (num_events - hits))])
    is_sensitive = hits / num_events >= min_sensitivity - 1e-12
    return float(thresholds[np.argmin(np.where(is_sensitive, alarms, np.inf))])


def clip_risk(risk: np.ndarray) -> np.ndarray:
    """Clip risks (size,) so that their logits are finite."""
    return np.clip(risk, EPSILON, 1 - EPSILON)


def _has_both_outcomes(truth: np.ndarray) -> bool:
    return 0 < int(np.count_nonzero(truth)) < len(truth)


def _count_flagged(
    truth: np.ndarray, risk: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count hits and false alarms (thresholds,) at each threshold."""
    events, others = np.sort(risk[truth > 0]), np.sort(risk[truth <= 0])
    hits = len(events) - np.searchsorted(events, thresholds)
    alarms = len(others) - np.searchsorted(others, thresholds)
    return hits, alarms


def _calibration_error(truth: np.ndarray, risk: np.ndarray) -> float:
    bins = np.minimum((risk * NUM_BINS).astype(int), NUM_BINS - 1)
    differences = np.bincount(bins, risk - truth, minlength=NUM_BINS)
    return float(np.abs(differences).sum() / len(truth))


def _cross_entropy(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the cross-entropy (size,) in nats."""
    return np.logaddexp(0, logits) - truth * logits


def _fit_logistic(
    design: np.ndarray,
    truth: np.ndarray,
    offset: np.ndarray | float = 0.0,
    mean: np.ndarray | float = 0.0,
    precision: np.ndarray | float = 0.0,
) -> np.ndarray | None:
    """Fit a logistic regression by Newton's method.

    ``sklearn.linear_model.LogisticRegression`` has neither offsets nor priors around other values
    than zero, and does not report separated outcomes.

    Args:
        design: (size, terms).
        truth: (size,) 1 where the outcome happened, else 0.
        offset: (size,) a fixed part of the logits.
        mean: (terms,) of the normal priors.
        precision: (terms,) of the normal priors; 0 for none.

    Returns:
        Coefficients (terms,), or None without a finite, unique solution, as with separated
        outcomes.
    """
    precision = np.broadcast_to(np.asarray(precision, "float64"), design.shape[1:])

    def cost(at: np.ndarray) -> float:
        prior = (precision * (at - mean) ** 2).sum() / 2
        return float(_cross_entropy(offset + design @ at, truth).sum() + prior)

    coefficients = np.zeros(design.shape[1]) + mean
    for _ in range(MAX_STEPS):
        risk = expit(offset + design @ coefficients)
        gradient = design.T @ (truth - risk) - precision * (coefficients - mean)
        hessian = (design.T * (risk * (1 - risk))) @ design + np.diag(precision)
        if not np.linalg.cond(hessian) < 1e12:
            return None
        step = np.clip(np.linalg.solve(hessian, gradient), -5, 5)
        while cost(coefficients + step) > cost(coefficients) and np.abs(step).max() > 1e-9:
            step = step / 2
        coefficients = coefficients + step
        if np.abs(coefficients).max() > MAX_COEFFICIENT:
            return None
        if np.abs(step).max() < 1e-8:
            return coefficients
    return None
