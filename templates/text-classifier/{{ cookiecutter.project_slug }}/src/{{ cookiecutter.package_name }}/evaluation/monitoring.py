"""What of texts is watched once the model is in use, in requests as in the training data."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..config import Config
from ..datasets.languages import language
from ..engine.errors import DataProblem
from ..engine.interfaces import Requests, Split
from ..inputs import read
from ..preprocessing import Preprocessing, texts_of

AT_ONCE = 512  # texts of a part


def describe_inputs(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return columns (size,) that describe texts; none of them has words of a text.

    Args:
        split: its texts.
        preprocessing: tokenises them.

    Returns:
        Numbers of characters and tokens, the share of tokens outside the vocabulary, that of
        characters that are digits, and the language or script.
    """
    texts = list(texts_of(split))
    tokens = [preprocessing.split(text) for text in texts]
    known = frozenset(preprocessing.vocabulary)
    unknown = [np.mean([t not in known for t in some]) if some else np.nan for some in tokens]
    digits = [sum(map(str.isdigit, text)) / len(text) if text else np.nan for text in texts]
    return {
        "characters": np.array([len(text) for text in texts], "float64"),
        "tokens": np.array([len(some) for some in tokens], "float64"),
        "unknown tokens": np.array(unknown, "float64"),
        "digits": np.array(digits, "float64"),
        "language": np.array([language(text) for text in texts], dtype=object),
    }


def read_file(path: Path, preprocessing: Preprocessing, config: Config) -> Iterator[Requests]:
    """Yield the texts of a file, in parts.

    Args:
        path: a table, or a file with a text in each line.
        preprocessing: part of the engine's interface.
        config: names the column of texts.

    Raises:
        DataProblem: it cannot be read, or has no texts.
    """
    if not path.is_file():
        raise DataProblem(f"FILE: {str(path)!r} is not a file.")
    for split in read([str(path)], config, AT_ONCE):
        yield Requests(split, {})
