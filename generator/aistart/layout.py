"""Text on a terminal, wide or narrow."""

import shutil
import textwrap

NARROW = 60  # characters: a terminal of fewer has no room for columns beside each other
_WIDEST = 100  # a longer line is no pleasure to read


def columns() -> int:
    """Characters in a line."""
    return min(shutil.get_terminal_size().columns, _WIDEST)


def is_narrow() -> bool:
    """Whether what would stand in columns has to stand below each other."""
    return columns() < NARROW


def wrapped(text: str, indent: int = 0, hanging: int | None = None) -> str:
    """A paragraph; hanging: the indent of its lines but the first."""
    others = indent if hanging is None else hanging
    if is_narrow() and others > NARROW / 3:
        others = indent + 2
    return textwrap.fill(
        text,
        columns(),
        initial_indent=" " * indent,
        subsequent_indent=" " * others,
        break_long_words=False,
        break_on_hyphens=False,
    )
