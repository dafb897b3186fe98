"""Text and tables in Markdown, whatever characters the text has."""

from collections.abc import Iterable, Sequence
from typing import Any

from .html import format_value


def escape(value: Any) -> str:
    """Return a value as text that breaks neither a table nor the page."""
    text = " ".join(format_value(value).split())
    for sign in "\\|*`[_":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table.

    Args:
        header: names of the columns.
        rows: cells, which are escaped.
    """
    lines = [header, ["---"] * len(header), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
