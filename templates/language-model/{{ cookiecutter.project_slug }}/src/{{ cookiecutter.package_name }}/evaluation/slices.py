"""Columns that a split of texts is sliced by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from ..engine.errors import UsageProblem

if TYPE_CHECKING:
    from ..config import Config
    from ..datasets.store import TokenSplit
    from ..engine.interfaces import Split
    from ..preprocessing import Preprocessing

MAX_GROUPS = 30  # of more, a slice of each would say nothing
ROWS_AT_ONCE = 4096


def describe(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return length and origin of the rows of a split.

    Args:
        split: rows of texts, chats or pairs.
        preprocessing: part of the engine's interface.

    Returns:
        Columns (size,): number of tokens to predict; texts in a row, where rows are packed; group,
        such as a file, where there are a few.
    """
    tokens, texts = _count(cast("TokenSplit", split))
    columns: dict[str, np.ndarray] = {"tokens": tokens}
    if len(np.unique(texts)) > 1:
        columns["texts in the row"] = texts
    groups = split.groups
    if groups is not None and 1 < len(np.unique(groups.astype(str))) <= MAX_GROUPS:
        columns["group"] = groups.astype(str)
    return columns


def read_columns(split: Split, names: Sequence[str], config: Config) -> dict[str, np.ndarray]:
    """Refuse further columns of the file: a row of tokens may come from several of its rows.

    Args:
        split: rows of texts, chats or pairs.
        names: of the columns.
        config: part of the engine's interface.

    Raises:
        UsageProblem: always.
    """
    raise UsageProblem(
        f"data.slice_columns: {names[0]!r}: rows of tokens are made of texts that were cut and "
        "packed, and have no columns of the source; data.group_column gives slices by group."
    )


def _count(split: TokenSplit) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens to predict and the texts of each row (size,)."""
    tokens, texts = [np.zeros(0, "int64")], [np.zeros(0, "int64")]
    for start in range(0, len(split), ROWS_AT_ONCE):
        rows = split.read_rows(np.arange(start, min(start + ROWS_AT_ONCE, len(split))))
        axes = tuple(range(1, np.ndim(rows["weights"])))
        tokens.append((np.asarray(rows["weights"]) > 0).sum(axes))
        texts.append(np.asarray(rows["segments"]).max(axes))
    return np.concatenate(tokens), np.concatenate(texts)
