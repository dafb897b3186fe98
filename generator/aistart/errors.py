"""Errors as users see them: one line, and an exit code for scripts."""

import reprlib
from collections.abc import Iterable
from typing import IO, Any

import click

_MAX_VALUE_LENGTH = 120  # characters


class AistartError(click.ClickException):
    """The environment prevents it: disk, permissions, a missing program (exit code 1)."""

    exit_code = 1
    shows_traceback = False  # set by --verbose

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message as one line; with --verbose, print the traceback above it."""
        if AistartError.shows_traceback:
            import traceback

            traceback.print_exception(self, file=file)
        super().show(file)


class UsageProblem(AistartError):
    """The user asked for something that is not possible (exit code 2)."""

    exit_code = 2


def unknown_name_error(kind: str, value: str, allowed: Iterable[str]) -> UsageProblem:
    """Build the error for a name that does not exist.

    Args:
        kind: what the name stands for, for example ``template``.
        value: the unknown name.
        allowed: all names that exist; the message lists them and suggests the closest one.
    """
    names = list(allowed)
    suggestion = closest_name(value, names)
    hint = f" Did you mean {suggestion!r}?" if suggestion else ""
    alternatives = f"Allowed: {', '.join(names)}." if names else "There are none."
    return UsageProblem(f"{kind}: {format_value(value)} is unknown.{hint} {alternatives}")


def format_value(value: object) -> str:
    """Format a value for a message: quoted, and cut where it is too long to read."""
    # Bounded, because a nested value may contain itself many times over.
    short = reprlib.Repr()
    short.maxlevel = 3
    short.maxother = short.maxlong = short.maxstring = 2 * _MAX_VALUE_LENGTH
    text = repr(value[: _MAX_VALUE_LENGTH + 1]) if isinstance(value, str) else short.repr(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 2]}…{text[0]}"


def closest_name(value: str, names: Iterable[str]) -> str | None:
    """Return the name that a mistyped value most likely stands for, or None.

    Args:
        value: what the user typed.
        names: the names to choose from; one that begins with ``value`` comes first.
    """
    import difflib

    if len(value) > _MAX_VALUE_LENGTH:
        return None
    names = list(names)
    prefixed = [name for name in names if value and name.startswith(value)]
    return next(iter([*prefixed, *difflib.get_close_matches(value, names, n=1)]), None)
