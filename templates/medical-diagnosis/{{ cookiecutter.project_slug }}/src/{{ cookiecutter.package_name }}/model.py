"""Models by name: from inputs (batch, width) to logits (batch, 1).

To add one, write a function like those here and add a line to ``MODELS`` in ``registry.py``. That
of an ensemble takes (batch, members, width) and returns logits (batch, members, 1); the members
differ in their initial weights and learn independently (Lakshminarayanan et al., NeurIPS 2017).

The saved model outputs one logit (batch, 1), that of the calibrated risk.
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
from .evaluation.clinical_metrics import choose_operating_point, fit_isotonic, fit_platt
from .networks.layers import Recalibration, Terms
from .registry import MODELS

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .preprocessing import Preprocessing

# Rows of either outcome in the validation split from which isotonic regression does not overfit.
MIN_ISOTONIC_OUTCOMES = 200

# Training rows from which train.weight_decay falls: it is a prior, and more rows outweigh it.
DECAY_ROWS = 1000


def logistic(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """Logistic regression that starts from its exact solution."""
    return _logistic_regression(x, config, preprocessing)


def mlp(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """Two dense layers with dropout."""
    return _mlp(x, config, _intercept(preprocessing.logistic_weights, config, preprocessing))


def wide_deep(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """A frozen additive model and an ``mlp`` that learns the remainder: Cheng et al., DLRS 2016."""
    wide = _additive_model(x, config, preprocessing)
    return layers.Add(dtype=LOGITS_DTYPE, name="wide_deep")([wide, _mlp(x, config)])


ENSEMBLES = ("ensemble",)

# Half precision has so few numbers that patients of different risk would get the same logit.
LOGITS_DTYPE = "float32"

# How large weights are sharded over devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> a mesh axis or None for each axis. Other weights are replicated.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "dense_1/kernel": (None, "model"),  # (inputs, units)
    "dense_2/kernel": ("model", None),
    "dense_1_members/kernel": (None, None, "model"),  # (members, inputs, units)
    "dense_2_members/kernel": (None, "model", None),
}

# Patterns of the paths of weights that ``build`` computes from the data; ``train.init_from`` keeps
# them as built.
WEIGHTS_FROM_DATA: tuple[str, ...] = ("additive/",)


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the configured model for training: inputs (batch, width) to logits (batch, members).

    Args:
        config: the configuration.
        preprocessing: fitted to the training split.
    """
    # === Layers ===
    inputs = keras.Input((preprocessing.width,), name="inputs")
    members = config.model.members if config.model.name in ENSEMBLES else 1
    x = inputs
    if members > 1:
        x = layers.RepeatVector(members, dtype=LOGITS_DTYPE, name="members")(x)
    logits = find(MODELS, config.model.name)(x, config, preprocessing)
    logits = layers.Reshape((members,), dtype=LOGITS_DTYPE)(logits)
    return keras.Model(inputs, logits, name=config.model.name)


def phases(config: Config) -> list[Phase]:
    """Return the single phase of training."""
    train = config.train
    return [Phase("all", train.epochs, train.learning_rate, decay_rows=DECAY_ROWS)]


def finalize(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """Recalibrate the trained model on the validation split and choose its operating point.

    Args:
        trained: the model after training.
        data: the splits of the run.
        config: the configuration.

    Returns:
        The model to save, with its version.
    """
    split, batch_size = data.validation, config.data.batch_size
    truth = split.targets
    logits = trained.predict_split(split, batch_size).mean(axis=-1)
    method, network = _recalibrate(trained.network, truth, logits, config)
    calibrated = replace(trained, network=network)
    risks = expit(calibrated.predict_split(split, batch_size)[:, 0])
    point = choose_operating_point(
        truth, risks, config.model.min_sensitivity, config.model.cost_ratio
    )
    preprocessing = replace(trained.preprocessing, recalibration=method, operating_point=point)
    content = json.dumps([calibrated.weights_sha256(), preprocessing.to_config()])
    version = hashlib.sha256(content.encode()).hexdigest()[:16]
    return replace(calibrated, preprocessing=replace(preprocessing, model_version=version))


def _mlp(x: Any, config: Config, initial_logit: float = 0.0) -> Any:
    """Build dense layers with dropout, whose logits start near ``initial_logit``."""
    for number, units in enumerate((config.model.width, 2 * config.model.width), start=1):
        he_stddev = (2 / x.shape[-1]) ** 0.5  # He et al., ICCV 2015
        x = _dense(x, units, he_stddev, config, f"dense_{number}")
        x = layers.Activation("relu", name=f"relu_{number}")(x)
        x = layers.Dropout(config.model.dropout, seed=config.train.seed + number)(x)
    return _dense(x, 1, 0.01, config, "deep", initial_logit)


def _dense(
    x: Any, units: int, stddev: float, config: Config, name: str, initial_bias: float = 0.0
) -> Any:
    """Apply a dense layer: (…, inputs) to (…, units).

    Args:
        x: (batch, inputs), or (batch, members, inputs).
        units: size of the output.
        stddev: standard deviation of the initial kernel.
        config: the configuration, for the seed.
        name: of the layer.
        initial_bias: initial value of all biases.
    """
    seed = config.train.seed + 1000 * sum(map(ord, name))  # layers differ in their initial weights
    return _dense_layer(
        x,
        units,
        name,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev, seed=seed),
        bias_initializer=keras.initializers.Constant(initial_bias),
    )(x)


