"""Metrics of parts of a split: the examples with one value, or in one band of values, of a column.

Whether a slice is worse than the rest beyond noise is tested for the metric that matters most:
Fisher's exact test where each example is right or wrong, Mann & Whitney's test of ranks for other
means, which are often skewed, and else a test of permutations, of whole groups where there are any.
Holm's method (1979) corrects for the number of slices, so that of many equal ones hardly any is
marked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ..bands import label_values
from ..bootstrap import WEIGHTS_AT_ONCE, number_groups
from ..interfaces import HIDDEN
from ..weighted_metrics import WeightedMetric

MIN_COUNT = 10  # examples, and groups, of a slice that is measured
MAX_VALUES = 30  # slices of a column
ERROR_RATE = 0.05  # of marking any slice although all are equal
DRAWS = 200  # random slices, from which the deviation of a difference is estimated
OTHER = "(other values)"


@dataclass(frozen=True)
class Slice:
    """The examples of a split that have one value of a column.

    Attributes:
        column: name of the column.
        value: the value, or a band of numbers in words.
        count: number of examples.
        metrics: by name; empty where there are too few examples.
        p_value: probability of a difference as large by chance; NaN where it was not tested.
        is_worse: whether it is worse than the rest beyond noise.
    """

    column: str
    value: str
    count: int
    metrics: Mapping[str, float]
    p_value: float = float("nan")
    is_worse: bool = False


def measure_slices(
    metrics: Mapping[str, WeightedMetric],
    columns: Mapping[str, np.ndarray],
    groups: np.ndarray | None = None,
) -> list[Slice]:
    """Measure a split by the values of each column.

    Args:
        metrics: of the split's examples; the first one decides what is worse.
        columns: name -> (size,) numbers or text.
        groups: (size,) see ``bootstrap.resample``.

    Returns:
        The slices of each column in turn, bands of numbers in rising order.
    """
    if not metrics:
        return []
    headline = next(iter(metrics.values()))
    if groups is not None:
        groups = number_groups(groups) if (groups != "").any() else None
    slices: list[Slice] = []
    for column, values in columns.items():
        masks = divide(values)
        hidden = _find_small(masks, groups)
        for value, mask in masks:
            slices.append(Slice(column, value, int(mask.sum()), {}))
            if value in hidden:
                continue
            weights = mask[None].astype("float64")
            measured = {name: float(m.compute(weights)[0]) for name, m in metrics.items()}
            p_value = _test(headline, mask, groups)
            slices[-1] = replace(slices[-1], metrics=measured, p_value=p_value)
    return _mark_worse(slices)


def divide(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return value or band, and mask (size,); of very many values, the most frequent ones.

    Args:
        values: (size,) numbers or text.
    """
    labels, names = label_values(values)
    counts = {name: int((labels == name).sum()) for name in names}
    frequent = set(sorted(names, key=lambda name: -counts[name])[:MAX_VALUES])
    masks = [(name, labels == name) for name in names if name in frequent]
    rest = ~np.isin(labels, list(frequent))
    return [*masks, (OTHER, rest)] if rest.any() else masks


def _find_small(masks: list[tuple[str, np.ndarray]], groups: np.ndarray | None) -> set[str]:
    """Return the values of which nothing is said.

    Those with too few examples or groups; then the next smallest, until what is hidden is enough
    together, or it could be had by subtraction. What a domain hides is enough already.
    """
    counts = {value: _count(mask, groups) for value, mask in masks}
    hidden = {value for value, count in counts.items() if count < MIN_COUNT or value == HIDDEN}
    others = sorted(set(counts) - hidden, key=lambda value: counts[value])
    while (
        others
        and hidden - {HIDDEN}
        and (len(hidden) == 1 or sum(counts[value] for value in hidden) < MIN_COUNT)
    ):
        hidden.add(others.pop(0))
    return hidden


def _count(mask: np.ndarray, groups: np.ndarray | None) -> int:
    """Count the examples of a mask, or the groups, by number, that they belong to."""
    if groups is None:
        return int(mask.sum())
    return len(np.unique(groups[mask]))


def _test(metric: WeightedMetric, mask: np.ndarray, groups: np.ndarray | None) -> float:
    """Return the one-sided p-value of the slice being worse than the rest; NaN without a rest."""
    rest = ~mask
    if min(_count(mask, groups), _count(rest, groups)) < MIN_COUNT:
        return float("nan")
    sign = -1.0 if metric.lower_is_better else 1.0
    if metric.values is None or groups is not None:
        return _test_by_permutation(metric, mask, groups, sign)
    inside, outside = sign * metric.values[mask], sign * metric.values[rest]
    if set(np.unique(metric.values)) <= {0.0, 1.0} and sign > 0:
        table = [[inside.sum(), len(inside) - inside.sum()], [outside.sum(), (1 - outside).sum()]]
        return float(stats.fisher_exact(table, alternative="less").pvalue)
    return float(stats.mannwhitneyu(inside, outside, alternative="less").pvalue)


def _test_by_permutation(
    metric: WeightedMetric, mask: np.ndarray, groups: np.ndarray | None, sign: float
) -> float:
    """Compare the difference with those of random slices of as many groups or examples.

    Its place among their mean and deviation is read from the normal distribution: a count of draws
    could not fall below what Holm's method asks for. A group is in the slice if most of it is.
    """
    numbers = np.arange(len(mask)) if groups is None else groups
    is_inside = np.bincount(numbers, mask) * 2 > np.bincount(numbers)

    def subtract(inside: np.ndarray) -> np.ndarray:
        weights = inside[:, numbers].astype("float64")
        return sign * (metric.compute(weights) - metric.compute(1 - weights))

    random, parts = np.random.default_rng(0), []
    rows = max(1, WEIGHTS_AT_ONCE // len(mask))
    for start in range(0, DRAWS, rows):
        tiled = np.tile(is_inside, (min(rows, DRAWS - start), 1))
        parts.append(subtract(random.permuted(tiled, axis=1)))
    draws = np.concatenate(parts)
    draws = draws[np.isfinite(draws)]
    difference = float(subtract(is_inside[None])[0])
    if len(draws) < DRAWS / 2 or not np.isfinite(difference) or draws.std() == 0:
        return float("nan")
    return float(stats.norm.cdf((difference - draws.mean()) / draws.std()))


def _mark_worse(slices: list[Slice]) -> list[Slice]:
    """Mark the slices whose p-values pass Holm's method among all that were tested."""
    tested = [place for place, part in enumerate(slices) if np.isfinite(part.p_value)]
    tested.sort(key=lambda place: slices[place].p_value)
    marked = list(slices)
    for rank, place in enumerate(tested):
        if slices[place].p_value > ERROR_RATE / (len(tested) - rank):
            break
        marked[place] = replace(slices[place], is_worse=True)
    return marked
