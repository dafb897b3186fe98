"""From texts to the model's inputs, the same in tf.data, ``predict`` and serving.

An input is a row of token ids: 0 is padding, at the end; 1 is any token outside the vocabulary;
then come the tokens of the vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .datasets.labels import class_names, encode_labels, strata
from .datasets.splits import shuffle_stratified
from .engine.batches import bucket_lengths
from .engine.cache import CHUNK
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import Split, Uniform
from .engine.lookup import find
from .model import preset_for
from .networks import presets
from .registry import TOKENIZERS
from .tokens import (
    SAMPLE_SIZE,
    build_vocabulary,
    detect_tokenizer,
    load_subwords,
    normalize,
    train_subwords,
)

PADDING, UNKNOWN, FIRST_ID = 0, 1, 2  # token ids; the vocabulary begins at the last one
LENGTH_QUANTILE = 0.98  # of the training texts are not truncated
MAX_SEQUENCE_LENGTH = 512  # tokens, unless configured


@dataclass(frozen=True)
class Preprocessing:
    """Normalise, tokenise and truncate texts, look up token ids, and encode class labels.

    Attributes:
        tokenizer: a name of ``TOKENIZERS``.
        vocabulary: the tokens with ids from 2 on.
        tokenizer_state: JSON of the tokeniser ``subword`` or ``preset``; '' for others.
        sequence_length: number of tokens after which a text is truncated.
        separator: between several labels of a text; '' if each has one.
        truncated: shares of the training texts and of their tokens that truncation affects.
        train: the training split, from which n-grams are fitted; not saved.
    """

    tokenizer: str
    lowercase: bool
    vocabulary: tuple[str, ...]
    tokenizer_state: str
    sequence_length: int
    classes: tuple[str, ...]
    separator: str = ""
    truncated: tuple[float, float] = (0.0, 0.0)
    train: Split | None = field(default=None, repr=False, compare=False)

    @classmethod
    def fit(cls, train: Split, config: Config) -> "Preprocessing":
        """Derive tokeniser, vocabulary, sequence length and classes from the training split.

        Args:
            train: the training split.
            config: the configuration.

        Raises:
            DataProblem: no token occurs twice.
        """
        data = config.data
        tokenizer = select_tokenizer(config)
        if tokenizer == "auto":
            every = max(1, len(train) // SAMPLE_SIZE)
            sample = _texts(train, data.lowercase, np.arange(0, len(train), every))
            tokenizer = detect_tokenizer(sample)
        state, limit = "", MAX_SEQUENCE_LENGTH
        # The tokeniser of a preset itself lowers the case where its network expects that.
        lowercase = data.lowercase and tokenizer != presets.TOKENIZER
        if tokenizer == "subword":
            state = train_subwords(_texts(train, lowercase), data.vocabulary_size)
        elif tokenizer == presets.TOKENIZER:
            preset = preset_for(config)
            assert preset is not None, "only a preset has this tokeniser"
            state = presets.serialize_tokenizer(preset)
            limit = min(limit, presets.max_sequence_length(preset))
        split = _make_splitter(tokenizer, state)
        counts: list[int] = []

        def tokenize_all() -> Iterator[list[str]]:
            for text in _texts(train, lowercase):
                tokens = split(text)
                counts.append(len(tokens))
                yield tokens

        vocabulary = build_vocabulary(tokenize_all(), data.vocabulary_size)
        if tokenizer == presets.TOKENIZER:
            vocabulary = tuple(presets.deserialize_tokenizer(state).get_vocabulary())
        if not vocabulary:
            raise DataProblem("data: no token occurs twice in the training texts.")
        lengths = np.array(counts)
        fitting = int(np.clip(np.quantile(lengths, LENGTH_QUANTILE), 4, limit))
        sequence_length = data.sequence_length or fitting
        excess = np.maximum(lengths - sequence_length, 0)
        separator = data.label_separator or ""
        return cls(
            tokenizer=tokenizer,
            lowercase=lowercase,
            vocabulary=vocabulary,
            tokenizer_state=state,
            sequence_length=sequence_length,
            classes=class_names(train.targets, separator),
            separator=separator,
            truncated=(float(np.mean(excess > 0)), float(excess.sum() / max(lengths.sum(), 1))),
            train=train,
        )

    @property
    def num_ids(self) -> int:
        """Number of token ids: those of the vocabulary, padding and unknown tokens."""
        return FIRST_ID + len(self.vocabulary)

    @property
    def max_length(self) -> int:
        """Number of tokens of the longest input."""
        return self.sequence_length

    def prepare(self, raw: tf.Tensor) -> tf.Tensor:
        """Encode texts (batch,) in UTF-8 as token ids (batch, sequence_length) int32."""
        prepared = tf.numpy_function(self._encode_batch, [raw], tf.int32, stateful=False)
        return tf.ensure_shape(prepared, (None, self.sequence_length))

    def lengths(self, prepared: tf.Tensor) -> tf.Tensor:
        """Count the tokens of each text (batch,)."""
        return tf.math.count_nonzero(prepared, axis=1, dtype=tf.int32)

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        """Return the token ids unchanged."""
        return prepared

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        prepared = self.prepare(tf.convert_to_tensor(raw))
        longest = bucket_lengths(np.asarray(self.lengths(prepared))).max(initial=1)
        return self.finish(prepared[:, :longest])

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Encode names (size,) as indices (size,), or 0 and 1 (size, classes) of several labels."""
        return encode_labels(targets, self.classes, self.separator)

    def to_config(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "train"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        if config["tokenizer"] == presets.TOKENIZER:
            # Imports KerasHub, whose layers the model file is made of.
            presets.deserialize_tokenizer(config["tokenizer_state"])
        lists = {name: tuple(config[name]) for name in ("vocabulary", "classes", "truncated")}
        return cls(**{**config, **lists})

    def notes(self) -> dict[str, Any]:
        texts, tokens = self.truncated
        return {
            "tokenizer": self.tokenizer,
            "vocabulary": len(self.vocabulary),
            "sequence_length": self.sequence_length,
            "truncated_texts": round(texts, 4),
            "truncated_tokens": round(tokens, 4),
        }

    def split(self, text: str) -> list[str]:
        """Normalise and tokenise a text."""
        return self._split(normalize(text, self.lowercase))

    def training_sample(self, limit: int) -> np.ndarray:
        """Return positions of at most ``limit`` training texts, shuffled and stratified."""
        train = self._require_train()
        return shuffle_stratified(strata(train.targets, self.separator), seed=0)[:limit]

    def training_batches(self, positions: np.ndarray) -> Iterator[np.ndarray]:
        """Yield token ids (batch, sequence_length) of the training texts at these positions."""
        for chunk in _chunks(positions):
            yield np.asarray(self.prepare(self._require_train().fetch(chunk)))

    def _require_train(self) -> Split:
        assert self.train is not None, "it was fitted, not read from a file"
        return self.train

    @cached_property
    def _split(self) -> Callable[[str], list[str]]:
        return _make_splitter(self.tokenizer, self.tokenizer_state)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.vocabulary, start=FIRST_ID)}

    def _encode_batch(self, raw: np.ndarray) -> np.ndarray:
        rows = np.full((len(raw), self.sequence_length), PADDING, "int32")
        for row, text in zip(rows, raw, strict=True):
            tokens = self.split(text.decode("utf-8", "replace"))[: self.sequence_length]
            row[: len(tokens)] = [self._ids.get(token, UNKNOWN) for token in tokens]
        return rows


