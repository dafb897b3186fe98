"""Commands in documents, and comparison of what they print with what the documents show.

Commands stand in three kinds of fences and in code spans of the prose:

- ``console``: commands behind ``$ ``, with the output that they show below;
- ``bash``: commands alone, one a line;
- ``check``: a command that exits with 0 once a step is done;
- ``diff``: an edit that a reader makes, as one "command".

A command goes on in the next line behind a backslash and within quotation marks. All other fences
hold no commands.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"(?P<indent>\s*)(?P<marks>`{3,})(?P<language>[\w-]*)")
KINDS = ("console", "bash", "check", "diff")
ANYTHING = "…"

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What differs from run to run, the most specific first.
_VARIABLE = (
    (re.compile(r"(?<![^\s\"'(=:\[])(?:(?:https?|sqlite):)?…?(?:/[^\s:'\",;`]+)+/?"), "PATH"),
    (re.compile(r"\b\d{8}-\d{6}(?:-[0-9a-f]{4})?\b"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b"), "HASH"),
    (re.compile(r"[-+]?\d[\d.,:]*(?:e[-+]?\d+)?"), "N"),
)


@dataclass(frozen=True)
class Command:
    """A command of a document.

    Attributes:
        document: path of the document.
        line: where the command begins, from 1.
        text: the command, or the diff; its lines are joined by ``\\n``.
        kind: the language of its fence, or ``span``.
        fence: line of the fence, 0 for a span.
        section: heading (of level 1 or 2) above it.
        output: lines that the document shows below it; empty if it shows none.
    """

    document: str
    line: int
    text: str
    kind: str
    section: str = ""
    fence: int = 0
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"$ {self.text}" if self.kind != "diff" else "the diff"
        return f"{self.document}:{self.line}: {text}"

    @property
    def words(self) -> list[str]:
        """Words as the shell reads them, without comments."""
        return shlex.split(self.text, comments=True)


def find_commands(document: str, text: str) -> list[Command]:
    """Return the commands in the fences of a document, in order.

    Raises:
        ValueError: a fence or a quotation mark is not closed.
    """
    commands: list[Command] = []
    for fence in _find_fences(document, text):
        if fence.language == "diff":
            content = "".join(f"{line}\n" for line in fence.lines)
            commands.append(
                Command(document, fence.line, content, "diff", fence.section, fence.line)
            )
        elif fence.language in KINDS:
            commands += _read_fence(document, fence)
    return commands


def find_spans(document: str, text: str, programs: tuple[str, ...]) -> list[Command]:
    """Return code spans that are commands: one of the programs and at least one word more."""
    spans, section = [], ""
    for line, paragraph in _find_paragraphs(document, text):
        if paragraph.startswith("#"):
            section = _read_heading(paragraph, section)
        for match in re.finditer(r"`([^`]+)`", paragraph):
            content = " ".join(match[1].split())
            if _is_command(content, programs):
                place = line + paragraph.count("\n", 0, match.start())
                spans.append(Command(document, place, content, "span", section))
    return spans


def find_unmarked(document: str, text: str, programs: tuple[str, ...]) -> list[str]:
    """Return a message for each command that stands in a fence without commands."""
    return [
        f"{document}:{number}: a command in a fence that is neither console nor bash: {line}"
        for fence in _find_fences(document, text)
        if fence.language in ("", "text", "sh", "shell")
        for number, line in enumerate(fence.lines, fence.line + 1)
        if line.startswith("$ ") or _is_command(line.strip(), programs)
    ]


def compare_output(shown: tuple[str, ...], printed: str) -> str | None:
    """Compare output in kind, and return the difference or None.

    Numbers, times, ids, hashes, paths and the width of gaps may differ. ``…`` stands for anything
    in its line, and alone in a line for any lines.
    """
    lines = [_normalise(line) for line in _ANSI.sub("", printed).splitlines()]
    actual = "".join(f"{line}\n" for line in _strip(lines))
    patterns = [_pattern(line) for line in shown]
    if re.fullmatch("".join(patterns), actual):
        return None
    matching = next(n for n in range(len(shown), -1, -1) if re.match("".join(patterns[:n]), actual))
    if matching == len(shown):
        return f"more output than the document shows:\n{printed}"
    return f"no output like {shown[matching]!r}:\n{printed}"


@dataclass(frozen=True)
class _Fence:
    language: str
    line: int
    section: str
    lines: tuple[str, ...]


def _find_fences(document: str, text: str) -> Iterator[_Fence]:
    opened, language, start, lines, section = None, "", 0, [], ""
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.fullmatch(line.rstrip())
        if opened is None and match:
            opened, language, start, lines = match, match["language"], number, []
        elif opened is None:
            section = _read_heading(line, section)
        elif match and match["marks"] == opened["marks"] and not match["language"]:
            yield _Fence(language, start, section, tuple(lines))
            opened = None
        else:
            lines.append(line.removeprefix(opened["indent"]))
    if opened is not None:
        raise ValueError(f"{document}:{start}: the fence is not closed.")


def _read_heading(line: str, section: str) -> str:
    match = re.match(r"#{1,2} (.*)", line)
    return match[1].strip() if match else section


def _find_paragraphs(document: str, text: str) -> Iterator[tuple[int, str]]:
    lines = text.splitlines()
    for fence in _find_fences(document, text):
        end = fence.line + len(fence.lines) + 1
        lines[fence.line - 1 : end] = [""] * (end - fence.line + 1)
    start = 0
    for number, line in enumerate([*lines, ""]):
        if line.strip() and not line.startswith(("#", "|")):
            continue
        if lines[start:number]:
            yield start + 1, "\n".join(lines[start:number])
        if line.strip():
            yield number + 1, line
        start = number + 1


def _read_fence(document: str, fence: _Fence) -> list[Command]:
    commands: list[Command] = []
    lines = list(enumerate(fence.lines, fence.line + 1))
    while lines:
        number, line = lines.pop(0)
        if fence.language == "console" and not line.startswith("$ "):
            raise ValueError(f"{document}:{number}: output without a command above it.")
        text = line.removeprefix("$ ") if fence.language == "console" else line
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        while _goes_on(text):
            if not lines:
                raise ValueError(f"{document}:{number}: the command is not complete: {text}")
            text += "\n" + lines.pop(0)[1]
        output = []
        while fence.language == "console" and lines and not lines[0][1].startswith("$ "):
            output.append(lines.pop(0)[1])
        place = (fence.language, fence.section, fence.line, tuple(_strip(output)))
        commands.append(Command(document, number, text, *place))
    return commands


def _goes_on(text: str) -> bool:
    if text.endswith("\\"):
        return True
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _is_command(text: str, programs: tuple[str, ...]) -> bool:
    words = text.split()
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
        if words and words[0] in programs:
            return True
    return len(words) > 1 and words[0] in programs


def _strip(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return lines[:end]


def _normalise(line: str) -> str:
    for pattern, name in _VARIABLE:
        line = pattern.sub(name, line)
    return " ".join(line.split())


def _pattern(line: str) -> str:
    if line.strip() == ANYTHING:
        return r"(?:.*\n)*?"
    parts = [re.escape(part) for part in _normalise(line).split(ANYTHING)]
    return ".*?".join(parts) + r"\n"
