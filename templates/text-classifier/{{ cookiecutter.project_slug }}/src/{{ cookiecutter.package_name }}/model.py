"""Models: from token ids (batch, tokens), with padding id 0 at the end, to logits (batch, classes).

A text's logits must not depend on its padding. To add a model, write a function like those here
and add a line to ``MODELS`` in ``registry.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from .config import Config
from .engine.errors import UsageProblem
from .engine.interfaces import DatasetSplits, Phase
from .engine.lookup import find
from .networks import presets, views
from .networks.ngrams import fit as fit_ngrams
from .registry import MODELS

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .preprocessing import Preprocessing

Tensor = Any  # of Keras' backend; Keras has no types
Shape = tuple[int | None, ...]  # None: any size

HEAD = "logits"  # name of the last layer, which has weights for each class
EPOCHS, LEARNING_RATE = 20, 2e-3  # unless configured
KERNEL_SIZES = (2, 4, 7)  # tokens that a filter of the CNN spans
FILTERS = 100  # of each size
NUM_LAYERS, NUM_HEADS = 2, 4  # of the transformer
MAX_NGRAM_TEXTS = 50_000  # training texts of the n-grams' logistic regression


def bag(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build TF-IDF with logistic regression, starting from the exact fit.

    Args:
        config: the weights are fitted at once, so that training only refines them.
        preprocessing: fitted, as the regression is fitted to its training split.
    """
    # === Layers ===
    tokens = _token_input()
    return keras.Model(tokens, _ngram_logits(tokens, preprocessing), name="bag")


