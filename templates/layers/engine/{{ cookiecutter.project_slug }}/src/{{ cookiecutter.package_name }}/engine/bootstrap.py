"""Intervals of metrics, and differences of two models, by resampling examples.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals. Examples of one
group are drawn together. Two models are compared on the same draws, so that examples which are hard
for both cancel out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .weighted_metrics import WeightedMetric

DRAWS = 1_000
CONFIDENCE = 0.95
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
    """Return numbers (size,) from 0 on: one for each group, and for each example without one."""
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

    Args:
        metric: of ``size`` examples.
        size: number of examples.
        groups: see ``resample``.
        draws: number of resamples.
        seed: of the random numbers.
    """
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
    sign = -1.0 if first.lower_is_better else 1.0

    def difference(weights: np.ndarray) -> np.ndarray:
        return sign * (first.compute(weights) - second.compute(weights))

    return _interval(difference, size, groups, draws, seed)


def _interval(compute, size, groups, draws, seed) -> Interval:
    value = float(compute(np.ones((1, size)))[0])
    values = np.concatenate([compute(part) for part in resample(size, groups, draws, seed)])
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))
