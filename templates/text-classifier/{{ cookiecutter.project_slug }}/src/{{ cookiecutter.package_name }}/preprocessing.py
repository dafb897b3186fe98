"""From texts to the numeric core's inputs, the same in tf.data, ``predict`` and serving.

An input is a row of token numbers: 0 is padding, at the end; 1 is a token that was not among the
training texts; then come the tokens of the vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .datasets.labels import class_names, encoded, strata
from .datasets.splits import stratified_order
from .engine.batches import bucket_lengths
from .engine.cache import CHUNK
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import Split, Uniform
from .engine.lookup import find
from .model import preset_for
from .networks import presets
from .registry import TOKENS
from .tokens import SAMPLE, fitting_kind, learn_subwords, normalised, subwords, vocabulary

PADDING, UNKNOWN, FIRST = 0, 1, 2  # numbers; the vocabulary begins at the last one
COVERED = 0.98  # share of the training texts that are not cut
MOST_TOKENS = 512  # that are kept of a text without being asked


@dataclass(frozen=True)
class Preprocessing:
    """Normalise, tokenise, number, cut; and the classes that targets are counted by.

    Attributes:
        tokens: a name of ``TOKENS``.
        vocabulary: tokens by number, from 2 on.
        learnt: what ``subword`` learnt, or what the tokeniser of a preset needs, as JSON.
        separator: between the classes of a text that may have several; '': each has one.
        max_tokens: of a text; what is beyond is cut.
        cut: of the training texts: share that is cut, and share of all tokens that are lost.
        train: the training split, for what a model starts from; not saved.
    """

    tokens: str
    lowercase: bool
    vocabulary: tuple[str, ...]
    learnt: str
    max_tokens: int
    classes: tuple[str, ...]
    separator: str = ""
    cut: tuple[float, float] = (0.0, 0.0)
    train: Split | None = field(default=None, repr=False, compare=False)

    @classmethod
    def fit(cls, train: Split, config: Config) -> "Preprocessing":
        """Learn tokens, lengths and classes from the training split."""
        data = config.data
        kind = kind_for(config)
        if kind == "auto":
            every = max(1, len(train) // SAMPLE)
            kind = fitting_kind(_texts(train, data.lowercase, np.arange(0, len(train), every)))
        learnt, longest = "", MOST_TOKENS
        lowercase = data.lowercase and kind != presets.KIND  # a preset knows by itself
        if kind == "subword":
            learnt = learn_subwords(_texts(train, lowercase), data.vocabulary_size)
        elif kind == presets.KIND:
            preset = preset_for(config)
            learnt, longest = presets.learnt(preset), presets.most_tokens(preset)
        split = _split_with(kind, learnt)
        lengths: list[int] = []

        def divided() -> Iterator[list[str]]:
            for text in _texts(train, lowercase):
                tokens = split(text)
                lengths.append(len(tokens))
                yield tokens

        known = vocabulary(divided(), data.vocabulary_size)
        if kind == presets.KIND:
            known = tuple(presets.tokenizer(learnt).get_vocabulary())
        if not known:
            raise DataProblem("data: no token stands in the training texts twice.")
        found, longest = np.array(lengths), min(longest, MOST_TOKENS)
        most = data.max_tokens or int(np.clip(np.quantile(found, COVERED), 4, longest))
        lost = np.maximum(found - most, 0)
        separator = data.label_separator or ""
        return cls(
            tokens=kind,
            lowercase=lowercase,
            vocabulary=known,
            learnt=learnt,
            max_tokens=most,
            classes=class_names(train.targets, separator),
            separator=separator,
            cut=(float(np.mean(lost > 0)), float(lost.sum() / max(found.sum(), 1))),
            train=train,
        )

    @property
    def numbers(self) -> int:
        """Different numbers that stand in inputs."""
        return FIRST + len(self.vocabulary)

    def prepare(self, raw: tf.Tensor) -> tf.Tensor:
        """Texts (batch,) string in UTF-8 -> token numbers (batch, max_tokens) int32."""
        prepared = tf.numpy_function(self._numbered, [raw], tf.int32, stateful=False)
        return tf.ensure_shape(prepared, (None, self.max_tokens))

    def lengths(self, prepared: tf.Tensor) -> tf.Tensor:
        """Tokens of each text (batch,)."""
        return tf.math.count_nonzero(prepared, axis=1, dtype=tf.int32)

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        return prepared

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        prepared = self.prepare(tf.convert_to_tensor(raw))
        longest = bucket_lengths(np.asarray(self.lengths(prepared))).max(initial=1)
        return self.finish(prepared[:, :longest])

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Class names (size,) -> indices (size,) int32, or 0 and 1 (size, classes) of several."""
        return encoded(targets, self.classes, self.separator)

    def to_config(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "train"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        if config["tokens"] == presets.KIND:
            presets.tokenizer(config["learnt"])  # makes the classes of the model file known
        lists = {name: tuple(config[name]) for name in ("vocabulary", "classes", "cut")}
        return cls(**{**config, **lists})

    def notes(self) -> dict[str, Any]:
        share, lost = self.cut
        return {
            "tokens": self.tokens,
            "vocabulary": len(self.vocabulary),
            "max_tokens": self.max_tokens,
            "texts_cut": round(share, 4),
            "tokens_lost": round(lost, 4),
        }

    def split(self, text: str) -> list[str]:
        """The tokens of a text as it comes."""
        return self._split(normalised(text, self.lowercase))

    def training_sample(self, most: int) -> np.ndarray:
        """Places of at most so many training texts, in a random order, with the classes in their
        proportions."""
        return stratified_order(strata(self.train.targets, self.separator), seed=0)[:most]

    def training_batches(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Token numbers (batch, max_tokens) of the training texts at these places."""
        for part in _chunks(places):
            yield np.asarray(self.prepare(self.train.fetch(part)))

    @cached_property
    def _split(self) -> Callable[[str], list[str]]:
        return _split_with(self.tokens, self.learnt)

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary, start=FIRST)}

    def _numbered(self, raw: np.ndarray) -> np.ndarray:
        rows = np.full((len(raw), self.max_tokens), PADDING, "int32")
        for row, text in zip(rows, raw, strict=True):
            tokens = self.split(text.decode("utf-8", "replace"))[: self.max_tokens]
            row[: len(tokens)] = [self._number_of.get(token, UNKNOWN) for token in tokens]
        return rows


def kind_for(config: Config) -> str:
    """The configured kind of tokens; pretrained models bring their own."""
    wish = config.data.tokens
    needed = preset_for(config) is not None
    if wish == "auto" and needed:
        return presets.KIND
    if needed != (wish == presets.KIND):
        raise UsageProblem(
            f"data.tokens: {wish!r} does not go with model.name {config.model.name!r}; auto does."
        )
    return wish


def augment(prepared: tf.Tensor, uniform: Uniform, config: Config) -> tf.Tensor:
    """Some tokens, drawn anew in each epoch, as if they were unknown."""
    if not config.data.augment_drop:
        return prepared
    dropped = uniform(tf.shape(prepared)[1]) < config.data.augment_drop
    return tf.where(dropped & (prepared != PADDING), UNKNOWN, prepared)


def texts_of(split: Split, places: np.ndarray | None = None) -> Iterator[str]:
    """Texts of a split as they come, at these places or all."""
    for part in _chunks(np.arange(len(split)) if places is None else places):
        for text in np.asarray(split.fetch(part)):
            yield text.decode("utf-8", "replace")


def _split_with(kind: str, learnt: str) -> Callable[[str], list[str]]:
    if kind == presets.KIND:
        return presets.split(presets.tokenizer(learnt))
    return subwords(learnt) if learnt else find(TOKENS, kind)


def _texts(split: Split, lowercase: bool, places: np.ndarray | None = None) -> Iterator[str]:
    return (normalised(text, lowercase) for text in texts_of(split, places))


def _chunks(places: np.ndarray) -> Iterator[np.ndarray]:
    return (places[start : start + CHUNK] for start in range(0, len(places), CHUNK))
