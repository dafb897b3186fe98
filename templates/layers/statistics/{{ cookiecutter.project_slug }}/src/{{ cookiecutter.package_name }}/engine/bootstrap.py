"""Intervals of metrics, and differences of two models, by resampling examples.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals. Examples of one
group are drawn together. Two models are compared on the same draws, so that examples which are hard
for both cancel out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .weighted_metrics import WeightedMetric

DRAWS = 1_000
TAIL = 0.025  # outside the interval, on each side
WEIGHTS_AT_ONCE = 4_000_000  # held in memory: 32 MB


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; the ends are NaN where no draw has a value."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def resample(
    size: int, groups: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yield how often each example is drawn, in parts (some, size) of all ``draws``.

    Args:
        size: number of examples.
        groups: (size,) text; examples of one group are drawn together. '' is a group of its own.
        draws: number of resamples.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    group_of = None if groups is None else number_groups(groups)
    count = size if group_of is None else int(group_of.max(initial=-1)) + 1
    part = max(1, WEIGHTS_AT_ONCE // max(size, 1))
    for start in range(0, draws, part):
        rows = min(part, draws - start)
        places = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count)
        yield weights if group_of is None else weights[:, group_of]


def number_groups(groups: np.ndarray) -> np.ndarray:
    """Return numbers (size,) from 0 on: one for each group, and for each example without one.

    Groups that are numbers already, as this function returns them, stay as they are.
    """
    if groups.dtype.kind == "i":
        return groups
    names = np.asarray(groups, dtype=object).astype(str)
    own = np.array([f"\0{place}" for place in range(len(names))])
    return np.unique(np.where(names == "", own, names), return_inverse=True)[1]


def estimate(
    metric: WeightedMetric,
    size: int,
    groups: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return a metric with its interval.

    Shares of independent examples have Wilson's interval (1927), which has a width where all are
    right, too.

    Args:
        metric: of ``size`` examples.
        size: number of examples.
        groups: see ``resample``.
        draws: number of resamples.
        seed: of the random numbers.
    """
    from scipy import stats  # takes half a second to import

    groups = None if groups is None else number_groups(groups)
    if count_units(size, groups) == size and metric.values is not None and is_binary(metric.values):
        wilson = stats.binomtest(int(metric.values.sum()), size).proportion_ci(method="wilson")
        return Interval(float(metric.values.mean()), float(wilson.low), float(wilson.high))
    return _interval(metric.compute, size, groups, draws, seed)


def compare(
    first: WeightedMetric,
    second: WeightedMetric,
    size: int,
    groups: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return by how much the first model is better than the second, with the interval.

    Resamples promise too much where few examples decide. So the ends are at least as wide as those
    of Student's interval for independent examples of a mean and, where each is right or wrong, of
    Bonett & Price (2012).

    Args:
        first: a metric of one model.
        second: the same metric of another, on the same examples.
        size: number of examples.
        groups: see ``resample``.
        draws: number of resamples.
        seed: of the random numbers.

    Returns:
        The difference, above 0 where the first is better, be the metric a score or a loss.
    """
    groups = None if groups is None else number_groups(groups)
    sign = -1.0 if first.lower_is_better else 1.0

    def difference(weights: np.ndarray) -> np.ndarray:
        return sign * (first.compute(weights) - second.compute(weights))

    interval = _interval(difference, size, groups, draws, seed)
    if count_units(size, groups) < size or first.values is None or second.values is None:
        return interval
    ahead = sign * (first.values - second.values)
    ends = [_student(ahead)]
    if is_binary(first.values) and is_binary(second.values):
        ends.append(_bonett_price(int((ahead > 0).sum()), int((ahead < 0).sum()), size))
    low = min([interval.low, *(end[0] for end in ends)])
    high = max([interval.high, *(end[1] for end in ends)])
    return Interval(interval.value, float(low), float(high))


def count_units(size: int, groups: np.ndarray | None) -> int:
    """Return how many examples or groups are drawn independently."""
    return size if groups is None else int(number_groups(groups).max(initial=-1)) + 1


def is_binary(values: np.ndarray) -> bool:
    """Return whether all values (size,) are 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def _student(values: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    if len(values) < 2:
        return float("nan"), float("nan")
    margin = stats.t.isf(TAIL, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - margin, values.mean() + margin


def _bonett_price(wins: int, losses: int, size: int) -> tuple[float, float]:
    from scipy import stats

    won, lost = (wins + 1) / (size + 2), (losses + 1) / (size + 2)
    variance = (won + lost - (won - lost) ** 2) / (size + 2)
    margin = stats.norm.isf(TAIL) * variance**0.5
    return won - lost - margin, won - lost + margin


def _interval(
    compute: Callable[[np.ndarray], np.ndarray],
    size: int,
    groups: np.ndarray | None,
    draws: int,
    seed: int,
) -> Interval:
    """Return percentiles of resamples, widened for few units.

    Hesterberg, What teachers should know about the bootstrap, 2015: they lack the factor
    sqrt(n / (n - 1)) and the quantile of Student's distribution.
    """
    from scipy import stats

    value, units = float(compute(np.ones((1, size)))[0]), count_units(size, groups)
    values = np.concatenate([compute(part) for part in resample(size, groups, draws, seed)])
    values = values[np.isfinite(values)]
    if units < 2 or not len(values):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    factor = (units / (units - 1)) ** 0.5 * stats.t.isf(TAIL, units - 1) / stats.norm.isf(TAIL)
    low, high = value - (value - low) * factor, value + (high - value) * factor
    return Interval(value, float(low), float(high))
