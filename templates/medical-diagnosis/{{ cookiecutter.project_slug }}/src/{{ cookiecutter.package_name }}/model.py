"""Models by name: from a row's inputs to logits. A model may be several members of one kind, which
differ by their first weights and learn for themselves (Lakshminarayanan et al., NeurIPS 2017).

To add one, write a function from inputs (batch, width) to logits (batch, 1) as those here, and add
a line to ``MODELS`` in ``registry.py``. With several members it is given inputs (batch, members,
width), and gives logits (batch, members, 1). What is saved gives one logit (batch, 1): that of the
recalibrated risk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers
from scipy.special import expit, logit

from .config import Config
from .engine.interfaces import DatasetSplits, Phase
from .engine.lookup import find
from .evaluation import clinical_metrics as clinical
from .networks.layers import Recalibration, Terms
from .registry import MODELS

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .preprocessing import Preprocessing

# Outcomes of the validation split, of either kind, from which isotonic regression is trusted.
MANY = 200

# Training rows up to which train.weight_decay holds. It is a prior, and with more rows counts less.
DECAY_ROWS = 1000


def logistic(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """Logistic regression, begun where it is fitted exactly."""
    return _reference(x, config, preprocessing)


def mlp(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """Two dense layers with dropout."""
    return _deep(x, config, _intercept(preprocessing.reference, config, preprocessing))


def wide_deep(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """A logistic regression with curves and pairs of inputs, and an ``mlp`` beside it that learns
    what they miss (after Cheng et al., DLRS 2016). The regression stays as it was fitted."""
    wide = _additive(x, config, preprocessing)
    return layers.Add(dtype=EXACT, name="wide_deep")([wide, _deep(x, config)])


SEVERAL = ("ensemble",)  # models that are several networks

# Of what comes before the hidden layers and of logits, whatever the precision: half of it has so
# few numbers that patients of different risk get the same.
EXACT = "float32"

# How large weights are divided among devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> an entry for each axis. Weights without a line are whole on every device.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "dense_1/kernel": (None, "model"),  # (inputs, units)
    "dense_2/kernel": ("model", None),
    "dense_1_of_each/kernel": (None, None, "model"),  # (members, inputs, units)
    "dense_2_of_each/kernel": (None, "model", None),
}

# Weights that ``build`` computes from the data: patterns of their paths. ``train.init_from`` leaves
# them as they were built.
WEIGHTS_FROM_DATA: tuple[str, ...] = ("additive/",)


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """The configured model as it learns."""
    inputs = keras.Input((preprocessing.width,), name="inputs")
    members = config.model.members if config.model.name in SEVERAL else 1
    x = inputs
    if members > 1:
        x = layers.RepeatVector(members, dtype=EXACT, name="members")(x)
    logits = find(MODELS, config.model.name)(x, config, preprocessing)
    logits = layers.Reshape((members,), dtype=EXACT)(logits)
    return keras.Model(inputs, logits, name=config.model.name)


def phases(config: Config) -> list[Phase]:
    """One phase."""
    train = config.train
    return [Phase("all", train.epochs, train.learning_rate, decay_rows=DECAY_ROWS)]


def finalize(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """The model as it is saved: recalibrated on the validation split, with its operating point."""
    split, batch_size = data.validation, config.data.batch_size
    truth = split.targets
    logits = trained.predict_split(split, batch_size).mean(axis=-1)
    way, network = _recalibrate(trained.network, truth, logits, config)
    recalibrated = replace(trained, network=network)
    risks = expit(recalibrated.predict_split(split, batch_size)[:, 0])
    point = clinical.operating_point(
        truth, risks, config.model.min_sensitivity, config.model.cost_ratio
    )
    preprocessing = replace(trained.preprocessing, recalibration=way, operating_point=float(point))
    learnt = json.dumps([recalibrated.weights_sha256(), preprocessing.to_config()])
    version = hashlib.sha256(learnt.encode()).hexdigest()[:16]
    return replace(recalibrated, preprocessing=replace(preprocessing, model_version=version))


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[Any, ...]]]:
    """No layer counts classes or ids."""
    return {}


def _deep(x: Any, config: Config, begin: float = 0.0) -> Any:
    """Dense layers with dropout, whose logits begin near ``begin``."""
    for number, units in enumerate((config.model.width, 2 * config.model.width), start=1):
        x = _dense(x, units, (2 / x.shape[-1]) ** 0.5, config, f"dense_{number}")  # He et al. 2015
        x = layers.Activation("relu", name=f"relu_{number}")(x)
        x = layers.Dropout(config.model.dropout, seed=config.train.seed + number)(x)
    return _dense(x, 1, 0.01, config, "deep", begin)


def _dense(x: Any, units: int, spread: float, config: Config, name: str, begin: float = 0.0) -> Any:
    """A dense layer: (…, inputs) -> (…, units).

    Args:
        spread: standard deviation of the first weights.
        begin: the first biases.
    """
    return _layer(
        x,
        units,
        name,
        kernel_initializer=keras.initializers.RandomNormal(stddev=spread, seed=_seed(config, name)),
        bias_initializer=keras.initializers.Constant(begin),
    )(x)


def _intercept(weights: Sequence[float], config: Config, preprocessing: Preprocessing) -> float:
    """That of a fitted regression, as if both outcomes were as frequent where the model learns as
    if they were."""
    balanced = config.train.imbalance != "none"
    return weights[-1] - (logit(preprocessing.prevalence) if balanced else 0.0)


def _reference(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """The logistic regression that was fitted to the training split."""
    weights = np.array(preprocessing.reference, "float32")
    layer = _layer(x, 1, "reference")
    logits = layer(x)
    layer.kernel.assign(np.broadcast_to(weights[:-1, None], layer.kernel.shape))
    intercept = _intercept(weights, config, preprocessing)
    layer.bias.assign(np.broadcast_to(intercept, layer.bias.shape))
    return logits


def _additive(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """The regression with curves and pairs that was fitted to the training split, in float32."""
    learnt = preprocessing
    terms = Terms(learnt.knots, learnt.pairs, learnt.usual, name="terms")(x)
    layer = layers.Dense(1, trainable=False, dtype=EXACT, name="additive")
    logits = layer(terms)
    layer.kernel.assign(np.array(learnt.additive[:-1], "float32")[:, None])
    layer.bias.assign([_intercept(learnt.additive, config, preprocessing)])
    return logits


def _layer(x: Any, units: int, name: str, **options: Any) -> layers.Layer:
    """A dense layer for inputs (batch, inputs); one of each member's for (batch, members, inputs),
    which takes twice the time where there is one member."""
    if units == 1:  # logits
        options["dtype"] = EXACT
    if x.ndim == 2:
        return layers.Dense(units, name=name, **options)
    return layers.EinsumDense(
        "bmi,mio->bmo", (x.shape[1], units), bias_axes="mo", name=f"{name}_of_each", **options
    )


def _seed(config: Config, name: str) -> int:
    return config.train.seed + 1000 * sum(map(ord, name))


def _recalibrate(
    network: keras.Model, truth: np.ndarray, logits: np.ndarray, config: Config
) -> tuple[str, keras.Model]:
    """How risks are set right, and the network with a layer behind it that does so."""
    way = config.model.recalibration
    if way == "auto":
        rarer = min(truth.sum(), len(truth) - truth.sum())
        way = "isotonic" if rarer >= MANY else "platt"
    curve = clinical.isotonic(truth, logits) if way == "isotonic" else ([], [])
    layer = Recalibration(len(curve[0]), dtype="float32", name="recalibration")
    made = keras.Model(network.input, layer(network.output), name=network.name)
    if way == "isotonic":
        layer.logits.assign(curve[0])
        layer.recalibrated.assign(logit(curve[1]))
    elif way == "platt":
        # What was learnt as if both outcomes were as frequent is expected to be off by that.
        shift = 0.0 if config.train.imbalance == "none" else logit(truth.mean())
        wide = {"spread": 1.0} if config.train.loss == "focal" else {}
        slope, intercept = clinical.platt(truth, logits, shift, **wide)
        layer.slope.assign(slope)
        layer.intercept.assign(intercept)
    return way, made
