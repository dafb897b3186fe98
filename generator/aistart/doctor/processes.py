"""Other programs, asked with a time limit."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

QUICK = 10.0  # seconds for a program that answers at once when all is well


@dataclass(frozen=True)
class Done:
    """How a program ended.

    Attributes:
        trouble: why there is no answer, in words; None: it ended with exit code 0.
    """

    output: str
    errors: str
    trouble: str | None


def run(
    words: Sequence[str],
    seconds: float = QUICK,
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Done:
    """Run a program to its end or to the time limit; it never raises."""
    # Files: a pipe would stay open as long as a child of a program that was killed lives on.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            return Done("", "", f"does not start: {error.strerror or error}")
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        said, complained = _text(output), _text(errors)
    return Done(said, complained, _trouble(code, seconds, complained))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _trouble(code: int | None, seconds: float, errors: str) -> str | None:
    if code is None:
        return f"no answer within {seconds:g} s"
    if code < 0:
        return f"killed by {signal.strsignal(-code)} (signal {-code})"
    if code == 0:
        return None
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:200] if lines else f"exit code {code}, without a word"