def select_tokenizer(config: Config) -> str:
    """Return the configured tokeniser; pretrained models have their own.

    Raises:
        UsageProblem: the tokeniser does not fit the model.
    """
    tokenizer = config.data.tokenizer
    needs_preset = preset_for(config) is not None
    if tokenizer == "auto" and needs_preset:
        return presets.TOKENIZER
    if needs_preset != (tokenizer == presets.TOKENIZER):
        name = config.model.name
        raise UsageProblem(
            f"data.tokenizer: {tokenizer!r} does not go with model.name {name!r}; auto does."
        )
    return tokenizer


def augment(
    prepared: tf.Tensor, targets: tf.Tensor, uniform: Uniform, config: Config
) -> tuple[tf.Tensor, tf.Tensor]:
    """Replace random tokens by the unknown token, others in each epoch.

    Args:
        prepared: token ids (batch, tokens).
        targets: of the texts, which stay as they are.
        uniform: draws numbers for each text.
        config: its ``data.augment_token_dropout`` is the share of tokens.
    """
    if not config.data.augment_token_dropout:
        return prepared, targets
    dropped = uniform(tf.shape(prepared)[1]) < config.data.augment_token_dropout
    return tf.where(dropped & (prepared != PADDING), UNKNOWN, prepared), targets


def texts_of(split: Split, positions: np.ndarray | None = None) -> Iterator[str]:
    """Yield the raw texts of a split; they are read in chunks, as all may not fit into memory.

    Args:
        positions: (number,) of the texts, in the order in which they come; None: all.
    """
    for chunk in _chunks(np.arange(len(split)) if positions is None else positions):
        for text in np.asarray(split.fetch(chunk)):
            yield text.decode("utf-8", "replace")


def _make_splitter(tokenizer: str, state: str) -> Callable[[str], list[str]]:
    if tokenizer == presets.TOKENIZER:
        return presets.make_splitter(presets.deserialize_tokenizer(state))
    return load_subwords(state) if state else find(TOKENIZERS, tokenizer)


def _texts(split: Split, lowercase: bool, positions: np.ndarray | None = None) -> Iterator[str]:
    return (normalize(text, lowercase) for text in texts_of(split, positions))


def _chunks(positions: np.ndarray) -> Iterator[np.ndarray]:
    return (positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK))
