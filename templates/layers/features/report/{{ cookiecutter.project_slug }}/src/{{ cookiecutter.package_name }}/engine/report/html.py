"""Parts of the page as HTML. Text is escaped here, whatever its source."""

import base64
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from .. import figures

MAX_ROWS = 200  # of a table; the file beside it has all

KINDS = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: its anchor.
        title: its heading.
        body: its content.
    """

    id: str
    title: str
    body: Markup


def join(parts: Iterable[Markup]) -> Markup:
    """Return parts one after the other."""
    return Markup("\n").join(parts)


def paragraph(text: str, kind: str = "") -> Markup:
    """Return a paragraph.

    Args:
        text: its text.
        kind: a class of the style sheet: ``lead``, ``note``.
    """
    return (
        Markup('<p class="{}">{}</p>').format(kind, text)
        if kind
        else Markup("<p>{}</p>").format(text)
    )


def heading(text: str) -> Markup:
    """Return a heading within a section."""
    return Markup("<h3>{}</h3>").format(text)


def facts(rows: Mapping[str, Any]) -> Markup:
    """Return names with their values; those that are None or empty are left out."""
    lines = [
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, format_value(value))
        for name, value in rows.items()
        if value is not None and value != ""
    ]
    return Markup("<dl>{}</dl>").format(join(lines))


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> Markup:
    """Return a table that is sorted by a click on a heading.

    Args:
        header: names of the columns.
        rows: text, numbers, or HTML.
        caption: what the table is, also for those who cannot see it.
    """
    rows = list(rows)
    head = join(
        Markup('<th scope="col"><button type="button">{}</button></th>').format(name)
        for name in header
    )
    body = join(Markup("<tr>{}</tr>").format(join(map(_cell, row))) for row in rows[:MAX_ROWS])
    left = len(rows) - MAX_ROWS
    more = paragraph(f"{left} more rows are left out.", "note") if left > 0 else Markup("")
    return Markup(
        '<div class="scroll" role="region" tabindex="0" aria-label="Table: {}"><table>'
        "<caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>{}"
    ).format(caption, caption, head, body, more)


def figure(path: Path, title: str) -> Markup:
    """Return a figure's file as part of the page, with its description below.

    Args:
        path: SVG or PNG, as ``engine/figures.py`` writes them.
        title: of the figure.
    """
    return image(path.read_bytes(), KINDS[path.suffix], title, figures.read_description(path))


@contextmanager
def draw_figure(
    parts: list[Markup], title: str, width: float, height: float, description: str
) -> Iterator[Any]:
    """Yield axes to draw on; the figure is then added to the parts of a section.

    Args:
        parts: of the section.
        title: of the figure.
        width: in inches.
        height: in inches.
        description: see ``engine/figures.py``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        with figures.figure(path, width, height, description=description) as axis:
            yield axis
        parts.append(figure(path, title))


def image(content: bytes, kind: str, title: str, description: str = "") -> Markup:
    """Return an image as part of the page.

    Args:
        content: bytes of the file.
        kind: its media type.
        title: shown below it.
        description: read aloud, and shown after the title.
    """
    source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    alternative = f"{title}. {description}".strip()
    return Markup(
        '<figure><img src="{}" alt="{}"><figcaption><b>{}</b> {}</figcaption></figure>'
    ).format(source, alternative, title, description)


def format_value(value: Any) -> str:
    """Return a value as a person reads it: four digits of a fraction, thousands apart."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "undefined"
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def format_range(low: float, high: float) -> str:
    """Return an interval as a person reads it."""
    return f"{format_value(low)} to {format_value(high)}"


def _cell(value: Any) -> Markup:
    if isinstance(value, Markup):
        return Markup("<td>{}</td>").format(value)
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        key = value if math.isfinite(value) else ""
        return Markup('<td class="number" data-value="{}">{}</td>').format(key, format_value(value))
    return Markup("<td>{}</td>").format(format_value(value))
