"""What can go wrong, as one line for the user and an exit code for scripts."""

import difflib
from collections.abc import Iterable

import click


class AistartError(click.ClickException):
    """The environment is in the way: disk, permission, a missing program (exit code 1)."""

    exit_code = 1


class UsageProblem(AistartError):
    """What the user asked for is not possible as asked (exit code 2)."""

    exit_code = 2


def unknown(kind: str, value: str, allowed: Iterable[str]) -> UsageProblem:
    """An error that names the value, the nearest valid one and all that are allowed."""
    names = list(allowed)
    nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return UsageProblem(f"{kind}: {value!r} is unknown.{hint} Allowed: {', '.join(names)}.")
