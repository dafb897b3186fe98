"""How much of a text was copied from the training split, in n-grams of tokens.

Of Llama and others it is known that they repeat what they have seen often (Carlini et al. 2023).
The share of real held-out texts stands beside that of a model's: phrases that everybody uses are in
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..datasets.store import TokenSplit

N = 8  # tokens of an n-gram, about six English words
MIN_BYTES = 16  # that n tokens should have on average; of characters it takes more of them
MAX_TOKENS = 50_000_000  # of the training split that are looked through
ROWS_AT_ONCE = 4096
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def choose_n(split: TokenSplit) -> int:
    """Return how many tokens an n-gram has: 8, or more where a token is a letter or a byte.

    Args:
        split: of training.
    """
    rows = split.read_rows(np.arange(min(len(split), 256)))
    ids = np.asarray(rows["tokens"])[np.asarray(rows["segments"]) > 0]
    if not ids.size:
        return N
    each = float(np.asarray(split.tokenizer.token_lengths)[ids].mean())
    return max(N, round(MIN_BYTES / max(each, 0.5)))


def measure_copied(
    texts: Sequence[Sequence[int]], train: TokenSplit, n: int, max_tokens: int = MAX_TOKENS
) -> list[float]:
    """Return the share of n-grams of each text that occur in the training split; NaN: too short.

    Args:
        texts: tokens of each.
        train: the training split.
        n: tokens of an n-gram.
        max_tokens: of the training split that are looked through, from its beginning.
    """
    hashes = [_hash(np.asarray(ids, "int64")[None], n)[0] for ids in texts]
    wanted = np.unique(np.concatenate([*hashes, np.zeros(0, "uint64")]))
    found = np.zeros(len(wanted), bool)
    seen = 0
    for start in range(0, len(train), ROWS_AT_ONCE):
        if seen >= max_tokens or not len(wanted):
            break
        rows = train.read_rows(np.arange(start, min(start + ROWS_AT_ONCE, len(train))))
        for tokens, segments in _sides(rows):
            seen += int((segments > 0).sum())
            if tokens.shape[1] < n:
                continue
            own = _hash(tokens, n)
            # An n-gram must not reach from one text of a row into the next.
            ends = segments[:, n - 1 :]
            own = own[(ends > 0) & (segments[:, : ends.shape[1]] == ends)]
            found |= np.isin(wanted, own)
    copied = wanted[found]
    return [float(np.isin(own, copied).mean()) if len(own) else float("nan") for own in hashes]


def _sides(rows: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return tokens and segments (rows, time) of rows; of pairs those of both answers."""
    tokens, segments = np.asarray(rows["tokens"]), np.asarray(rows["segments"])
    if tokens.ndim == 2:
        return [(tokens, segments)]
    return [(tokens[..., side], segments[..., side]) for side in range(tokens.shape[-1])]


def _hash(tokens: np.ndarray, n: int) -> np.ndarray:
    """Return a hash of each n-gram of rows (rows, time - n + 1) uint64."""
    count = max(tokens.shape[1] - n + 1, 0)
    hashes = np.zeros((len(tokens), count), "uint64")
    for place in range(n):
        ids = tokens[:, place : place + count].astype("uint64") + np.uint64(1)
        hashes = (hashes ^ ids) * _FACTOR  # wraps around, as hashes do
        hashes ^= hashes >> np.uint64(29)
    return hashes
