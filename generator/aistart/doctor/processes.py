"""Other programs, run with a time limit."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

QUICK = 10.0  # seconds; a healthy program that only prints something takes far less


@dataclass(frozen=True)
class ProgramResult:
    """The result of a program.

    Attributes:
        output: its standard output.
        errors: its standard error.
        failure: why it failed, in words; None: it ended with exit code 0.
    """

    output: str
    errors: str
    failure: str | None


def run(
    words: Sequence[str],
    seconds: float = QUICK,
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ProgramResult:
    """Run a program to its end or to the time limit; it never raises.

    Args:
        words: the program and its arguments.
        seconds: after which it is killed, with all its children.
        folder: to run it in; None: the current one.
        environment: its environment variables.
    """
    # Files, since a pipe stays open as long as a child of the killed program lives on.
    with tempfile.TemporaryFile() as output_file, tempfile.TemporaryFile() as error_file:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output_file,
                stderr=error_file,
                start_new_session=True,
            )
        except OSError as error:
            return ProgramResult("", "", f"does not start: {error.strerror or error}")
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill(process)
        output, errors = _read(output_file), _read(error_file)
    return ProgramResult(output, errors, _describe_failure(code, seconds, errors))


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _describe_failure(code: int | None, seconds: float, errors: str) -> str | None:
    if code is None:
        return f"no answer within {seconds:g} s"
    if code < 0:
        return f"killed by {signal.strsignal(-code)} (signal {-code})"
    if code == 0:
        return None
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:200] if lines else f"exit code {code}, without a message"
