"""What a check found: a line for a person, an object for a program, an exit code for a script."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import click

from aistart.layout import is_narrow, wrapped

Status = Literal["ok", "warning", "problem"]

EXIT_CODES: dict[Status, int] = {"ok": 0, "warning": 3, "problem": 1}
COLORS: dict[Status, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
INDENT = 22  # characters before a message: two columns, as wide as their longest words


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: a word or two for what was checked.
        fix: the command that would make it ok, to be typed in a shell.
    """

    check: str
    status: Status
    message: str
    fix: str | None = None


def ok(check: str, message: str) -> Finding:
    return Finding(check, "ok", message)


def warning(check: str, message: str, fix: str | None = None) -> Finding:
    """It works, but not as it could or as it was tested."""
    return Finding(check, "warning", message, fix)


def problem(check: str, message: str, fix: str | None = None) -> Finding:
    """Something that is needed or wished for does not work."""
    return Finding(check, "problem", message, fix)


def some(names: list[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def report(findings: Iterable[Finding], as_json: bool) -> int:
    """Print findings, as lines while they come in or as a JSON list; returns the exit code."""
    seen = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            click.echo(_lines(finding), color=False if os.environ.get("NO_COLOR") else None)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in seen], indent=2))
    statuses = [finding.status for finding in seen]
    if not as_json:
        click.echo(_summary(statuses))
    return EXIT_CODES[max(statuses, key=list(EXIT_CODES).index)]


def _summary(statuses: list[Status]) -> str:
    counts = [(statuses.count(status), status) for status in ("problem", "warning")]
    parts = [f"{count} {status}{'s' * (count > 1)}" for count, status in counts if count]
    return f"\n{', '.join(parts)}." if parts else "\nAll is ok."


def _lines(finding: Finding) -> str:
    status = click.style(f"{finding.status:<7}", COLORS[finding.status])
    narrow = sys.stdout.isatty() and is_narrow()
    indent = 2 if narrow else INDENT
    head = f"{status}  {finding.check}\n  " if narrow else f"{status}  {finding.check:<11}  "
    message = wrapped(finding.message, indent).lstrip() if sys.stdout.isatty() else finding.message
    # A command stays whole, however long, so that it can be copied.
    fix = f"\n{' ' * indent}{finding.fix}" if finding.fix else ""
    return f"{head}{message}{fix}"