def cnn(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build convolutions over two, four and seven tokens, max-pooled over time: Kim, EMNLP 2014.

    Args:
        config: of the model's fields it reads ``embedding_dim`` and ``dropout``.
        preprocessing: its vocabulary has an embedding for each token.
    """
    # === Layers ===
    tokens = _token_input()
    x = _convolve(tokens, config, preprocessing)
    return keras.Model(tokens, _head(x, config, preprocessing), name="cnn")


def bag_cnn(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the logistic regression of n-grams, kept as fitted, blended with the CNN.

    How much the CNN counts is decided on the validation split, see ``finalize``.

    Args:
        config: of the CNN, see ``cnn``.
        preprocessing: fitted, see ``bag``.
    """
    # === Layers ===
    tokens = _token_input()
    fitted = _ngram_logits(tokens, preprocessing, trainable=False)
    network = _head(_convolve(tokens, config, preprocessing), config, preprocessing)
    logits = views.LogitBlend(dtype="float32", name=views.NAME)([fitted, network])
    return keras.Model(tokens, logits, name="bag_cnn")


def bilstm(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build a bidirectional LSTM: Graves & Schmidhuber, Neural Networks 18, 2005.

    Args:
        config: each direction has half of ``model.embedding_dim`` units.
        preprocessing: its vocabulary has an embedding for each token.
    """
    # === Layers ===
    tokens = _token_input()
    mask = ops.not_equal(tokens, 0)  # (batch, tokens)
    x = _embed(tokens, config, preprocessing)
    lstm = layers.LSTM(config.model.embedding_dim // 2, return_sequences=True, name="lstm")
    # The mask keeps the direction that begins at the end from reading the padding first.
    x = layers.Bidirectional(lstm, name="bilstm")(x, mask=mask)  # (batch, tokens, embedding_dim)
    return keras.Model(tokens, _head(_mean_pool(x, mask), config, preprocessing), name="bilstm")


def transformer(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build an encoder of two pre-norm blocks from scratch: Vaswani et al., NeurIPS 2017.

    Args:
        config: ``model.embedding_dim`` is divided among four heads.
        preprocessing: its ``sequence_length`` is the number of positions that are learnt.
    """
    # === Layers ===
    tokens = _token_input()
    mask = ops.not_equal(tokens, 0)  # (batch, tokens)
    seed, hidden_dim = config.train.seed, config.model.embedding_dim
    x = _embed(tokens, config, preprocessing)
    x = PositionEmbedding(preprocessing.sequence_length, name="positions")(x)
    for number in range(NUM_LAYERS):
        name = f"block_{number + 1}"
        y = layers.LayerNormalization(name=f"{name}_attention_norm")(x)
        # (batch, 1, tokens): every token sees all tokens but the padding.
        y = layers.MultiHeadAttention(NUM_HEADS, hidden_dim // NUM_HEADS, name=f"{name}_attention")(
            y, y, attention_mask=ops.expand_dims(mask, 1)
        )
        x = x + layers.Dropout(0.1, seed=seed)(y)
        y = layers.LayerNormalization(name=f"{name}_dense_norm")(x)
        # (batch, tokens, 4 hidden_dim)
        y = layers.Dense(4 * hidden_dim, activation="gelu", name=f"{name}_up")(y)
        y = layers.Dense(hidden_dim, name=f"{name}_down")(y)
        x = x + layers.Dropout(0.1, seed=seed)(y)
    x = layers.LayerNormalization(name="norm")(x)
    return keras.Model(
        tokens, _head(_mean_pool(x, mask), config, preprocessing), name="transformer"
    )


@dataclass(frozen=True)
class PresetModel:
    """A pretrained encoder of KerasHub with a new head: Devlin et al., NAACL 2019.

    Attributes:
        preset: used unless ``model.preset`` names another; None: ``model.preset`` is required.
    """

    preset: str | None = None

    def __call__(self, config: Config, preprocessing: Preprocessing) -> keras.Model:
        tokens, preset = _token_input(), preset_for(config)
        assert preset is not None, "the preprocessing has refused a model without a preset"
        x = presets.encode(tokens, preset, config, preprocessing)
        return keras.Model(tokens, _head(x, config, preprocessing), name=config.model.name)


BERT = PresetModel("bert_base_en_uncased")
BERT_TINY = PresetModel("bert_tiny_en_uncased")
BERT_MULTILINGUAL = PresetModel("bert_base_multi")
PRESET = PresetModel()

# Sharding of large weights (runtime.strategy model_parallel): a pattern of the weight's path -> the
# mesh axis of each of its axes. Other weights are replicated.
SHARDING_RULES: dict[str, tuple[str | None, ...]] = {
    "tokens/embeddings": (None, "model"),  # (token ids, embedding_dim)
    "conv_.*/kernel": (None, None, "model"),  # (tokens, embedding_dim, filters)
    "token_embedding/embeddings": (None, "model"),  # of presets, like the next three
    "feedforward_intermediate_dense/kernel": (None, "model"),
    "feedforward_output_dense/kernel": ("model", None),
    "self_attention_layer/(query|key|value)/kernel": (None, "model", None),
    "block.*_up/kernel": (None, "model"),
    "block.*_down/kernel": ("model", None),
    "block.*_attention/(query|key|value)/kernel": (
        None,
        "model",
        None,
    ),  # (dim, heads, head_dim)
}

# Patterns of paths of weights that ``build`` computes from the data; ``train.init_from`` does not
# overwrite them.
WEIGHTS_FROM_DATA: tuple[str, ...] = ("ngrams/",)


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Build the model ``config.model.name``.

    Args:
        preprocessing: fitted, as n-grams are counted in its training split.

    Raises:
        UsageProblem: a preset is missing or takes shorter texts only.
    """
    return find(MODELS, config.model.name)(config, preprocessing)


def phases(config: Config) -> list[Phase]:
    """Return the one phase of training; for a pretrained encoder, as ``model.tuning`` says."""
    pretrained = preset_for(config) is not None
    if pretrained and config.model.tuning != "frozen":
        return [presets.tuning_phase(config)]
    epochs, rate = config.train.epochs or EPOCHS, config.train.learning_rate or LEARNING_RATE
    if pretrained:
        return [Phase("frozen", epochs, rate, presets.freeze)]
    return [Phase("all", epochs, rate)]


def preset_for(config: Config) -> str | None:
    """Return the preset of the configured model, or None if it has none.

    Raises:
        UsageProblem: the model needs ``model.preset``, which is not set.
    """
    model = find(MODELS, config.model.name)
    if not isinstance(model, PresetModel):
        return None
    name = config.model.preset or model.preset
    if name is None:
        raise UsageProblem(
            "model.preset: this model needs one, such as kaggle://…, hf://… or a folder."
        )
    return name


def finalize(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """Fit the blend of n-grams and network on the validation split, where the model has one.

    Args:
        trained: its blend is changed in place; other models are returned unchanged.
        data: of its splits the validation split is read: the n-grams know the training texts by
            heart, and would seem to need no network.
        config: tells the model and the batch size.
    """
    if config.model.name == "bag_cnn":
        views.fit_blend(trained, data.validation, config.data.batch_size)
    return trained


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Map layers with weights for each class or token to the axis and its entries."""
    tokens = ("<padding>", "<unknown>", *preprocessing.vocabulary)
    return {
        HEAD: (-1, preprocessing.classes),
        "tokens": (0, tokens),
    }


@keras.saving.register_keras_serializable(__package__)
class PositionEmbedding(layers.Layer):
    """Add a learnt embedding of each token's position (batch, tokens, hidden_dim).

    As KerasHub's layer of this name, which only the extra ``presets`` would bring.

    Args:
        sequence_length: tokens of the longest text.
    """

    def __init__(self, sequence_length: int, **options: Any) -> None:
        super().__init__(**options)
        self.sequence_length = sequence_length

    def build(self, shape: Shape) -> None:
        self.embeddings = self.add_weight((self.sequence_length, shape[-1]), name="embeddings")

    def call(self, x: Tensor) -> Tensor:
        return x + ops.cast(self.embeddings[: ops.shape(x)[1]], x.dtype)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sequence_length": self.sequence_length}


def _token_input() -> Tensor:
    # Any number of tokens: batches are padded to their own longest text.
    return keras.Input((None,), dtype="int32", name="tokens_in")


def _embed(tokens: Tensor, config: Config, preprocessing: Preprocessing) -> Tensor:
    layer = layers.Embedding(preprocessing.num_ids, config.model.embedding_dim, name="tokens")
    return layer(tokens)  # (batch, tokens, embedding_dim)


def _convolve(tokens: Tensor, config: Config, preprocessing: Preprocessing) -> Tensor:
    """Return the largest outputs of the filters (batch, 3 * FILTERS) of token ids."""
    mask = ops.not_equal(tokens, 0)  # (batch, tokens)
    x = _mask_padding(_embed(tokens, config, preprocessing), mask)
    pooled = []
    for size in KERNEL_SIZES:
        name = f"conv_{size}"
        # (batch, tokens, FILTERS)
        y = layers.Conv1D(FILTERS, size, padding="same", activation="relu", name=name)(x)
        # Padding is set to 0, which no output of a ReLU is below.
        pooled.append(layers.GlobalMaxPooling1D(name=f"{name}_max")(_mask_padding(y, mask)))
    return layers.Concatenate(name="pooled")(pooled)


def _mask_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Set padding to zero: features (batch, tokens, dim), mask (batch, tokens)."""
    return x * ops.expand_dims(ops.cast(mask, x.dtype), -1)


def _mean_pool(x: Tensor, mask: Tensor) -> Tensor:
    """Average over the tokens of each text (batch, dim); zeros for a text without tokens."""
    count = ops.maximum(ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True), 1.0)
    return ops.sum(_mask_padding(x, mask), axis=1) / ops.cast(count, x.dtype)


def _ngram_logits(tokens: Tensor, preprocessing: Preprocessing, trainable: bool = True) -> Tensor:
    """Return logits (batch, classes) of token ids, by the regression fitted to training texts."""
    spaceless = preprocessing.tokenizer in ("character", "character_ngram")
    assert preprocessing.train is not None, "only a preprocessing that was fitted is built on"
    positions = preprocessing.training_sample(MAX_NGRAM_TEXTS)
    layer = fit_ngrams(
        preprocessing.training_batches(positions),
        preprocessing.encode_targets(preprocessing.train.targets[positions]),
        len(preprocessing.classes),
        max_n=3 if spaceless else 2,  # a character says less than a word
        trainable=trainable,
        dtype="float32",
        name="ngrams",
    )
    return layer(tokens)


def _head(x: Tensor, config: Config, preprocessing: Preprocessing) -> Tensor:
    if config.model.dropout:
        x = layers.Dropout(config.model.dropout, seed=config.train.seed, name="dropout")(x)
    # float32 in any precision: a softmax over half-precision logits loses too much.
    return layers.Dense(len(preprocessing.classes), dtype="float32", name=HEAD)(x)
