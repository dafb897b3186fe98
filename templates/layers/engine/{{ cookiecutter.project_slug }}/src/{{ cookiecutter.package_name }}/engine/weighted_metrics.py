"""Metrics of weighted examples: the basis of intervals, slices and comparisons of models.

A metric of a resample is the metric with the number of draws of each example as its weight; that of
a slice has weights 0 and 1. So one function of the weights serves all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WeightedMetric:
    """A metric of a split as a function of the weights of its examples.

    Attributes:
        compute: weights (draws, size) -> the metric (draws,), NaN where it is undefined.
        lower_is_better: as for a loss.
        values: (size,) of which the metric is the weighted mean; None: it is no mean.
    """

    compute: Callable[[np.ndarray], np.ndarray]
    lower_is_better: bool = False
    values: np.ndarray | None = None

    @classmethod
    def mean(cls, values: np.ndarray, lower_is_better: bool = False) -> "WeightedMetric":
        """Return the mean of a value of each example, such as 1 for a correct prediction.

        Args:
            values: (size,).
            lower_is_better: as for a loss.
        """
        values = np.asarray(values, "float64")

        def compute(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                return weights @ values / weights.sum(axis=-1, dtype="float64")

        return cls(compute, lower_is_better, values)
