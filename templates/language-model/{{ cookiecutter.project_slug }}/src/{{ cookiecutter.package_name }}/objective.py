"""Losses and metrics of a language model, and the text of its predictions.

Rows are (batch, time) tokens, and outputs of the network logits (batch, time, vocabulary): of the
token that follows each. Preference pairs have a last axis of 2, the chosen and the rejected answer,
and train a network around the language model whose output is one margin (batch, 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from .config import Config
from .engine.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .datasets.store import TokenSplit
    from .engine.artifact import Artifact
    from .engine.interfaces import DatasetSplits
    from .preprocessing import Preprocessing

REFERENCE_ROWS = 16  # pairs that the reference reads at once: bounds the memory of logits
PAIR_PARTS = ("tokens", "segments", "weights")
MARGIN_LAYER = "preference_margin"


# === Losses and metrics ===
# Each function takes the configuration and the preprocessing; add your own here.


@keras.saving.register_keras_serializable(__package__)
class TokenCrossEntropy(keras.losses.Loss):
    """Cross-entropy of each next token, in float32 whatever the precision of the logits."""

    def __init__(self, name="token_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return -token_log_probabilities(y_pred, y_true)  # (batch, time)


def next_token(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Cross-entropy of the next token; of chats, of the answers' tokens alone."""
    if preprocessing.kind == "pairs":
        raise UsageProblem(
            "train.loss: 'next_token' learns texts and chats, and the data are preference pairs; "
            "use dpo."
        )
    return TokenCrossEntropy()


def dpo(config: Config, preprocessing: Preprocessing) -> keras.losses.Loss:
    """Direct preference optimisation (Rafailov et al. 2023), of the margins of pairs."""
    if preprocessing.kind != "pairs":
        raise UsageProblem(
            "train.loss: 'dpo' learns preference pairs, and the data are "
            f"{'chats' if preprocessing.kind == 'chat' else 'texts'}; use next_token, or give rows "
            "with prompt, chosen and rejected."
        )
    # -log sigmoid(margin): the chosen answer is the one that was preferred.
    return keras.losses.BinaryCrossentropy(from_logits=True, name="dpo")


def accuracy(config: Config, preprocessing: Preprocessing) -> keras.metrics.Metric:
    """Share of tokens that are the likeliest ones; of pairs, those that it orders rightly."""
    if preprocessing.kind == "pairs":
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


# === Batches ===


def make_batch(
    prepared: Mapping[str, tf.Tensor], targets: tf.Tensor, preprocessing: Preprocessing
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor | None]:
    """Cut prepared rows into what the network reads and what it is to predict, inside tf.data.

    Args:
        prepared: tokens and segments (batch, time + 1) int32, and weights, the same in float32; of
            pairs with a last axis of 2, and reference (batch, 2).
        targets: of the split; not needed, since each token is the target of those before it.
        preprocessing: knows whether rows are pairs.

    Returns:
        Inputs by name, targets and weights (batch, time); of pairs targets (batch, 1), all 1, and
        no weights.
    """
    if preprocessing.kind == "pairs":
        names = (*PAIR_PARTS, "reference")
        rows = tf.shape(prepared["tokens"])[0]
        return {name: prepared[name] for name in names}, tf.ones((rows, 1), tf.float32), None
    inputs = {name: prepared[name][:, :-1] for name in ("tokens", "segments")}
    return inputs, prepared["tokens"][:, 1:], prepared["weights"][:, 1:]


# === Log-probabilities ===


def token_log_probabilities(logits: Any, targets: Any) -> Any:
    """Return the log-probability of each target (batch, time) float32.

    Args:
        logits: (batch, time, vocabulary), of any precision.
        targets: (batch, time) tokens.
    """
    logits = ops.cast(logits, "float32")
    places = ops.expand_dims(ops.cast(targets, "int32"), -1)
    own = ops.squeeze(ops.take_along_axis(logits, places, axis=-1), -1)
    return own - ops.logsumexp(logits, axis=-1)


def pair_log_probabilities(network: Any, pairs: Mapping[str, Any]) -> Any:
    """Return the log-probabilities of both answers of pairs (batch, 2) float32, from one pass.

    Args:
        network: the language model.
        pairs: tokens, segments and weights (batch, time + 1, 2).
    """
    # The answers of a pair stay neighbours, so that a batch that is divided by rows stays so.
    tokens, segments, weights = (
        ops.reshape(ops.transpose(pairs[name], (0, 2, 1)), (-1, ops.shape(pairs[name])[1]))
        for name in PAIR_PARTS
    )  # (2 * batch, time + 1)
    inputs = {"tokens": tokens[:, :-1], "segments": segments[:, :-1]}
    logits = network(inputs, training=False)
    found = token_log_probabilities(logits, tokens[:, 1:])
    return ops.reshape(ops.sum(found * ops.cast(weights[:, 1:], "float32"), axis=-1), (-1, 2))


# === Preferences ===


