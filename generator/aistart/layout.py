"""Layout of text for wide and narrow terminals."""

import shutil
import textwrap

NARROW_WIDTH = 60  # characters; below this there is no room for columns side by side
_MAX_WIDTH = 100  # longer lines are hard to read


def terminal_width() -> int:
    """Return the number of characters that a line may have."""
    return min(shutil.get_terminal_size().columns, _MAX_WIDTH)


def is_narrow() -> bool:
    """Whether the terminal is too narrow for columns; they are then printed below each other."""
    return terminal_width() < NARROW_WIDTH


def wrap(text: str, indent: int = 0, hanging: int | None = None) -> str:
    """Wrap a paragraph to the width of the terminal.

    Args:
        text: the paragraph; words are never broken.
        indent: spaces before the first line.
        hanging: spaces before the other lines; default: ``indent``.
    """
    others = indent if hanging is None else hanging
    if is_narrow() and others > NARROW_WIDTH / 3:
        others = indent + 2
    return textwrap.fill(
        text,
        terminal_width(),
        initial_indent=" " * indent,
        subsequent_indent=" " * others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def abbreviate(names: list[str], limit: int = 3) -> str:
    """Join the first ``limit`` names, and say how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