def _intercept(weights: Sequence[float], config: Config, preprocessing: Preprocessing) -> float:
    """Return the intercept of a regression for the prevalence that the model sees in training."""
    # Class weights and oversampling raise the prevalence to one half.
    is_balanced = config.train.imbalance != "none"
    return float(weights[-1] - (logit(preprocessing.prevalence) if is_balanced else 0.0))


def _logistic_regression(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """Apply a trainable linear layer with the weights of the fitted logistic regression."""
    weights = np.array(preprocessing.logistic_weights, "float32")
    layer = _dense_layer(x, 1, "logistic")
    logits = layer(x)
    layer.kernel.assign(np.broadcast_to(weights[:-1, None], layer.kernel.shape))
    intercept = _intercept(preprocessing.logistic_weights, config, preprocessing)
    layer.bias.assign(np.broadcast_to(np.float32(intercept), layer.bias.shape))
    return logits


def _additive_model(x: Any, config: Config, preprocessing: Preprocessing) -> Any:
    """Apply the fitted regression with curves and pairs, frozen."""
    terms = Terms(preprocessing.knots, preprocessing.pairs, preprocessing.input_means, name="terms")
    layer = layers.Dense(1, trainable=False, dtype=LOGITS_DTYPE, name="additive")
    logits = layer(terms(x))
    weights = preprocessing.additive_weights
    layer.kernel.assign(np.array(weights[:-1], "float32")[:, None])
    layer.bias.assign([_intercept(weights, config, preprocessing)])
    return logits


def _dense_layer(x: Any, units: int, name: str, **options: Any) -> layers.Layer:
    """Create a dense layer for (batch, inputs), or one for each member of (batch, members, inputs).

    Args:
        x: the input of the layer.
        units: size of the output; logits, with 1 unit, are in float32.
        name: of the layer; those of members have another one, since their shapes differ.
        options: for the layer, such as initializers.
    """
    if units == 1:
        options["dtype"] = LOGITS_DTYPE
    if x.ndim == 2:  # EinsumDense would take twice the time
        return layers.Dense(units, name=name, **options)
    return layers.EinsumDense(
        "bmi,mio->bmo", (x.shape[1], units), bias_axes="mo", name=f"{name}_members", **options
    )


def _recalibrate(
    network: keras.Model, truth: np.ndarray, logits: np.ndarray, config: Config
) -> tuple[str, keras.Model]:
    """Fit the calibration curve on the validation split and append it to the network.

    Args:
        network: inputs to logits (batch, members).
        truth: (size,) outcomes of the validation split.
        logits: (size,) mean logits of the members.
        config: the configuration, with the method.

    Returns:
        The method and the network that outputs calibrated logits (batch, 1).
    """
    method = config.model.recalibration
    if method == "auto":
        fewest = min(truth.sum(), len(truth) - truth.sum())
        method = "isotonic" if fewest >= MIN_ISOTONIC_OUTCOMES else "platt"
    x, y = fit_isotonic(truth, logits) if method == "isotonic" else (np.zeros(0), np.zeros(0))
    layer = Recalibration(len(x), dtype=LOGITS_DTYPE, name="recalibration")
    calibrated = keras.Model(network.input, layer(network.output), name=network.name)
    if method == "isotonic":
        layer.x.assign(x)
        layer.y.assign(logit(y))
    elif method == "platt":
        # A model trained on balanced outcomes is off by the logit of the prevalence.
        shift = 0.0 if config.train.imbalance == "none" else float(logit(truth.mean()))
        options = {"prior_std": 1.0} if config.train.loss == "focal" else {}
        slope, intercept = fit_platt(truth, logits, shift, **options)
        layer.slope.assign(slope)
        layer.intercept.assign(intercept)
    return method, calibrated
