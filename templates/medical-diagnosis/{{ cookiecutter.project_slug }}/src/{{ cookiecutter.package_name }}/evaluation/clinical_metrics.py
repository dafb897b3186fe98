"""What is measured of risks, and how they are set right: pure functions of outcomes and risks.

Everywhere, ``truth`` (size,) is 1 where the outcome happened, else 0, and ``risk`` (size,) is in
[0, 1]. Rows whose risk is at or above a threshold are flagged. What cannot be computed is left out.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import expit, logit

from ..engine.errors import DataProblem

SMALLEST = 1e-6  # risks are this far from 0 and 1 before their logarithm is taken
BINS = 10  # of equal width, for the calibration error
AT_ONCE = 2_000_000  # weights that are held while rows are drawn anew
LARGEST = 100.0  # a coefficient beyond this means that the outcomes are separated
STEPS = 100  # of Newton's method
SPREAD = 0.1  # standard deviation of the priors of Platt's slope and intercept
LEAST_SLOPE = 0.05  # below it, the order of the risks would be lost


def discrimination(truth: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """How well risks tell who has the outcome; nothing unless both outcomes occur.

    ``auroc`` is the area under the ROC curve (Hanley & McNeil 1982), ``auprc`` the average
    precision.
    """
    if not _both(truth):
        return {}
    measured = weighted(truth, risk, np.ones((1, len(truth))))
    return {name: float(measured[name][0]) for name in ("auroc", "auprc")}


def at_threshold(truth: np.ndarray, risk: np.ndarray, threshold: float) -> dict[str, float]:
    """What a decision at a threshold comes to; ratios without a denominator are left out.

    ``flagged`` is the share of rows at or above the threshold.
    """
    event, flagged = truth > 0, risk >= threshold
    ratios = {
        "sensitivity": (event & flagged, event),
        "specificity": (~event & ~flagged, ~event),
        "ppv": (event & flagged, flagged),
        "npv": (~event & ~flagged, ~flagged),
        "flagged": (flagged, np.ones(len(event), bool)),
    }
    return {name: float(a.sum() / b.sum()) for name, (a, b) in ratios.items() if b.any()}


def calibration(truth: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Whether risks are as high as the outcome is frequent.

    ``brier`` is the mean squared error (Brier 1950), ``loss`` the mean cross-entropy in nats.
    ``ece`` is the mean distance, over 10 bins of the risk of equal width and weighted by their
    rows, between mean risk and share of events (Naeini et al. 2015). ``calibration_slope`` and
    ``calibration_intercept`` are those of a logistic regression of the outcome on the logit of the
    risk (Cox 1958), the intercept with the slope fixed at 1 (calibration in the large); they are
    left out where the regression has no finite solution.
    """
    if not len(truth):
        return {}
    logits = logit(clip_risk(risk))
    measured = {"brier": float(np.mean((risk - truth) ** 2)), "ece": _binned_error(truth, risk)}
    ones = np.ones(len(truth))
    both = _logistic(np.stack([ones, logits], axis=1), truth)
    if both is not None:
        measured["calibration_slope"] = float(both[1])
    alone = _logistic(ones[:, None], truth, offset=logits)
    if alone is not None:
        measured["calibration_intercept"] = float(alone[0])
    return measured | {"loss": float(_surprise(logits, truth).mean())}


