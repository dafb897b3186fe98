"""What of texts is watched once the model is in use, in requests as in the training data."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.store import TokenSplit
from ..inputs import Request

if TYPE_CHECKING:
    from ..engine.interfaces import Split
    from ..preprocessing import Preprocessing

ROWS_AT_ONCE = 1024
MAX_CHARACTERS = 20_000  # of a text that are looked at


def describe_inputs(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return columns (size,) that describe texts; none of them has words of a text.

    Lengths are not among them: a row of training is as long as the context, and a prompt is as long
    as somebody made it.

    Args:
        split: rows of training, or prompts.
        preprocessing: has the tokens.

    Returns:
        Bytes of a token, which fall where texts are of another kind than the tokens were learnt
        from; and the shares of characters that are letters of other scripts than Latin, digits,
        other signs, and white space.
    """
    columns: dict[str, list[float]] = {name: [] for name in _describe("", preprocessing)}
    for text in read_texts(split, preprocessing):
        for name, value in _describe(text[:MAX_CHARACTERS], preprocessing).items():
            columns[name].append(value)
    return {name: np.array(values, "float64") for name, values in columns.items()}


def read_texts(split: Split, preprocessing: Preprocessing) -> list[str]:
    """Return the texts of a split, whether they are rows of training or requests.

    Args:
        split: rows of training, or of ``inputs.make_split``.
        preprocessing: has the tokens.
    """
    texts: list[str] = []
    for start in range(0, len(split), ROWS_AT_ONCE):
        positions = np.arange(start, min(start + ROWS_AT_ONCE, len(split)))
        if isinstance(split, TokenSplit):
            texts += split.read_texts(positions)
            continue
        requests = map(Request.from_json, np.asarray(split.fetch(positions)))
        texts += [preprocessing.tokenizer.decode(request.ids) for request in requests]
    return texts


def _describe(text: str, preprocessing: Preprocessing) -> dict[str, float]:
    size = len(text)
    letters = [c for c in text if c.isalpha()]
    other_letters = sum(1 for c in letters if not _is_latin(c))
    digits = sum(1 for c in text if c.isdigit())
    spaces = sum(1 for c in text if c.isspace())
    signs = size - len(letters) - digits - spaces
    tokens = len(preprocessing.tokenizer.encode(text)) if text else 0
    counts = {
        "non-Latin letters": other_letters,
        "digits": digits,
        "signs": signs,
        "white space": spaces,
    }
    return {
        "bytes a token": len(text.encode("utf-8", "replace")) / tokens if tokens else np.nan,
        **{name: count / size if size else np.nan for name, count in counts.items()},
    }


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")
