"""Recording a run in MLflow, beside training and never in its way.

A process of its own follows the run's folder and sends what is new (``tracking``). Whatever
happens to it or to the server, training goes on, and what could not be sent can be sent later:
``python -m PACKAGE.tracking replay RUN``.
"""

import base64
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config, without_password
from .errors import Interrupted
from .files import project_root
from .runs import Run

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__package__)

PATIENCE = 20  # seconds without a sign of life, once training is over
INTERRUPTED_PATIENCE = 5  # as much when whoever stopped the run may be about to kill it


def tracking_uri(config: Config) -> str:
    """Where runs are recorded: the field, the environment, or the project's own store."""
    own = f"sqlite:///{project_root() / 'mlflow.db'}"
    return config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or own


def experiment_name(config: Config) -> str:
    return config.tracking.experiment or __package__


def write_request(run: Run, signature: dict[str, Any], example: "pd.DataFrame") -> None:
    """Keep signature and example of a request to the served model in the run's folder.

    Args:
        signature: columns of ``inputs`` and ``outputs`` as MLflow writes them in JSON.
        example: bytes of ``binary`` columns are kept as base64.
    """
    rows = [
        {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
        for row in example.to_dict("records")
    ]
    run.write("request", {"signature": signature, "example": rows})


class Recorder:
    """The process that follows a run. ``PROTOCOL``: it prints a line whenever it got something
    done, ``allow SECONDS`` before what takes longer; a status on its standard input ends it."""

    def __init__(self, config: Config, run: Run) -> None:
        self.run, self.uri = run, tracking_uri(config)
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            # The recorded configuration has no passwords; the environment of a process is private.
            "MLFLOW_TRACKING_URI": self.uri,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        with (run.path / "tracking.log").open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.tracking", "follow", str(run.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                start_new_session=True,  # Ctrl-C is for training alone
            )
        self._deadline = 0.0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def finish(self, status: str) -> None:
        """Tell how the run ended, and wait while what is left is being sent."""
        patience = PATIENCE if status == "FINISHED" else INTERRUPTED_PATIENCE
        self._extend(patience)
        try:
            self._process.stdin.write(f"{status}\n")
            self._process.stdin.close()
        except OSError:
            log.debug("the process that records the run has ended early")
        while self._listener.is_alive() and time.monotonic() < self._deadline:
            self._listener.join(0.05)
        if status == "FINISHED" and self._process.poll() is None and self._listener.is_alive():
            self._process.kill()

    def recorded(self) -> dict[str, Any]:
        """What MLflow has of the run, for its summary; says so if that is not all."""
        state = self.run.read("tracking") or {}
        if not state.get("complete"):
            reason = state.get("problem") or "no answer in time"
            log.warning(
                "MLflow: %s: %s. The run is whole on disk; to send it: "
                "python -m %s.tracking replay %s",
                without_password(self.uri),
                reason,
                __package__,
                self.run.id,
            )
        names = ("tracking_uri", "run_id", "model_uri", "registered_version", "complete")
        missing = {"tracking_uri": without_password(self.uri), "complete": False}
        return {name: state.get(name, missing.get(name)) for name in names}

    def _listen(self) -> None:
        for line in self._process.stdout:
            words = line.split()
            self._extend(float(words[1]) if words[:1] == ["allow"] else PATIENCE)

    def _extend(self, seconds: float) -> None:
        self._deadline = max(self._deadline, time.monotonic() + seconds)


@contextmanager
def recorded(config: Config, run: Run) -> Iterator[Recorder | None]:
    """A run that is being recorded; None where that is switched off."""
    recorder = Recorder(config, run) if config.tracking.enabled else None
    try:
        yield recorder
    except BaseException as error:
        if recorder:
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            recorder.finish("KILLED" if stopped else "FAILED")
        raise