def net_benefit(truth: np.ndarray, risk: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Net benefit (thresholds,) of treating those at or above each threshold.

    Hits minus false alarms, the latter weighted by the odds of the threshold, per row
    (Vickers & Elkin 2006).

    Args:
        thresholds: (thresholds,) in [0, 1).
    """
    hits, alarms = _flagged_counts(truth, risk, thresholds)
    return (hits - alarms * thresholds / (1 - thresholds)) / len(truth)


def net_benefit_of_all(truth: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Net benefit (thresholds,) of treating everybody; that of treating nobody is 0."""
    return net_benefit(truth, np.ones(len(truth)), thresholds)


def intervals(
    truth: np.ndarray,
    risk: np.ndarray,
    patients: np.ndarray,
    names: Sequence[str] = ("auroc", "auprc", "brier"),
    resampled: int = 500,
    seed: int = 0,
) -> dict[str, float]:
    """95 % percentile intervals when whole patients are drawn anew (Efron & Tibshirani 1993).

    Rows of one patient resemble each other: drawn one by one, they would promise too much. Draws
    that have one outcome alone are skipped.

    Args:
        patients: (size,) to whom each row belongs; '' is a patient of its own.
        names: metrics among ``auroc``, ``auprc`` and ``brier``.

    Returns:
        ``NAME_low`` and ``NAME_high`` of each.
    """
    if not _both(truth):
        return {}
    parts = [
        weighted(truth, risk, weights)
        for weights in _bootstrap_weights(
            patient_numbers(patients), resampled, np.random.default_rng(seed)
        )
    ]
    found = {}
    for name in names:
        values = np.concatenate([part[name] for part in parts])
        if not np.isnan(values).all():
            low, high = np.nanquantile(values, [0.025, 0.975])
            found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def weighted(truth: np.ndarray, risk: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC, average precision and Brier score (draws,) of weighted rows, by one sort for all.

    Args:
        weights: (draws, size) how often each row counts.

    Returns:
        NaN where a draw has one outcome alone.
    """
    order = np.argsort(risk, kind="stable")
    begins = np.flatnonzero(np.diff(risk[order], prepend=-1.0))  # rows of the same risk together
    weights, event = weights[:, order].astype("float64"), truth[order] > 0
    events = np.add.reduceat(weights * event, begins, axis=1)
    others = np.add.reduceat(weights * ~event, begins, axis=1)
    errors = weights @ (risk[order] - event) ** 2 / np.maximum(weights.sum(axis=1), 1)
    of_event, of_other = events.sum(axis=1), others.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.cumsum(others, axis=1) - others / 2
        auroc = (events * below).sum(axis=1) / (of_event * of_other)
        hits = np.cumsum(events[:, ::-1], axis=1)
        precision = hits / np.cumsum((events + others)[:, ::-1], axis=1)
        auprc = (events[:, ::-1] * np.nan_to_num(precision)).sum(axis=1) / of_event
    alone = (of_event == 0) | (of_other == 0)
    values = {"auroc": auroc, "auprc": auprc, "brier": errors}
    return {name: np.where(alone, np.nan, value) for name, value in values.items()}


def patient_numbers(patients: np.ndarray) -> np.ndarray:
    """Numbers (size,) from 0 on; rows of one patient share one, and each '' has its own."""
    names = np.asarray(patients, dtype=object).astype(str)
    own = np.array([f"\0{row}" for row in range(len(names))])
    return np.unique(np.where(names == "", own, names), return_inverse=True)[1]


def platt(
    truth: np.ndarray, logits: np.ndarray, shift: float = 0.0, spread: float = SPREAD
) -> tuple[float, float]:
    """Slope and intercept that set logits right (Platt 1999).

    Validation splits are small, so both have a normal prior, the slope around 1. The slope stays
    positive, so that no order is turned round.

    Args:
        truth, logits: (size,) of the validation split.
        shift: where the intercept is expected.
        spread: standard deviation of both priors.
    """
    scaled = np.asarray(logits, dtype="float64")
    design = np.stack([np.ones(len(scaled)), scaled], axis=1)
    mean, precision = np.array([shift, 1.0]), np.full(2, spread**-2)
    found = _logistic(design, truth, mean=mean, precision=precision)
    if found is not None and found[1] < LEAST_SLOPE:
        scaled = LEAST_SLOPE * scaled
        alone = _logistic(design[:, :1], truth, scaled, mean[:1], precision[:1])
        found = None if alone is None else np.array([alone[0], LEAST_SLOPE])
    return (1.0, 0.0) if found is None else (float(found[1]), float(found[0]))


def isotonic(truth: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of a rising curve from logits to risks (Zadrozny & Elkan 2002).

    Between knots the logit of the risk is linear; outside it is that of the nearest knot. No risk
    is nearer to 0 or 1 than half a row of the validation split.

    Args:
        truth, logits: (size,) of the validation split.

    Returns:
        Logits, rising, and risks, each (knots,) float32; one knot where all logits are the same.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(
        np.asarray(logits, dtype="float32"), np.asarray(truth, dtype="float32")
    )
    least = 1 / (2 * len(truth))
    y = np.clip(fitted.y_thresholds_, least, 1 - least).astype("float32")
    changes = np.append(True, y[1:] != y[:-1])
    kept = changes | np.append(changes[1:], True)  # both ends of each level stretch
    return fitted.X_thresholds_.astype("float32")[kept], y[kept]


def operating_point(
    truth: np.ndarray, risk: np.ndarray, min_sensitivity: float, cost_ratio: float | None = None
) -> float:
    """The threshold at which patients are flagged, chosen on the validation split.

    The one of the fewest false alarms among those whose sensitivity is at least
    ``min_sensitivity``; with a cost ratio the one of least cost; the lowest of several. Thresholds
    are midpoints between neighbouring risks: tiny differences between machines then flip no
    decision.

    Args:
        cost_ratio: how many false alarms one missed patient is worth.

    Raises:
        DataProblem: nobody has the outcome.
    """
    events = truth.sum()
    if not events:
        raise DataProblem("the validation split has no events: no operating point can be chosen.")
    risks = np.unique(risk)
    ends = [1.0] if risks[-1] < 1 else []  # above the highest risk nobody is flagged
    edges = np.concatenate([[0.0], risks, ends])
    thresholds = (edges[:-1] + edges[1:]) / 2
    hits, alarms = _flagged_counts(truth, risk, thresholds)
    if cost_ratio is not None:
        return float(thresholds[np.argmin(alarms + cost_ratio * (events - hits))])
    reached = hits / events >= min_sensitivity - 1e-12
    return float(thresholds[np.argmin(np.where(reached, alarms, np.inf))])


def clip_risk(risk: np.ndarray) -> np.ndarray:
    """Risks (size,) far enough from 0 and 1 that their logits are finite."""
    return np.clip(risk, SMALLEST, 1 - SMALLEST)


def _both(truth: np.ndarray) -> bool:
    """Whether both outcomes occur."""
    return 0 < np.count_nonzero(truth) < len(truth)


def _bootstrap_weights(
    numbers: np.ndarray, resampled: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Weights (draws, size) of rows: how often the patient of each was drawn; some draws a time."""
    count, at_once = int(numbers.max()) + 1, max(1, AT_ONCE // len(numbers))
    for begin in range(0, resampled, at_once):
        times = range(min(at_once, resampled - begin))
        drawn = [np.bincount(random.integers(count, size=count), minlength=count) for _ in times]
        yield np.stack(drawn)[:, numbers]


def _flagged_counts(
    truth: np.ndarray, risk: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events and others (thresholds,) at or above each threshold."""
    groups = (np.sort(risk[truth > 0]), np.sort(risk[truth <= 0]))
    hits, alarms = (len(group) - np.searchsorted(group, thresholds) for group in groups)
    return hits, alarms


def _binned_error(truth: np.ndarray, risk: np.ndarray) -> float:
    places = np.minimum((risk * BINS).astype(int), BINS - 1)
    surplus = np.bincount(places, risk - truth, minlength=BINS)
    return float(np.abs(surplus).sum() / len(truth))


def _surprise(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cross-entropy (size,) in nats."""
    return np.logaddexp(0, logits) - targets * logits


def _logistic(
    design: np.ndarray,
    targets: np.ndarray,
    offset: np.ndarray | float = 0.0,
    mean: np.ndarray | float = 0.0,
    precision: np.ndarray | float = 0.0,
) -> np.ndarray | None:
    """Coefficients (terms,) of a logistic regression by Newton's method.

    Args:
        design: (size, terms) what the logits are made of.
        offset: (size,) a part of the logits that is given.
        mean, precision: (terms,) of a normal prior; precision 0 is none.

    Returns:
        None where there is no finite, unique solution, as with separated outcomes.
    """
    precision = np.broadcast_to(np.asarray(precision, "float64"), design.shape[1:])

    def cost(at: np.ndarray) -> float:
        prior = (precision * (at - mean) ** 2).sum() / 2
        return float(_surprise(offset + design @ at, targets).sum() + prior)

    found = np.zeros(design.shape[1]) + mean
    for _ in range(STEPS):
        risk = expit(offset + design @ found)
        slope = design.T @ (targets - risk) - precision * (found - mean)
        curvature = (design.T * (risk * (1 - risk))) @ design + np.diag(precision)
        if not np.linalg.cond(curvature) < 1e12:
            return None
        step = np.clip(np.linalg.solve(curvature, slope), -5, 5)
        while cost(found + step) > cost(found) and np.abs(step).max() > 1e-9:
            step = step / 2
        found = found + step
        if np.abs(found).max() > LARGEST:
            return None
        if np.abs(step).max() < 1e-8:
            return found
    return None
