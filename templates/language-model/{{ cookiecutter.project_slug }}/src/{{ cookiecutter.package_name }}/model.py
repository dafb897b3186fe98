"""Models: from tokens and segments (batch, time) int32 to logits (batch, time, vocabulary).

A token's logits depend on the earlier tokens of its own segment alone. To add a model, write a
function like those here and add a line to ``MODELS`` in ``registry.py``.
"""

from __future__ import annotations

import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from . import objective
from .config import Config
from .engine.errors import UsageProblem
from .engine.interfaces import Phase
from .engine.lookup import find
from .networks import gpt as networks
from .networks import presets, tuning
from .registry import MODELS

if TYPE_CHECKING:
    from .preprocessing import Preprocessing

Tensor = Any  # of Keras' backend; Keras has no types

# Unless configured. The decay is large, as texts that are read many times need it (Kim et al. 2025,
# "Pre-training under infinite compute").
EPOCHS, LEARNING_RATE, WEIGHT_DECAY = 14, 2e-3, 1.0
TUNING_EPOCHS = 3  # of presets and of preferences
TUNING_RATES = {"full": 2e-5, "lora": 2e-4, "qlora": 2e-4}  # of presets
TUNING_DECAY = 0.01  # of presets and of preferences
PREFERENCE_RATE = 0.1  # of the rate that the loss next_token has
SHORT_RUN = 200  # steps, in which less is won than it takes to compile them with XLA
DROPOUT = {"gpt": 0.2, "gpt2": 0.1}  # unless configured


def gpt(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build a transformer from scratch: with rotary positions blocks as Llama's, Touvron et al.
    2023, with learned ones as GPT-2's.

    Args:
        config: ``model.positions`` chooses the form.
        preprocessing: its tokens have an embedding each.
    """
    if config.model.positions == "learned":
        return _build(config, preprocessing, form="gpt2")
    head_dim = config.model.embedding_dim // config.model.heads
    if head_dim % 2:
        raise UsageProblem(
            f"model.heads: {config.model.heads} leave {head_dim} of model.embedding_dim for each; "
            "rotary positions need an even number."
        )
    return _build(config, preprocessing, form="llama")


def gpt2(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build GPT-2 from scratch: Radford et al. 2019.

    Args:
        config: ``model.positions`` does not count: they are learned.
        preprocessing: its tokens have an embedding each.
    """
    rate = _dropout(config)
    return _build(
        config, preprocessing, form="gpt2", activation="gelu_tanh", attention_dropout=rate
    )


def preset(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the open model ``model.preset`` with its weights, as ``model.tuning`` says.

    Args:
        config: of the model's fields it reads preset, tuning, and those of the tuning.
        preprocessing: has the preset's own tokens.
    """
    return presets.build(config, preprocessing)


# Sharding of large weights (runtime.strategy model_parallel): a pattern of the weight's path -> the
# mesh axis of each of its axes. Other weights are replicated.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "^token_embedding/embeddings": (None, "model"),  # (token ids, embedding_dim)
    "block_.*/query_key_value/kernel": (None, "model"),  # (dim, heads * 3 * head_dim)
    "block_.*/query_key_value/bias": ("model",),
    "block_.*/attention_output/kernel": ("model", None),
    "block_.*/feedforward_(up|gate)/kernel": (None, "model"),
    "block_.*/feedforward_up/bias": ("model",),
    "block_.*/feedforward_down/kernel": ("model", None),
    **presets.SHARDING_RULES,
}


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the model ``config.model.name``; for ``train.loss dpo`` one of pairs of answers.

    Args:
        preprocessing: fitted.

    Raises:
        UsageProblem: fields of the model do not fit together.
    """
    _check(config)
    network = find(MODELS, config.model.name)(config, preprocessing)
    if config.train.loss == "dpo":
        return objective.build_preference_model(network, config.train.dpo_beta)
    return network


def is_preset(config: Config) -> bool:
    """Return whether the model starts from a preset."""
    return config.model.name == "preset"


def phases(config: Config) -> list[Phase]:
    """Return the one phase of training."""
    is_preference, from_preset = config.train.loss == "dpo", is_preset(config)
    is_tuned = from_preset or is_preference
    epochs, decay = (TUNING_EPOCHS, TUNING_DECAY) if is_tuned else (EPOCHS, WEIGHT_DECAY)
    rate = TUNING_RATES[config.model.tuning] if from_preset else LEARNING_RATE
    if is_preference:
        rate *= PREFERENCE_RATE
    return [
        Phase(
            config.model.tuning if from_preset else "all",
            config.train.epochs or epochs,
            config.train.learning_rate or rate,
            weight_decay=decay if config.train.weight_decay is None else config.train.weight_decay,
            use_xla=_is_worth_compiling(config),
        )
    ]


def infer(network: keras.Model, inputs: dict[str, Tensor]) -> Tensor:
    """Return how likely a network thinks that the texts of rows are.

    Args:
        network: as ``build`` makes it, or what it was before ``train.loss dpo``.
        inputs: ``tokens`` and ``segments`` (batch, time + 1) int32; of pairs, with ``weights``, all
            (batch, time + 1, 2).

    Returns:
        For each next token the logarithm of its probability, and 1 where it is the likeliest, else
        0 (batch, time, 2) float32; for pairs the sums over each answer (batch, 2).
    """
    network = objective.find_plain_network(network)
    # The engine compiles it on TensorFlow.
    return (_infer_on_jax if keras.backend.backend() == "jax" else _infer)(network, inputs)


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Map layers with weights for each token or place to the axis and its entries."""
    places = tuple(str(place) for place in range(preprocessing.context))
    return {
        networks.EMBEDDING: (0, _name_tokens(preprocessing.tokenizer)),
        networks.POSITIONS: (0, places),
    }


def frozen_weights(network: keras.Model) -> list[keras.Variable]:
    """Return the weights of a preset that no training changes: all but the adapters' of LoRA."""
    return list(tuning.frozen_weights(network))


def _infer(network: keras.Model, inputs: dict[str, Tensor]) -> Tensor:
    if len(inputs["tokens"].shape) == 3:
        return objective.pair_log_probabilities(network, inputs)
    tokens, segments = inputs["tokens"], inputs["segments"]
    logits = network({"tokens": tokens[:, :-1], "segments": segments[:, :-1]}, training=False)
    logits, targets = ops.cast(logits, "float32"), tokens[:, 1:]  # (batch, time, vocabulary)
    likely = ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), targets)
    scores = objective.token_log_probabilities(logits, targets)
    return ops.stack([scores, ops.cast(likely, "float32")], axis=-1)