@keras.saving.register_keras_serializable(__package__)
class PreferenceMargin(keras.layers.Layer):
    """By how much a language model has come to prefer the chosen answer of each pair (batch, 1).

    That is beta times the change of the log-odds of chosen against rejected since the reference.
    Dropout is off, as it was for the reference: its noise would count as a change.

    Args:
        network: the language model.
        beta: how much straying from the reference costs.
    """

    def __init__(self, network, beta, **kwargs):
        super().__init__(**kwargs)
        self.network, self.beta = network, beta

    def call(self, inputs, training=None):
        found = pair_log_probabilities(self.network, inputs)
        change = found - ops.cast(inputs["reference"], "float32")
        return self.beta * (change[:, :1] - change[:, 1:])

    def compute_output_shape(self, input_shape):
        return (input_shape["reference"][0], 1)

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor((inputs["reference"].shape[0], 1), dtype="float32")

    def get_config(self):
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "beta": self.beta}

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def build_preference_model(network: keras.Model, beta: float) -> keras.Model:
    """Return a network of preference pairs around a language model, for ``dpo``.

    Args:
        network: tokens and segments (batch, time) -> logits; its weights are trained.
        beta: ``train.dpo_beta``.
    """
    inputs = {
        "tokens": keras.Input((None, 2), dtype="int32", name="tokens"),
        "segments": keras.Input((None, 2), dtype="int32", name="segments"),
        "weights": keras.Input((None, 2), dtype="float32", name="weights"),
        "reference": keras.Input((2,), dtype="float32", name="reference"),
    }
    # float32: a difference of sums of log-probabilities is small beside the sums.
    margin = PreferenceMargin(network, beta, name=MARGIN_LAYER, dtype="float32")(inputs)
    return keras.Model(inputs, margin, name="preference_model")


def find_plain_network(network: keras.Model) -> keras.Model:
    """Return the language model itself, whether or not it is inside ``build_preference_model``."""
    for layer in network.layers:
        if isinstance(layer, PreferenceMargin):
            return layer.network
    return network


def finalize(model: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """Return the model to save: the language model, without what ``dpo`` has put around it."""
    from .engine.artifact import Artifact

    plain = find_plain_network(model.network)
    if plain is model.network:
        return model
    return Artifact(plain, model.preprocessing, model.task, model.attachments)


def measure_reference(config: Config, split: TokenSplit) -> np.ndarray:
    """Return the log-probabilities of both answers under the model that ``dpo`` begins with.

    Args:
        config: names it: ``train.init_from``, else ``model.preset``.
        split: pairs.

    Returns:
        (size, 2) float32: of the chosen and the rejected answers.

    Raises:
        UsageProblem: there is no such model.
    """
    run = _compile_reference(_load_reference(config, split))
    found = []
    for start in range(0, len(split), REFERENCE_ROWS):
        rows = split.read_rows(np.arange(start, min(start + REFERENCE_ROWS, len(split))))
        longest = int((np.asarray(rows["segments"]) > 0).any((0, 2)).sum())
        # Few lengths: on some backends each is a program of its own.
        longest = min(1 << max(4, longest.bit_length()), split.context + 1)
        parts = {name: np.asarray(rows[name])[:, :longest] for name in PAIR_PARTS}
        found.append(np.asarray(ops.convert_to_numpy(run(parts)), "float32"))
    return np.concatenate(found) if found else np.zeros((0, 2), "float32")


def _compile_reference(network: keras.Model) -> Any:
    """Return ``pair_log_probabilities`` of a network as one program."""
    if keras.backend.backend() == "jax":
        import jax

        @jax.jit
        def run(weights: Any, parts: Any) -> Any:
            def call(inputs: Any, training: bool | None) -> Any:
                return network.stateless_call(*weights, inputs, training=False)[0]

            return pair_log_probabilities(call, parts)

        variables = (network.trainable_variables, network.non_trainable_variables)
        values = [[variable.value for variable in group] for group in variables]
        return lambda parts: run(values, parts)
    spec = {
        name: tf.TensorSpec((None, None, 2), "float32" if name == "weights" else "int32")
        for name in PAIR_PARTS
    }
    return tf.function(lambda parts: pair_log_probabilities(network, parts), [spec])


def _load_reference(config: Config, split: TokenSplit) -> keras.Model:
    name = config.train.init_from
    if name == "latest":
        raise UsageProblem(
            "train.init_from: 'latest' will be another run when this model is evaluated; with dpo, "
            "name the run by its id."
        )
    if not name and not config.model.preset:
        raise UsageProblem(
            "train.loss: 'dpo' changes a model that answers already; name it with train.init_from "
            "or model.preset."
        )
    # Not at the top: these modules import this one.
    from .engine.trained_models import find_artifact
    from .model import build
    from .preprocessing import Preprocessing
    from .task import task

    if name:
        artifact, _ = find_artifact(name, task, config, "train.init_from")
        if artifact.preprocessing.tokenizer.to_json() != split.tokenizer.to_json():
            raise UsageProblem(
                f"train.init_from: {name!r} has other tokens than the pairs, whose answers it is "
                "to be the reference for."
            )
        return find_plain_network(artifact.network)
    # Adapters change nothing before they are trained, so this is the preset itself.
    train = config.train.model_copy(update={"loss": "next_token"})
    plain = config.model_copy(update={"train": train})
    return find_plain_network(build(plain, Preprocessing.fit(split, config)))


# === Predictions ===


def decode_predictions(outputs: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """Turn outputs of ``infer`` into rows, for what has no prompt to be continued.

    Args:
        outputs: (batch, time, 2) log-probabilities of the tokens, and 1 where each is the likeliest
            one; of pairs (batch, 2) log-probabilities of the answers.
        preprocessing: knows whether rows are pairs.

    Returns:
        ``prediction`` and ``scores`` each: the mean log-probability of a token in nats; of pairs,
        which of the answers is likelier.
    """
    if preprocessing.kind == "pairs":
        names = ("chosen", "rejected")
        return [
            {
                "prediction": names[int(row[1] > row[0])],
                "scores": dict(zip(names, map(float, row), strict=True)),
            }
            for row in outputs
        ]
    means = outputs.astype("float64").mean(axis=1)  # (batch, 2)
    return [
        {"prediction": float(row[0]), "scores": {"log_probability": row[0], "likeliest": row[1]}}
        for row in means.tolist()
    ]
