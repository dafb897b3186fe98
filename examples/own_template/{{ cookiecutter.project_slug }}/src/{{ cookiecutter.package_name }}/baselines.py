"""Baselines that a model must beat."""

from typing import Any

import numpy as np

from .config import Config
from .engine.interfaces import DatasetSplits
from .preprocessing import AT_ONCE, Preprocessing
from .report import as_windows, measure


def measure_baselines(
    data: DatasetSplits, preprocessing: Preprocessing, config: Config
) -> list[dict[str, Any]]:
    """Measure simple forecasts of the test split.

    Args:
        data: its windows.
        preprocessing: has the linear autoregression of the training split.
        config: part of the engine's interface.

    Returns:
        Rows with ``name``, ``metrics`` and ``outputs``.
    """
    test, decode = as_windows(data.test), preprocessing.decode
    means, linear = [], []
    for raw in test.batches(AT_ONCE):
        features, seasonal = preprocessing.linear_inputs(raw)
        means.append(decode(seasonal))
        linear.append(decode(features @ preprocessing.linear + seasonal))
    forecasts = {
        "seasonal naive": test.naive,
        "mean of the seasons": np.concatenate(means),
        "linear autoregression": np.concatenate(linear),
    }
    return [
        {
            "name": name,
            "metrics": {f"test/{k}": v for k, v in measure(test, outputs, preprocessing).items()},
            "outputs": outputs,
        }
        for name, outputs in forecasts.items()
    ]
