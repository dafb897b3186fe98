"""Metrics of parts of a split: the examples with one value, or in one band of values, of a column.

Whether a slice is worse than the rest beyond noise is tested for the metric that matters most:
Fisher's exact test where each example is right or wrong, Welch's t-test for other means, else a
bootstrap. Holm's method (1979) corrects for the number of slices, so that of many equal ones hardly
any is marked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import stats

from ..bootstrap import resample
from ..interfaces import HIDDEN
from ..weighted_metrics import WeightedMetric

MIN_COUNT = 10  # examples of a slice that is measured
MAX_VALUES = 30  # slices of a column
NUM_BANDS = 4  # of a column of numbers, with about as many examples each
ERROR_RATE = 0.05  # of marking any slice although all are equal
OTHER, MISSING = "(other values)", "(missing)"


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
    slices: list[Slice] = []
    for column, values in columns.items():
        masks = divide(values)
        hidden = _find_small(masks)
        for value, mask in masks.items():
            slices.append(Slice(column, value, int(mask.sum()), {}))
            if value in hidden:
                continue
            weights = mask[None].astype("float64")
            measured = {name: float(m.compute(weights)[0]) for name, m in metrics.items()}
            p_value = _test(headline, mask, groups)
            slices[-1] = replace(slices[-1], metrics=measured, p_value=p_value)
    return _mark_worse(slices)


def divide(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return masks (size,) by value or band; of very many values, the most frequent ones.

    Args:
        values: (size,) numbers or text.
    """
    values = np.asarray(values)
    if values.dtype.kind in "fiu" and len(np.unique(values)) > NUM_BANDS * 2:
        return _divide_numbers(values.astype("float64"))
    texts = np.array([_format(value) for value in values], dtype=object)
    names, counts = np.unique(texts.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_VALUES]
    frequent = names[np.sort(order)]
    masks = {str(name): texts == name for name in frequent}
    rest = ~np.isin(texts.astype(str), frequent)
    return {**masks, OTHER: rest} if rest.any() else masks


def _divide_numbers(values: np.ndarray) -> dict[str, np.ndarray]:
    present = np.isfinite(values)
    edges = np.unique(np.quantile(values[present], np.linspace(0, 1, NUM_BANDS + 1)))
    band = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    masks = {}
    for number, (low, high) in enumerate(pairwise(edges)):
        end = "to" if number == len(edges) - 2 else "to under"
        masks[f"{low:.4g} {end} {high:.4g}"] = present & (band == number)
    return {**masks, MISSING: ~present} if not present.all() else masks


def _format(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if np.isfinite(value) else MISSING
    return str(value) if str(value) != "" else MISSING


def _find_small(masks: Mapping[str, np.ndarray]) -> set[str]:
    """Return the values of which nothing is said.

    Those with too few examples; if that is one alone, the next smallest too, or the one could be
    had by subtraction from all examples.
    """
    counts = {value: int(mask.sum()) for value, mask in masks.items()}
    hidden = {value for value, count in counts.items() if count < MIN_COUNT or value == HIDDEN}
    others = sorted(set(counts) - hidden, key=lambda value: counts[value])
    return hidden | set(others[:1]) if len(hidden) == 1 else hidden


def _test(metric: WeightedMetric, mask: np.ndarray, groups: np.ndarray | None) -> float:
    """Return the one-sided p-value of the slice being worse than the rest; NaN without a rest."""
    rest = ~mask
    if rest.sum() < MIN_COUNT:
        return float("nan")
    sign = -1.0 if metric.lower_is_better else 1.0
    if metric.values is None or groups is not None:
        return _test_by_resampling(metric, mask, groups, sign)
    inside, outside = sign * metric.values[mask], sign * metric.values[rest]
    if set(np.unique(metric.values)) <= {0.0, 1.0} and sign > 0:
        table = [[inside.sum(), len(inside) - inside.sum()], [outside.sum(), (1 - outside).sum()]]
        return float(stats.fisher_exact(table, alternative="less").pvalue)
    if inside.std() == 0 and outside.std() == 0:
        return 1.0 if inside.mean() >= outside.mean() else 0.0
    return float(stats.ttest_ind(inside, outside, equal_var=False, alternative="less").pvalue)


def _test_by_resampling(
    metric: WeightedMetric, mask: np.ndarray, groups: np.ndarray | None, sign: float
) -> float:
    better = draws = 0
    for weights in resample(len(mask), groups):
        difference = sign * (metric.compute(weights * mask) - metric.compute(weights * ~mask))
        difference = difference[np.isfinite(difference)]
        better, draws = better + int((difference >= 0).sum()), draws + len(difference)
    return (better + 1) / (draws + 1) if draws else float("nan")


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
