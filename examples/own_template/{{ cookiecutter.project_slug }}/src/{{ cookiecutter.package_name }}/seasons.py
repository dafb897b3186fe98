"""Take a window apart: what the season says of the days to come, and what it leaves to explain."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

Tensor = Any  # of Keras' backend, or an array


class Seasonal(NamedTuple):
    """The parts of windows.

    Attributes:
        forecast: (batch, horizon) the mean of the seasons of the context, without holidays.
        features: (batch, n) what a model may learn from: the form of the season, by what each day
            of the context differs from it (holidays not at all), by what its holidays do on
            average, and which days of context and horizon are holidays.
    """

    forecast: Tensor
    features: Tensor


def take_apart(inputs: dict[str, Tensor], season: int) -> Seasonal:
    """Take the windows of a batch apart, in the model as in the baselines.

    Args:
        inputs: ``values`` (batch, context), the newest last, and ``holidays`` (batch, context +
            horizon).
        season: days after which a series resembles itself.
    """
    values, holidays = inputs["values"], inputs["holidays"]
    context = values.shape[1]
    horizon = holidays.shape[1] - context
    seasons = context // season
    start = context - seasons * season  # the days before are too few for a season
    shape = (-1, seasons, season)
    days = ops.reshape(values[:, start:], shape)
    counted = 1.0 - ops.reshape(holidays[:, start:context], shape)
    total = ops.maximum(ops.sum(counted, axis=1, keepdims=True), 1.0)
    mean = ops.sum(days * counted, axis=1, keepdims=True) / total  # (batch, 1, season)
    differences = ops.reshape((days - mean) * counted, (-1, seasons * season))
    # Apart: a linear model would take a holiday for a new level of the days after it.
    effect = ops.sum((days - mean) * (1.0 - counted), axis=(1, 2)) / ops.maximum(
        ops.sum(1.0 - counted, axis=(1, 2)), 1.0
    )
    mean = ops.reshape(mean, (-1, season))
    form = mean - ops.mean(mean, axis=1, keepdims=True)
    ahead = np.arange(horizon) % season
    parts = [form, differences, effect[:, None], holidays]
    return Seasonal(ops.take(mean, ahead, axis=1), ops.concatenate(parts, axis=1))
