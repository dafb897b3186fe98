"""Steps as text for a terminal: paragraphs at its width, commands as they are."""

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence

from .document import Step

MOST_COLUMNS = 100
MOST_LINES = 12  # of what a check has printed

_FENCE = re.compile(r" {0,3}(?:`{3,}|~{3,})")
_BEGINS_A_LINE = re.compile(r"\s*(?:[-*+] |\d+\. |\||>|#)")  # lists, tables, quotes, headings
_ITEM = re.compile(r"\s*(?:[-*+]|\d+\.) +")


def show_step(step: Step, count: int) -> str:
    """Return a step with its place and its text."""
    title = f"{step.number} of {count}: {step.title}"
    rule = "=" * min(len(title), _width())
    return "\n".join(["", *_wrap(title), rule, "", *_render(step.text)])


def show_hint(step: Step) -> str:
    """Return what to do if the check of a step fails."""
    return "\n".join(_render(step.hint))


def show_output(output: str) -> str:
    """Return the end of what a check has printed, indented."""
    lines = output.splitlines()[-MOST_LINES:]
    return textwrap.indent("\n".join(lines), "    ")


def show_paragraph(text: str) -> str:
    """Return a text in lines of the terminal's width."""
    return "\n".join(_wrap(text))


def _render(lines: Sequence[str]) -> Iterator[str]:
    paragraph: list[str] = []
    in_fence = False
    for line in [*lines, ""]:
        is_mark = bool(_FENCE.match(line))
        if is_mark or in_fence or not line.strip() or _BEGINS_A_LINE.match(line):
            yield from _wrap(" ".join(paragraph))
            paragraph = []
        if is_mark:
            in_fence = not in_fence
        elif in_fence:
            yield f"    {line}".rstrip()
        elif line.lstrip().startswith("|"):
            yield line
        elif line.strip():
            paragraph.append(line.strip() if paragraph else line.rstrip())
        else:
            yield ""


def _wrap(text: str) -> list[str]:
    item = _ITEM.match(text)
    # Commands and paths are copied: they stay whole, even if they are longer than a line.
    return textwrap.wrap(
        text,
        _width(),
        subsequent_indent=" " * len(item[0]) if item else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return max(20, min(shutil.get_terminal_size().columns, MOST_COLUMNS))
