"""Recording a run in MLflow, beside training and never in its way.

A process of its own follows the folder of the run and sends what is new (``sender.py``). Whatever
happens to it or to the server, training continues, and ``replay RUN`` sends later what is missing.
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

from .. import PACKAGE, PROGRAM
from ..config_fields import TrackingFields, without_password
from ..errors import Interrupted
from ..files import project_root
from ..runs import Recorded, Run

if TYPE_CHECKING:
    from ..artifact import Artifact
    from ..interfaces import DatasetSplits

log = logging.getLogger(__name__)

PATIENCE = 20  # seconds without a sign of life, once training is over
INTERRUPTED_PATIENCE = 5  # as much when whoever stopped the run may be about to kill it


def tracking_uri(tracking: TrackingFields) -> str:
    """Return where runs are recorded: the field, the environment, or the project's own store."""
    own = f"sqlite:///{project_root() / 'mlflow.db'}"
    return tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or own


def experiment_name(tracking: TrackingFields) -> str:
    """Return the configured name of the experiment, or the package's."""
    return tracking.experiment or PACKAGE


def write_request(run: Run, model: "Artifact", data: "DatasetSplits") -> None:
    """Write to the run's folder what serving needs to know: ``request.json``.

    It has ``signature``, the columns of ``inputs`` and ``outputs`` as MLflow writes them;
    ``example``, a request, with bytes as base64; and ``requirements``, packages of the model.

    Args:
        run: whose folder it is.
        model: that will be served.
        data: an example is taken from it.
    """
    task, preprocessing = model.task, model.preprocessing
    rows = [
        {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
        for row in task.example(data, preprocessing).to_dict("records")
    ]
    run.write(
        "request",
        {
            "signature": task.signature(preprocessing),
            "example": rows,
            "requirements": list(task.requirements),
        },
    )


def select_recorded(state: dict[str, Any]) -> Recorded:
    """Return what a summary says of ``tracking.json``."""
    return {
        "tracking_uri": state["tracking_uri"],
        "run_id": state.get("run_id"),
        "model_uri": state.get("model_uri"),
        "registered_version": state.get("registered_version"),
        "complete": state.get("complete", False),
    }


class Recorder:
    """The process that follows a run.

    Protocol: it prints a line whenever it has made progress, and ``allow SECONDS`` before something
    that takes longer; a status on its standard input ends it.
    """

    def __init__(self, tracking: TrackingFields, run: Run) -> None:
        self.run, self.uri = run, tracking_uri(tracking)
        paths = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            # The recorded configuration has no passwords; the environment of a process is private.
            "MLFLOW_TRACKING_URI": self.uri,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        with (run.path / "tracking.log").open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.sender", str(run.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                start_new_session=True,  # Ctrl-C is for training alone
            )
        self._deadline = 0.0
        self._listener = threading.Thread(target=self._read_lines, daemon=True)
        self._listener.start()

    def finish(self, status: str) -> None:
        """Pass on how the run ended, and wait while the rest is being sent."""
        patience = PATIENCE if status == "FINISHED" else INTERRUPTED_PATIENCE
        self._extend(patience)
        try:
            if self._process.stdin:
                self._process.stdin.write(f"{status}\n")
                self._process.stdin.close()
        except OSError:
            log.debug("the process that records the run has ended early")
        while self._listener.is_alive() and time.monotonic() < self._deadline:
            self._listener.join(0.05)
        if status == "FINISHED" and self._process.poll() is None and self._listener.is_alive():
            self._process.kill()

    def read_recorded(self) -> Recorded:
        """Return what MLflow has of the run, for its summary; warn if that is not everything."""
        state = self.run.read("tracking") or {}
        if not state.get("complete"):
            reason = state.get("problem") or "no answer in time"
            log.warning(
                "MLflow: %s: %s. The run is complete on disk; to send it: %s replay %s",
                without_password(self.uri),
                reason,
                PROGRAM,
                self.run.id,
            )
        return select_recorded({"tracking_uri": without_password(self.uri), **state})

    def _read_lines(self) -> None:
        for line in self._process.stdout or ():
            words = line.split()
            self._extend(float(words[1]) if words[:1] == ["allow"] else PATIENCE)

    def _extend(self, seconds: float) -> None:
        self._deadline = max(self._deadline, time.monotonic() + seconds)


@contextmanager
def record(tracking: TrackingFields, run: Run) -> Iterator[Recorder | None]:
    """Record a run while it is trained; yield None where that is switched off.

    Args:
        tracking: says whether and where.
        run: whose folder is followed.
    """
    recorder = Recorder(tracking, run) if tracking.enabled else None
    try:
        yield recorder
    except BaseException as error:
        if recorder:
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            recorder.finish("KILLED" if stopped else "FAILED")
        raise
