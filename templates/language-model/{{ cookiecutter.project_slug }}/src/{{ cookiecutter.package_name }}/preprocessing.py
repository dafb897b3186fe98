"""What a model reads: its tokens, how many of them at once, and how chats become text.

Rows come as token ids already (``datasets/``), so nothing remains to be prepared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .config import Config
from .datasets.corpus import CHAT, PAIRS, TEXT
from .datasets.store import PARTS, TokenSplit
from .engine.errors import DataProblem
from .tokens import Tokenizer

Rows = dict[str, tf.Tensor]
LARGEST_CONTEXT = 1_000_000


@dataclass(frozen=True)
class Preprocessing:
    """Tokens of a model; rows of them are its inputs as they are.

    Attributes:
        tokenizer: text -> ids and back.
        context: tokens that the model sees at once.
        kind: what it has learnt from: ``text``, ``chat`` or ``pairs``.
        chat_template: source in Jinja; None: the tokenizer's, else our own.
        packed: whether a row may hold several texts; else rows are of many lengths.
    """

    tokenizer: Tokenizer
    context: int
    kind: str = TEXT
    chat_template: str | None = None
    packed: bool = True

    @classmethod
    def fit(cls, train: TokenSplit, config: Config) -> "Preprocessing":
        """Take over what the training split was made with.

        Args:
            train: the training split.
            config: the configuration.
        """
        return cls(train.tokenizer, train.context, train.kind, train.chat_template, train.packed)

    @property
    def max_length(self) -> int:
        """Tokens of a row: those that the model sees, and the one after them."""
        return self.context + 1

    @property
    def lengths(self) -> Callable[[Rows], dict[str, tf.Tensor]] | None:
        """Tokens of each row (batch,) that count, by entry; None where nearly all rows are full."""
        return None if self.packed else self._count

    def _count(self, prepared: Rows) -> dict[str, tf.Tensor]:
        segments = prepared["segments"]
        if self.kind == PAIRS:
            segments = tf.reduce_max(segments, axis=-1)
        length = tf.math.count_nonzero(segments, axis=1, dtype=tf.int32)
        # A row has two tokens at least: one to read and one to predict.
        return dict.fromkeys(PARTS, tf.maximum(length, 2))

    def prepare(self, raw: Rows) -> Rows:
        """Return the rows unchanged."""
        return raw

    def finish(self, prepared: Rows) -> Rows:
        """Return the rows unchanged."""
        return prepared

    def __call__(self, raw: Rows) -> Rows:
        return raw

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets (size,), which are not used: the targets are in the rows."""
        return targets

    def to_config(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "tokenizer": self.tokenizer.to_json(),
            "context": self.context,
            "kind": self.kind,
            "chat_template": self.chat_template,
            "packed": self.packed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        """Undo ``to_config``; the file may come from a stranger.

        Raises:
            DataProblem: a value is not of its kind.
        """
        context, kind, template = (config.get(n) for n in ("context", "kind", "chat_template"))
        if not isinstance(context, int) or not 0 < context <= LARGEST_CONTEXT:
            raise DataProblem(f"the model's context {context!r} is no number of tokens.")
        if kind not in (TEXT, CHAT, PAIRS):
            raise DataProblem(f"the model's kind {kind!r} is not one of text, chat, pairs.")
        if template is not None and not isinstance(template, str):
            raise DataProblem("the model's chat template is no text.")
        tokenizer = Tokenizer.from_json(str(config.get("tokenizer")))
        return cls(tokenizer, context, str(kind), template, bool(config.get("packed", True)))

    def notes(self) -> dict[str, Any]:
        """Return facts for the summary."""
        return {
            "tokens": self.tokenizer.kind,
            "vocabulary": self.tokenizer.size,
            "context": self.context,
            "kind": self.kind,
            "packing": self.packed,
        }
