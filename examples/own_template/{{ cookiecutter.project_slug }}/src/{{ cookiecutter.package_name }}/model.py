"""Models: from logarithms of the context and the holidays to logarithms of the days to come.

To add one, write a function like those here and add a line to ``MODELS`` in ``registry.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from .config import Config
from .engine.lookup import find
from .registry import MODELS
from .seasons import take_apart

if TYPE_CHECKING:
    from .preprocessing import Preprocessing

Tensor = Any  # of Keras' backend; Keras has no types

# Patterns of the paths of weights that ``build`` computes from the data; ``train.init_from`` keeps
# them as built.
WEIGHTS_FROM_DATA: tuple[str, ...] = ("^linear/",)

# How large weights are sharded over devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> a mesh axis or None for each axis. Other weights are replicated.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {"hidden_1/kernel": (None, "model")}


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the configured model.

    Args:
        config: names it in ``model.name``.
        preprocessing: fitted, as its linear autoregression becomes weights.
    """
    return find(MODELS, config.model.name)(config, preprocessing)


def linear_network(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the linear autoregression, fitted exactly, and a network that learns what it misses.

    The last layer of the network begins with zeros: training starts from the forecasts of the
    linear autoregression.
    """
    inputs = _make_inputs(preprocessing)
    seasonal, features = take_apart(inputs, preprocessing.season)
    linear = layers.Dense(preprocessing.horizon, trainable=False, dtype="float32", name="linear")
    parts = [seasonal, linear(features), _add_network(features, config, preprocessing, "zeros")]
    if preprocessing.linear is not None:
        linear.set_weights([preprocessing.linear[1:], preprocessing.linear[0]])
    return keras.Model(inputs, layers.Add(dtype="float32", name="forecast")(parts))


def network(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the network alone, which adds to the mean of the seasons."""
    inputs = _make_inputs(preprocessing)
    seasonal, features = take_apart(inputs, preprocessing.season)
    parts = [seasonal, _add_network(features, config, preprocessing, "glorot_uniform")]
    return keras.Model(inputs, layers.Add(dtype="float32", name="forecast")(parts))


def _make_inputs(preprocessing: Preprocessing) -> dict[str, Tensor]:
    days = preprocessing.context + preprocessing.horizon
    return {
        "values": keras.Input((preprocessing.context,), dtype="float32", name="values"),
        "holidays": keras.Input((days,), dtype="float32", name="holidays"),
    }


def _add_network(
    features: Tensor, config: Config, preprocessing: Preprocessing, last: str
) -> Tensor:
    """Return what hidden layers make of the features (batch, horizon)."""
    x = features
    for number in range(1, config.model.depth + 1):
        x = layers.Dense(config.model.width, activation="gelu", name=f"hidden_{number}")(x)
        x = layers.Dropout(config.model.dropout)(x)
    return layers.Dense(
        preprocessing.horizon, kernel_initializer=last, dtype="float32", name="correction"
    )(x)
