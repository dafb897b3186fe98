"""Errors as one line for a person and an exit code for scripts."""

import difflib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

OUT_OF_DEVICE_MEMORY = ("RESOURCE_EXHAUSTED", "OOM when allocating")


class ProjectError(Exception):
    """The environment prevents it: disk, permission, network, a missing extra."""

    exit_code = 1


class UsageProblem(ProjectError):
    """A field, a value or a combination of them is not allowed."""

    exit_code = 2


class DataProblem(ProjectError):
    """Data or a model file is malformed."""

    exit_code = 3


class Diverged(ProjectError):
    """Loss or weights became NaN or infinite."""

    exit_code = 4


class Interrupted(ProjectError):
    """A signal (SIGTERM, Ctrl-C) stopped the program."""

    exit_code = 75


class WorkerLost(ProjectError):
    """A worker is gone or must leave. The process then ends without exit handlers, which would wait
    for the other workers."""


class OutOfDeviceMemory(WorkerLost):
    """The device of a worker has no memory left for a step that the others wait for."""


def unknown(field: str, value: str, allowed: Iterable[str]) -> UsageProblem:
    """Return an error that names field, value, the nearest valid one and all allowed ones.

    Args:
        field: what the value was given for.
        value: the unknown one.
        allowed: all valid ones.
    """
    names = sorted(allowed)
    nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    # Of many names, the most similar ones.
    shown = names if len(names) <= 12 else difflib.get_close_matches(value, names, 8, 0.0)
    more = ", …" if len(shown) < len(names) else ""
    return UsageProblem(f"{field}: {value!r} is unknown.{hint} Allowed: {', '.join(shown)}{more}.")


def missing_extra(field: str, extra: str) -> ProjectError:
    """Return an error for a field whose value needs packages that are not installed.

    Args:
        field: its name.
        extra: of ``pyproject.toml``, which has these packages.
    """
    return ProjectError(f"{field}: needs an extra: pip install -e '.[{extra}]'.")


def run_command(body: Callable[[list[str]], None], words: Sequence[str]) -> int:
    """Call a command with the words of the command line and return its exit code.

    Errors are printed as one line; ``--debug`` among the words adds the traceback.

    Args:
        body: the command; it raises to fail.
        words: of the command line, without the program's name.
    """
    debug = "--debug" in words
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    try:
        body([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return 0
    except SystemExit as end:  # argparse, once it has printed the help
        return int(end.code or 0)
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        message, code = describe(error)
        print(f"error: {message}", file=sys.stderr)
        if isinstance(error, WorkerLost):
            sys.stdout.flush()
            os._exit(code)
        return code


def _stop(number: int, frame: object) -> NoReturn:
    raise Interrupted("stopped by SIGTERM.")


def describe(error: BaseException) -> tuple[str, int]:
    """Return an error as one line and an exit code."""
    if isinstance(error, ProjectError):
        return _one_line(str(error)), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted.", Interrupted.exit_code
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return _one_line(f"{place}{error.strerror}."), ProjectError.exit_code
    text = _one_line(f"{type(error).__name__}: {error}")
    if is_out_of_device_memory(error):
        # TensorFlow begins with where in the graph it was.
        begin = max(text.find(mark) for mark in OUT_OF_DEVICE_MEMORY)
        reason = text[max(begin, 0) :][:200]
        message = f"not enough device memory; try a smaller data.batch_size ({reason})"
        return message, ProjectError.exit_code
    return f"{text[:500]} (--debug shows where)", ProjectError.exit_code


def is_out_of_device_memory(error: BaseException) -> bool:
    """Return whether TensorFlow or JAX, which have several types for it, lack memory."""
    text = str(error)
    if type(error).__name__ == "ResourceExhaustedError":
        return "No space left" not in text  # of a disk
    of_framework = type(error).__module__.startswith(("jax", "tensorflow"))
    return of_framework and any(mark in text for mark in OUT_OF_DEVICE_MEMORY)


def _one_line(text: str) -> str:
    return " ".join(text.split())
