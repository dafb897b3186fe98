"""What can go wrong, as one line for the user and an exit code for scripts."""

import reprlib
from collections.abc import Iterable
from typing import IO, Any

import click

_SHOWN = 120  # characters


class AistartError(click.ClickException):
    """The environment is in the way: disk, permission, a missing program (exit code 1)."""

    exit_code = 1
    shows_traceback = False  # as the command line wishes

    def show(self, file: IO[Any] | None = None) -> None:
        """One line; above it, with --verbose, where it comes from."""
        if AistartError.shows_traceback:
            import traceback

            traceback.print_exception(self, file=file)
        super().show(file)


class UsageProblem(AistartError):
    """What the user asked for is not possible as asked (exit code 2)."""

    exit_code = 2


def unknown(kind: str, value: str, allowed: Iterable[str]) -> UsageProblem:
    """An error that names the value, the nearest valid one and all that are allowed."""
    names = list(allowed)
    near = nearest(value, names)
    hint = f" Did you mean {near!r}?" if near else ""
    listed = f"Allowed: {', '.join(names)}." if names else "There are none."
    return UsageProblem(f"{kind}: {shown(value)} is unknown.{hint} {listed}")


def shown(value: object) -> str:
    """A value as messages name it: quoted, and not longer than a person reads."""
    # Of what holds itself many times over only the beginning is written out.
    short = reprlib.Repr()
    short.maxlevel = 3
    short.maxother = short.maxlong = short.maxstring = 2 * _SHOWN
    text = repr(value[: _SHOWN + 1]) if isinstance(value, str) else short.repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]}…{text[0]}"


def nearest(value: str, names: Iterable[str]) -> str | None:
    """The name that a person may have meant."""
    import difflib

    if len(value) > _SHOWN:
        return None
    names = list(names)
    begins = [name for name in names if value and name.startswith(value)]
    return next(iter([*begins, *difflib.get_close_matches(value, names, n=1)]), None)
