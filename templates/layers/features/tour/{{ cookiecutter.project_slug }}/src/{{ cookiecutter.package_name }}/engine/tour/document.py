"""Read the steps of ``docs/onboarding.md``, which a team may edit."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import DataProblem

CHECK = "check"  # the info string of the fence that holds a step's check

_HEADING = re.compile(r"#{1,2} ")
_STEP = re.compile(r"## +(\d+)\. *(.*?)\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})\s*([^`]*?)\s*")


@dataclass(frozen=True)
class Step:
    """A section ``## N. Title``.

    Attributes:
        number: its place among the steps, from 1.
        title: of the section, without the number.
        line: of its heading in the document, from 1.
        written_number: the number in its heading, which an edit may have made another one.
        text: lines above the check.
        check: shell commands that succeed once the step is done; None: nothing can be checked.
        hint: lines below the check: what to do if it fails.
    """

    number: int
    title: str
    line: int
    written_number: int
    text: tuple[str, ...]
    check: str | None
    hint: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    fence: str | None  # info string of the fence around it, of which it may be a mark itself
    is_mark: bool = False  # opens or closes a fence


def read_steps(path: Path) -> list[Step]:
    """Return the steps of a document in its order.

    Raises:
        OSError: the file cannot be read.
        DataProblem: it is no UTF-8, has no step, a fence that is not closed, or a title twice.
    """
    try:
        lines = list(_mark_fences(path.read_text(encoding="utf-8").splitlines(), path))
    except UnicodeDecodeError as error:
        raise DataProblem(f"{path}: byte {error.start} is not UTF-8.") from None
    headings = [n for n, line in enumerate(lines) if _is_heading(line)]
    sections = [lines[start:end] for start, end in pairwise([*headings, len(lines)])]
    matches = [(_STEP.fullmatch(section[0].text), section) for section in sections]
    found = [(match, section) for match, section in matches if match]
    if not found:
        raise DataProblem(f"{path}: there is no step, that is no heading such as '## 1. Set up'.")
    steps = [
        _make_step(number, int(match[1]), match[2], section)
        for number, (match, section) in enumerate(found, start=1)
    ]
    _refuse_same_titles(steps, path)
    return steps


def _mark_fences(lines: Sequence[str], path: Path) -> Iterator[_Line]:
    """Yield the lines with the fence that each is in.

    Raises:
        DataProblem: a fence is not closed. Where a named fence begins in another one, the one
            around it is the one that is not.
    """
    opened: tuple[str, str, int] | None = None  # marks, info string, line
    for number, text in enumerate(lines, start=1):
        mark = _FENCE.fullmatch(text)
        if opened is None:
            opened = (mark[1], mark[2], number) if mark else None
            yield _Line(number, text, mark[2] if mark else None, is_mark=bool(mark))
            continue
        marks, info, line = opened
        is_same_kind = mark is not None and mark[1].startswith(marks)
        if mark and is_same_kind and mark[2]:
            raise _not_closed(path, line, number)
        if is_same_kind:
            opened = None
        yield _Line(number, text, info, is_mark=is_same_kind)
    if opened:
        raise _not_closed(path, opened[2], len(lines))


def _not_closed(path: Path, line: int, before: int) -> DataProblem:
    return DataProblem(
        f"{path}: line {line}: the fence that begins here is not closed before line {before}."
    )


def _is_heading(line: _Line) -> bool:
    return line.fence is None and bool(_HEADING.match(line.text))


def _make_step(number: int, written: int, title: str, section: Sequence[_Line]) -> Step:
    heading, *lines = section
    checks = [line for line in lines if line.fence == CHECK]
    first = checks[0].number if checks else lines[-1].number + 1 if lines else heading.number
    above = [line.text for line in lines if line.number < first]
    below = [line.text for line in lines if line.number > first and line.fence != CHECK]
    commands = [line.text for line in checks if not line.is_mark]
    check = "\n".join(commands).strip() or None
    title = title or f"Step {number}"
    return Step(number, title, heading.number, written, _trim(above), check, _trim(below))


def _trim(lines: Sequence[str]) -> tuple[str, ...]:
    """Return lines without empty ones at their beginning and end."""
    return tuple("\n".join(lines).strip("\n").splitlines())


def _refuse_same_titles(steps: Sequence[Step], path: Path) -> None:
    lines: dict[str, int] = {}
    for step in steps:
        if step.title in lines:
            raise DataProblem(
                f"{path}: line {step.line}: the step of line {lines[step.title]} has the title "
                f"{step.title!r} too; progress is kept by title, so change one of them."
            )
        lines[step.title] = step.line
