"""The result of a check: a line for people, an object for programs, an exit code for scripts."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import click

from aistart.layout import is_narrow, wrap

Status = Literal["ok", "warning", "problem"]

EXIT_CODES: dict[Status, int] = {"ok": 0, "warning": 3, "problem": 1}
COLORS: dict[Status, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
INDENT = 22  # characters before a message: two columns, as wide as their longest words


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was checked, in a word or two.
        status: ok, warning or problem.
        message: what was found.
        fix: a shell command that would make it ok, if there is one.
    """

    check: str
    status: Status
    message: str
    fix: str | None = None


def ok(check: str, message: str) -> Finding:
    """Build a finding for something that works."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, fix: str | None = None) -> Finding:
    """Build a finding for something that works, but not as it could or as it was tested."""
    return Finding(check, "warning", message, fix)


def problem(check: str, message: str, fix: str | None = None) -> Finding:
    """Build a finding for something that is needed or configured, and does not work."""
    return Finding(check, "problem", message, fix)


def print_report(findings: Iterable[Finding], as_json: bool) -> int:
    """Print findings and return the exit code of the worst.

    Args:
        findings: the results of checks, which may still run while the first are printed.
        as_json: whether to print one JSON list instead of lines.
    """
    results = []
    for finding in findings:
        results.append(finding)
        if not as_json:
            click.echo(_format(finding), color=False if os.environ.get("NO_COLOR") else None)
    statuses = [finding.status for finding in results]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in results], indent=2))
    else:
        click.echo(_summarize(statuses))
    return EXIT_CODES[max(statuses, key=list(EXIT_CODES).index)]


def _summarize(statuses: list[Status]) -> str:
    counts = [(statuses.count(status), status) for status in ("problem", "warning")]
    parts = [f"{count} {status}{'s' * (count > 1)}" for count, status in counts if count]
    return f"\n{', '.join(parts)}." if parts else "\nAll is ok."


def _format(finding: Finding) -> str:
    status = click.style(f"{finding.status:<7}", COLORS[finding.status])
    narrow = sys.stdout.isatty() and is_narrow()
    indent = 2 if narrow else INDENT
    head = f"{status}  {finding.check}\n  " if narrow else f"{status}  {finding.check:<11}  "
    message = wrap(finding.message, indent).lstrip() if sys.stdout.isatty() else finding.message
    # A command is never wrapped, so that it can be copied.
    fix = f"\n{' ' * indent}{finding.fix}" if finding.fix else ""
    return f"{head}{message}{fix}"
