"""Sequences of tokens with unequal numbers of them, and a network that learns what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.engine import strategy
from {{ cookiecutter.package_name }}.engine.batches import (
    ShuffledSampler,
    training_batches,
)
from {{ cookiecutter.package_name }}.engine.cache import cache_split
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits, Split
from {{ cookiecutter.package_name }}.engine.metrics import MetricSums
from {{ cookiecutter.package_name }}.engine.optimizers import make_optimizer
from {{ cookiecutter.package_name }}.engine.recompute import recompute_layers
from {{ cookiecutter.package_name }}.engine.seeds import spread_seeds

SIZE, CONTEXT, VOCABULARY, UNITS = 22, 12, 16, 64
LENGTHS = np.random.default_rng(1).integers(3, CONTEXT + 2, SIZE)


@dataclass(frozen=True)
class Preprocessing:
    """Rows are what they are; the entries that have padding are cut."""

    max_length: int | None = CONTEXT + 1

    @classmethod
    def fit(cls, train: Split, config: Config) -> "Preprocessing":
        return cls()

    def prepare(self, raw: Any) -> Any:
        return raw

    def finish(self, prepared: Any) -> Any:
        return prepared

    def __call__(self, raw: Any) -> Any:
        return raw

    def lengths(self, prepared: Any) -> dict[str, Any]:
        length = tf.reduce_sum(tf.cast(prepared["weights"] >= 0, tf.int32), axis=1)
        return dict.fromkeys(("tokens", "weights"), length)

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def to_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        return cls()

    def notes(self) -> dict[str, Any]:
        return {}


def make_rows(size: int = SIZE) -> dict[str, np.ndarray]:
    """Return tokens (size, 13) int32 and weights (size, 13) float32, -1 where there is padding."""
    rng = np.random.default_rng(0)
    first = rng.integers(1, VOCABULARY, (size, 1))
    tokens = 1 + (first + np.arange(CONTEXT + 1)) % (VOCABULARY - 1)
    is_padding = np.arange(CONTEXT + 1) >= LENGTHS[:size, None]
    weights = np.where(is_padding, -1.0, rng.random(tokens.shape) < 0.7)
    weights[:, 0] = 0.0
    tokens = np.where(is_padding, 0, tokens)
    return {"tokens": tokens.astype("int32"), "weights": weights.astype("float32")}


def make_split(start: int = 0, end: int = SIZE) -> Split:
    """Return some of the rows."""
    with tf.device("CPU:0"):
        rows = {name: tf.constant(row[start:end]) for name, row in make_rows().items()}

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.gather(row, positions) for name, row in rows.items()}

    ids = np.arange(start, end)
    return Split(ids.astype(str), np.zeros(end - start, "int32"), fetch, in_memory=True)


def load(config: Config, preprocessing: Any) -> DatasetSplits:
    """Return 14, 4 and 4 rows."""
    parts = (make_split(0, 14), make_split(14, 18), make_split(18, SIZE))
    return DatasetSplits("sequences", "sequences", *parts)


def make_batch(prepared: Any, targets: Any, preprocessing: Any) -> tuple[Any, Any, Any]:
    """Return tokens, those that follow them, and the weights of these."""
    tokens, weights = prepared["tokens"], prepared["weights"]
    return {"tokens": tokens[:, :-1]}, tokens[:, 1:], tf.maximum(weights[:, 1:], 0.0)


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """Normalisation, two dense layers and dropout beside the residual path, except at padding."""

    def __init__(self, dropout: float, **options: Any) -> None:
        super().__init__(**options)
        self.rate = dropout
        self.norm = keras.layers.LayerNormalization()
        self.up = keras.layers.Dense(4 * UNITS, activation="gelu")
        self.down = keras.layers.Dense(UNITS)
        self.drop = keras.layers.Dropout(dropout)

    def build(self, shape: tuple[int | None, ...], *others: Any) -> None:
        self.norm.build(shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 4 * UNITS))
        super().build(shape)

    def call(self, x: Any, is_token: Any) -> Any:
        change = self.drop(self.down(self.up(self.norm(x))))
        return keras.ops.where(is_token[..., None], x + change, x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dropout": self.rate}


def build_network(dropout: float = 0.0, blocks: int = 2) -> keras.Model:
    """Return a network {"tokens": (batch, t)} -> logits (batch, t, 16)."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(VOCABULARY, UNITS, name="embedding")(tokens)
    for place in range(blocks):
        x = Block(dropout, name=f"block_{place}")(x, keras.ops.not_equal(tokens, 0))
    logits = keras.layers.Dense(VOCABULARY, dtype="float32", name="logits")(x)
    return keras.Model({"tokens": tokens}, logits)


def make_loss(config: Any = None, preprocessing: Any = None) -> keras.losses.Loss:
    """Return the loss of each next token."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclass
class Trained:
    """What some steps came to: metrics of each, and the parts that took them."""

    metrics: list[dict[str, float]]
    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    devices: strategy.Strategy

    @property
    def weights(self) -> list[np.ndarray]:
        """The weights in float32."""
        values = (keras.ops.convert_to_numpy(weight.value) for weight in self.network.weights)
        return [np.array(value, "float32") for value in values]

    @property
    def losses(self) -> list[float]:
        return [metrics["loss"] for metrics in self.metrics]


def train_some(
    words: Sequence[str] = (),
    batch_size: int = 6,
    dropout: float = 0.0,
    steps: int = 4,
    use_xla: bool = False,
    cuts: bool = True,
) -> Trained:
    """Train for some steps, on the devices and as the configuration says.

    Args:
        words: of the command line.
        batch_size: global, in rows.
        dropout: of the blocks.
        steps: of training; an epoch has four of six rows.
        use_xla: see ``Phase``.
        cuts: whether batches are cut to the length of their longest row.
    """
    # AdamW's first steps make much of differences in rounding.
    words = ["--train.optimizer", "sgd", *words, "--train.gradient_clip_norm", "0.5"]
    words += ["--train.schedule", "constant", "--train.warmup_fraction", "0"]
    config = load_config(words, environment={})
    devices = strategy.connect(config.runtime, {})
    keras.utils.set_random_seed(0)
    with devices.scope():
        network = build_network(dropout)
        spread_seeds(network, 0)
        optimizer = make_optimizer(config.train, 0.05, 10, 1e-4)
        optimizer.build(network.trainable_variables)
    shard = devices.divide(config.train.accumulate_steps)
    preprocessing = Preprocessing()
    split = make_split()
    if cuts:
        split = cache_split(split, preprocessing, "none", "sequences")
    sampler = ShuffledSampler(len(split), batch_size, 0, shard.multiple, split.lengths)
    batches = training_batches(
        split,
        preprocessing,
        sampler=sampler,
        last_step=steps,
        make_batch=make_batch,
        shard=shard,
    )
    sums = MetricSums([keras.metrics.SparseCategoricalAccuracy(name="accuracy")])
    parts = config.train.accumulate_steps
    with recompute_layers(network, config.train.recompute):
        compiled = devices.compile(
            network, optimizer, make_loss(), sums, parts=parts, use_xla=use_xla
        )
        fed, metrics = iter(compiled.feed(batches)), []
        for _ in range(steps):
            compiled.set_sums(sums.zeros())
            compiled.train(fed, 1, False)
            metrics.append(sums.results(compiled.read_sums()))
    return Trained(metrics, network, optimizer, devices)
