"""Models by name. Each takes token numbers (batch, tokens), 0 being padding at the end, and gives
logits (batch, classes). What it gives for a text does not depend on the padding.

To add one, write a function as those here and add a line to ``MODELS`` in ``registry.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

HEAD = "logits"
EPOCHS, RATE = 20, 2e-3  # where the configuration says nothing else
WIDTHS = (2, 4, 7)  # tokens that a filter of the CNN sees
FILTERS = 100
BLOCKS, HEADS = 2, 4  # of the transformer
MOST_FITTED = 50_000  # training texts that a logistic regression is fitted to


def bag(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """TF-IDF with logistic regression, begun where it is fitted exactly."""
    # === Layers ===
    tokens = _tokens()
    return keras.Model(tokens, _ngram_logits(tokens, preprocessing), name="bag")


def cnn(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Convolutions over three to five tokens, the largest answer of each: Kim, EMNLP 2014."""
    # === Layers ===
    tokens = _tokens()
    x = _convolved(tokens, config, preprocessing)
    return keras.Model(tokens, _head(x, config, preprocessing), name="cnn")


def bag_cnn(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """The logistic regression of n-grams, which stays as it was fitted, and convolutions, which
    count as far as the validation split finds them useful."""
    # === Layers ===
    tokens = _tokens()
    fitted = _ngram_logits(tokens, preprocessing, trainable=False)
    network = _head(_convolved(tokens, config, preprocessing), config, preprocessing)
    logits = views.Views(dtype="float32", name=views.NAME)([fitted, network])
    return keras.Model(tokens, logits, name="bag_cnn")


def bilstm(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """A recurrent network in both directions: Graves & Schmidhuber, Neural Networks 18, 2005."""
    # === Layers ===
    tokens = _tokens()
    mask = ops.not_equal(tokens, 0)
    x = _embedded(tokens, config, preprocessing)
    lstm = layers.LSTM(config.model.width // 2, return_sequences=True, name="lstm")
    x = layers.Bidirectional(lstm, name="both_ways")(x, mask=mask)
    return keras.Model(tokens, _head(_mean(x, mask), config, preprocessing), name="bilstm")


def transformer(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """An encoder of two pre-norm blocks from scratch: Vaswani et al., NeurIPS 2017."""
    # === Layers ===
    tokens = _tokens()
    mask = ops.not_equal(tokens, 0)
    seed, width = config.train.seed, config.model.width
    x = _embedded(tokens, config, preprocessing)
    x = Positions(preprocessing.max_tokens, name="positions")(x)
    for number in range(BLOCKS):
        name = f"block_{number + 1}"
        y = layers.LayerNormalization(name=f"{name}_attention_norm")(x)
        y = layers.MultiHeadAttention(HEADS, width // HEADS, name=f"{name}_attention")(
            y, y, attention_mask=ops.expand_dims(mask, 1)
        )
        x = x + layers.Dropout(0.1, seed=seed)(y)
        y = layers.LayerNormalization(name=f"{name}_dense_norm")(x)
        y = layers.Dense(4 * width, activation="gelu", name=f"{name}_up")(y)
        y = layers.Dense(width, name=f"{name}_down")(y)
        x = x + layers.Dropout(0.1, seed=seed)(y)
    x = layers.LayerNormalization(name="norm")(x)
    return keras.Model(tokens, _head(_mean(x, mask), config, preprocessing), name="transformer")


@dataclass(frozen=True)
class Pretrained:
    """An encoder of KerasHub that was trained before on much text: Devlin et al., NAACL 2019.

    Attributes:
        preset: the one that is taken unless ``model.preset`` names another; None: it must.
    """

    preset: str | None = None

    def __call__(self, config: Config, preprocessing: Preprocessing) -> keras.Model:
        tokens = _tokens()
        x = presets.encoded(tokens, preset_for(config), config, preprocessing)
        return keras.Model(tokens, _head(x, config, preprocessing), name=config.model.name)


BERT = Pretrained("bert_base_en_uncased")
BERT_TINY = Pretrained("bert_tiny_en_uncased")
BERT_MULTILINGUAL = Pretrained("bert_base_multi")
PRESET = Pretrained()

# How large weights are divided among devices (runtime.strategy model_parallel): a pattern of the
# weight's path -> an entry for each axis. Weights without a line are whole on every device.
LAYOUT: dict[str, tuple[str | None, ...]] = {
    "tokens/embeddings": (None, "model"),  # (numbers, width)
    "conv_.*/kernel": (None, None, "model"),  # (tokens, width, filters)
    "token_embedding/embeddings": (None, "model"),  # of presets, as the next three
    "feedforward_intermediate_dense/kernel": (None, "model"),
    "feedforward_output_dense/kernel": ("model", None),
    "self_attention_layer/(query|key|value)/kernel": (None, "model", None),
    "block.*_up/kernel": (None, "model"),
    "block.*_down/kernel": ("model", None),
    "block.*_attention/(query|key|value)/kernel": (None, "model", None),  # (width, heads, size)
}

# Weights that ``build`` computes from the data: patterns of their paths. ``train.init_from`` leaves
# them as they were built.
FITTED: tuple[str, ...] = ("ngrams/",)


def build(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """The configured model."""
    return find(MODELS, config.model.name)(config, preprocessing)


def phases(config: Config) -> list[Phase]:
    """One phase; of pretrained models as ``model.tuning`` says."""
    pretrained = preset_for(config) is not None
    if pretrained and config.model.tuning != "frozen":
        return [presets.tuning_phase(config)]
    epochs, rate = config.train.epochs or EPOCHS, config.train.learning_rate or RATE
    if pretrained:
        return [Phase("frozen", epochs, rate, presets.freeze)]
    return [Phase("all", epochs, rate)]


def preset_for(config: Config) -> str | None:
    """The preset that the configured model starts from, if it does from one."""
    model = find(MODELS, config.model.name)
    if not isinstance(model, Pretrained):
        return None
    name = config.model.preset or model.preset
    if name is None:
        raise UsageProblem(
            "model.preset: this model needs one, such as kaggle://…, hf://… or a folder."
        )
    return name


def settle(trained: Artifact, data: DatasetSplits, config: Config) -> Artifact:
    """How much each view counts, where there are several."""
    if config.model.name == "bag_cnn":
        views.weigh(trained, data.validation, config.data.batch_size)
    return trained


def vocabularies(preprocessing: Preprocessing) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Layers whose weights have an entry for each class or token: name -> (axis, entries)."""
    numbers = ("<padding>", "<unknown>", *preprocessing.vocabulary)
    return {
        HEAD: (-1, preprocessing.classes),
        "tokens": (0, numbers),
    }


@keras.saving.register_keras_serializable(__package__)
class Positions(layers.Layer):
    """Adds to each token what is learnt of its place.

    Args:
        most: tokens of the longest text.
    """

    def __init__(self, most: int, **options) -> None:
        super().__init__(**options)
        self.most = most

    def build(self, shape) -> None:
        self.table = self.add_weight((self.most, shape[-1]), name="table")

    def call(self, x):
        return x + ops.cast(self.table[: ops.shape(x)[1]], x.dtype)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "most": self.most}


def _tokens():
    return keras.Input((None,), dtype="int32", name="tokens_in")


def _embedded(tokens, config: Config, preprocessing: Preprocessing):
    width = config.model.width
    return layers.Embedding(preprocessing.numbers, width, name="tokens")(tokens)


def _convolved(tokens, config: Config, preprocessing: Preprocessing):
    mask = ops.not_equal(tokens, 0)
    x = _covered(_embedded(tokens, config, preprocessing), mask)
    found = []
    for width in WIDTHS:
        name = f"conv_{width}"
        y = layers.Conv1D(FILTERS, width, padding="same", activation="relu", name=name)(x)
        # None of a ReLU's answers is below that of the padding.
        found.append(layers.GlobalMaxPooling1D(name=f"{name}_max")(_covered(y, mask)))
    return layers.Concatenate(name="found")(found)


def _covered(x, mask):
    """Zeros in the place of padding."""
    return x * ops.expand_dims(ops.cast(mask, x.dtype), -1)


def _mean(x, mask):
    """Mean over the tokens of each text; zeros for one without any."""
    count = ops.maximum(ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True), 1.0)
    return ops.sum(_covered(x, mask), axis=1) / ops.cast(count, x.dtype)


def _ngram_logits(tokens, preprocessing: Preprocessing, trainable: bool = True):
    spaceless = preprocessing.tokens in ("character", "character_ngram")
    places = preprocessing.training_sample(MOST_FITTED)
    layer = fit_ngrams(
        lambda: preprocessing.training_batches(places),
        preprocessing.encode_targets(preprocessing.train.targets[places]),
        len(preprocessing.classes),
        longest=3 if spaceless else 2,
        trainable=trainable,
        dtype="float32",
        name="ngrams",
    )
    return layer(tokens)


def _head(x, config: Config, preprocessing: Preprocessing):
    if config.model.dropout:
        x = layers.Dropout(config.model.dropout, seed=config.train.seed, name="dropout")(x)
    # float32 whatever the precision: a softmax over half-precision logits loses too much.
    return layers.Dense(len(preprocessing.classes), dtype="float32", name=HEAD)(x)
