"""What a language model's outputs come to for each row of a split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..datasets.store import TokenSplit

ROWS_AT_ONCE = 1024
MAX_EXCERPT = 500  # characters of a text in a table


@dataclass(frozen=True)
class RowScores:
    """Sums over the tokens of each row that are to be predicted.

    Attributes:
        bits: (size,) minus log2 of their probabilities.
        hits: (size,) how many of them are the likeliest token.
        tokens: (size,) how many there are.
        bytes: (size,) how much text they are, in UTF-8.
    """

    bits: np.ndarray
    hits: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray

    @property
    def bits_per_byte(self) -> np.ndarray:
        """Bits per byte of each row (size,); NaN of rows without text."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.bytes > 0, self.bits / self.bytes, np.nan)


@dataclass(frozen=True)
class TokenScores:
    """Predicted tokens of some rows.

    Attributes:
        weights: (rows, time) 1 where a token is to be predicted, else 0.
        bits: (rows, time) minus log2 of its probability; 0 where it is not to be predicted.
        hits: (rows, time) 1 where it is the likeliest one, too.
        places: (rows, time) its place in its own text, from 1 on.
    """

    weights: np.ndarray
    bits: np.ndarray
    hits: np.ndarray
    places: np.ndarray


def score_tokens(split: TokenSplit, outputs: np.ndarray) -> Iterator[TokenScores]:
    """Yield the scores of the tokens of a split, so many rows at a time.

    Args:
        split: rows of texts or chats.
        outputs: (size, time, 2) of ``model.infer``: the log-probability of each next token, and 1
            where it is the likeliest one.
    """
    for start in range(0, len(split), ROWS_AT_ONCE):
        positions = np.arange(start, min(start + ROWS_AT_ONCE, len(split)))
        rows, part = split.read_rows(positions), outputs[positions].astype("float64")
        time = part.shape[1]
        weights = np.asarray(rows["weights"], "float64")[:, 1 : time + 1]
        segments = np.asarray(rows["segments"])[:, : time + 1]
        # A token that does not count may have no finite probability.
        bits = np.where(weights > 0, -part[..., 0] / np.log(2), 0.0) * weights
        yield TokenScores(weights, bits, part[..., 1] * weights, _number(segments)[:, 1:])


def score_rows(split: TokenSplit, outputs: np.ndarray) -> RowScores:
    """Return the sums of the rows of a split; see ``score_tokens``."""
    parts = [
        (part.bits.sum(1), part.hits.sum(1), part.weights.sum(1))
        for part in score_tokens(split, outputs)
    ]
    bits, hits, tokens = (
        np.concatenate(column) if parts else np.zeros(0)
        for column in (zip(*parts, strict=True) if parts else [()] * 3)
    )
    return RowScores(bits, hits, tokens, np.asarray(split.bytes_per_row, "float64"))


def score_margins(split: TokenSplit, outputs: np.ndarray) -> np.ndarray:
    """Return by how much the chosen answer of each pair has gained on the other (size,), in nats.

    Args:
        split: pairs.
        outputs: (size, 2) log-probabilities of both answers.
    """
    reference = [np.asarray(raw["reference"], "float64") for raw in split.batches(ROWS_AT_ONCE)]
    change = outputs.astype("float64") - np.concatenate(reference or [np.zeros((0, 2))])
    return change[:, 0] - change[:, 1]


def shorten(text: str) -> str:
    """Return a text in one line, cut to ``MAX_EXCERPT`` characters."""
    text = " ".join(text.split())
    # Not textwrap.shorten: it cuts at spaces, and Chinese has none.
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]} …"


def _number(segments: np.ndarray) -> np.ndarray:
    """Return the place of each token in its segment (rows, time + 1), from 0 on."""
    begins = np.ones(segments.shape, bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    columns = np.arange(segments.shape[1])
    return columns - np.maximum.accumulate(np.where(begins, columns, 0), axis=1)
