"""Run the check of a step: a shell command that exits with 0 once the step is done."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIME_LIMIT = 120  # seconds


@dataclass(frozen=True)
class Result:
    """How a check ended: whether it succeeded, and what it printed."""

    succeeded: bool
    output: str


def run_check(check: str, folder: Path, limit: float = TIME_LIMIT) -> Result:
    """Run a check in a shell.

    The commands of this environment come first in ``PATH``, as if it were activated.

    Args:
        check: shell commands, of which the first that fails ends it.
        folder: to run in, the project's.
        limit: seconds after which it has failed.
    """
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with subprocess.Popen(
        ["sh", "-e", "-c", check],
        cwd=folder,
        env={**os.environ, "PATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it has started can be ended with it
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Result(False, f"It did not end within {limit:g} seconds.")
        except BaseException:  # Ctrl-C reaches only this process
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Result(process.returncode == 0, output.strip())
