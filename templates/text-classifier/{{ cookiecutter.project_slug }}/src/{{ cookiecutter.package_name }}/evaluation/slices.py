"""Columns that a split of texts is sliced by."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import Config
from ..datasets.languages import language
from ..datasets.rows import SUFFIXES, as_text, read_records
from ..engine.columns import align_columns
from ..engine.data_path import require_path
from ..engine.errors import UsageProblem
from ..engine.interfaces import Split
from ..preprocessing import Preprocessing, texts_of


def describe(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return length and language of the texts of a split.

    Args:
        split: its texts.
        preprocessing: tokenises them.

    Returns:
        Columns (size,): number of tokens; name of the language or script, if there are several.
    """
    texts = list(texts_of(split))
    columns = {"tokens": np.array([len(preprocessing.split(text)) for text in texts])}
    names = np.array([language(text) for text in texts])
    return {**columns, "language": names} if len(np.unique(names)) > 1 else columns


def read_columns(split: Split, names: Sequence[str], config: Config) -> dict[str, np.ndarray]:
    """Read further columns of the file for the texts of a split.

    Args:
        split: its texts.
        names: of the columns.
        config: says where the file is.

    Raises:
        UsageProblem: the source is no table, or has no such column.
    """
    data = config.data
    if f".{data.source}" not in SUFFIXES:
        raise UsageProblem(
            f"data.slice_columns: {names[0]!r}: the source {data.source!r} has no further columns."
        )
    path = require_path(data, Path.is_file, f"file ({', '.join(SUFFIXES)})")
    records = (
        (as_text(record[data.id_column]) if data.id_column else str(number), record)
        for number, record in read_records(path, data.encoding, data.delimiter)
        if not isinstance(record, str)
    )
    return align_columns(records, split.ids, names)
