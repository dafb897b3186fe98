"""A trial: one run of ``train`` in a process of its own, followed by what it writes.

A process of its own may crash, run out of memory or hang without harm to the study. It measures the
validation split alone (``train --measure validation``).
"""

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .. import PACKAGE
from ..runs import Run, all_runs

KEY = "tune.key"  # the tag by which a trial's run is found
SECONDS_TO_STOP = 60.0  # for a checkpoint
PR_SET_PDEATHSIG = 1  # of Linux's prctl
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # nothing is loaded after a fork


@dataclass(frozen=True)
class Epoch:
    """Epoch, counted from 1, with its metrics named ``split/metric``."""

    number: int
    metrics: dict[str, float]


class TrialProcess:
    """``train`` for one trial.

    Args:
        words: of the command line of ``train``.
        tags: of the run, in MLflow too; ``KEY`` among them.
        log_file: where it prints to.
        run: the run to resume; None: a new one.
    """

    def __init__(
        self, words: Sequence[str], tags: Mapping[str, str], log_file: Path, run: Run | None = None
    ) -> None:
        self.run, self.tags, self.log_file = run, tags, log_file
        self.resumes = run is not None
        self._known = {each.id for each in all_runs()}
        self._lines = 0
        self._last_sign = time.monotonic()
        start = ["--resume", run.id] if run else ["--fresh"]
        command = ["train", *words, "--measure", "validation", *start]
        with log_file.open("a", encoding="utf-8") as output:
            self._process = start_process(command, tags, output)

    def __enter__(self) -> "TrialProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.poll()

    def find_run(self) -> Run | None:
        """Return its run, once there is one."""
        if self.run is None:
            for run in all_runs():
                if run.id in self._known:
                    continue
                record = run.read("record")
                if record and record["tags"].get(KEY) == self.tags[KEY]:
                    self.run = run
        return self.run

    def read_epochs(self) -> Iterator[Epoch]:
        """Yield the epochs that have ended since the last call."""
        run = self.find_run()
        lines = run.read_metrics(self._lines) if run else []
        if lines:
            self._last_sign = time.monotonic()
        self._lines += len(lines)
        for line in lines:
            if any(name.startswith("validation/") for name in line["metrics"]):
                yield Epoch(line["epoch"], line["metrics"])

    def seconds_without_a_sign(self) -> float:
        """Return for how long nothing was written to ``metrics.jsonl``."""
        return time.monotonic() - self._last_sign

    def stop(self) -> int:
        """Stop it with SIGTERM, so that it writes a checkpoint, and return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once, with what it has started, and return its exit code."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def read_error(self) -> str:
        """Return the error that it printed last, or how it ended."""
        code = self._process.returncode
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        if code and code > 0 and errors:
            return errors[-1].removeprefix("error: ")
        if code and code < 0:
            # The kernel's own way to say that there is no memory left.
            return f"killed by {signal.Signals(-code).name}, as when memory runs out."
        return f"it ended with exit code {code}."


def start_process(
    words: Sequence[str], tags: Mapping[str, str], output: IO[str]
) -> "subprocess.Popen[bytes]":
    """Start a command of the project, which ends with this process.

    Args:
        words: of its command line.
        tags: of the runs that it makes.
        output: where it prints to.
    """
    paths = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    context = json.loads(os.environ.get("MLFLOW_RUN_CONTEXT") or "{}")
    return subprocess.Popen(
        [sys.executable, "-m", PACKAGE, *words],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_RUN_CONTEXT": json.dumps({**context, **tags}),
        },
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for the study, which then stops its trial
        preexec_fn=end_with_parent if LIBC else None,
    )


def end_with_parent() -> None:
    """Get SIGTERM when the study is killed: whoever repeats the trial needs its run."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def read_best_value(epochs: Sequence[Epoch], goal: str) -> float | None:
    """Return the goal at the epoch whose weights a run keeps: that of the lowest validation loss.

    The best of all epochs would be of weights that nobody gets, and the more so the noisier.

    Args:
        epochs: of a run.
        goal: a metric, such as ``validation/accuracy``.

    Returns:
        The value; None if no epoch has ended, or it is not finite.
    """
    if not epochs:
        return None
    kept = min(epochs, key=lambda epoch: epoch.metrics["validation/loss"])
    value = kept.metrics[goal]
    return value if math.isfinite(value) else None


def describe(values: Mapping[str, Any]) -> str:
    """Return settings on one line."""
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