def _infer_on_jax(network: keras.Model, inputs: dict[str, Tensor]) -> Tensor:
    if network not in _COMPILED:
        import jax

        # The network keeps its function alive, and must not be kept alive by it.
        reference = weakref.ref(network)

        def run(weights: list[Tensor], inputs: dict[str, Tensor]) -> Tensor:
            network = reference()
            assert network is not None, "it calls this function"
            with keras.StatelessScope(zip(network.variables, weights, strict=True)):
                return _infer(network, inputs)

        _COMPILED[network] = jax.jit(run)
    used = {name: inputs[name] for name in ("tokens", "segments", "weights") if name in inputs}
    return _COMPILED[network]([variable.value for variable in network.variables], used)


# Functions of ``infer`` on JAX, which otherwise runs operation by operation.
_COMPILED: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()


def _build(config: Config, preprocessing: Preprocessing, **options: Any) -> keras.Model:
    model = config.model
    return networks.build(
        preprocessing.tokenizer.size,
        preprocessing.context,
        model.layers,
        model.heads,
        model.embedding_dim,
        dropout=_dropout(config),
        seed=config.train.seed,
        name=model.name,
        **options,
    )


def _is_worth_compiling(config: Config) -> bool:
    """Return whether XLA, which makes steps of our own networks quicker, has steps enough to."""
    is_short = config.train.max_steps is not None and config.train.max_steps < SHORT_RUN
    return not (is_short or is_preset(config) or config.train.loss == "dpo")


def _dropout(config: Config) -> float:
    rate = config.model.dropout
    return DROPOUT.get(config.model.name, 0.0) if rate is None else rate


def _check(config: Config) -> None:
    model = config.model
    if is_preset(config):
        return
    if model.preset is not None:
        raise UsageProblem(
            f"model.preset: {model.name} is trained from scratch; set model.name preset."
        )
    if model.tuning != "full":
        raise UsageProblem(
            f"model.tuning: {model.tuning} is for presets; {model.name} trains all its weights."
        )
    if model.embedding_dim % model.heads:
        raise UsageProblem(
            f"model.heads: {model.heads} do not divide model.embedding_dim {model.embedding_dim}."
        )


def _name_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Return a name of each token that no other of the vocabulary has."""
    special = {token_id: text for text, token_id in tokenizer.special_tokens.items()}
    seen: Counter[str] = Counter()
    names = list[str]()
    for token_id in range(tokenizer.size):
        name = special.get(token_id) or tokenizer.token_bytes(token_id).hex()
        seen[name] += 1
        names.append(f"{name}#{seen[name]}")
    return tuple(names)
