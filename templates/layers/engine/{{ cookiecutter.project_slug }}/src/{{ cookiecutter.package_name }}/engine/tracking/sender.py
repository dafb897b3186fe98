"""Sending runs to MLflow: the one module that knows it.

Without configuration, runs are recorded in ``mlflow.db`` and ``mlartifacts/`` in the project;
``tracking.uri`` or ``MLFLOW_TRACKING_URI`` names a server instead. Everything that is sent is read
from the folder of the run, so it can be sent during the run (this module is then a process of its
own, started by ``Recorder``) or at any time later (``replay RUN``).
"""

import base64
import contextlib
import hashlib
import io
import json
import logging
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# A server that is down must not hold anyone up for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import mlflow.pyfunc
import pandas as pd
import yaml
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from sqlalchemy.exc import SQLAlchemyError

from .. import PACKAGE
from ..config_fields import BaseConfig, TrackingFields, without_password
from ..errors import ProjectError
from ..files import project_root, write_text
from ..locks import wait_lock
from ..provenance import list_packages
from ..runs import Run
from . import PATIENCE, experiment_name, select_recorded, tracking_uri

log = logging.getLogger(__name__)

LINES = 100  # of metrics.jsonl in one batch; MLflow takes 1,000 metrics
EVERY = 5.0  # seconds between two looks at a run that is being followed
RETRY = 5.0  # seconds until a server that did not answer is asked again
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # stores without a server of MLflow's
PROBLEMS = (MlflowException, SQLAlchemyError, OSError, ImportError)  # of a database's driver

OWN_REGISTRY = os.environ.get("MLFLOW_REGISTRY_URI")
PACKAGE_DIR = Path(__file__).parents[2]  # of the project, with the engine in it
# What loading and serving any model needs; MLflow would take ten seconds to find out.
MODEL_REQUIREMENTS = ("tensorflow", "keras", "numpy", "mlflow", "pandas", "pydantic", "pyyaml")
# Alembic and MLflow print dozens of lines about a new database and a logged model.
for name in ("alembic", "mlflow"):
    logging.getLogger(name).setLevel(logging.WARNING)
# An environment without pip (uv's) is no reason to worry; a database that does not answer is an
# error in the end.
for name in ("mlflow.utils.environment", "mlflow.store.db.utils"):
    logging.getLogger(name).setLevel(logging.ERROR)


def registry_name(tracking: TrackingFields) -> str:
    """Return the experiment's name with characters replaced that a registry does not allow."""
    return re.sub(r"[/:.%\"']", "-", experiment_name(tracking))


class Sender:
    """Sends the folder of a run to MLflow and notes in ``tracking.json`` what was sent.

    Any method may fail half-way and be called again.

    Args:
        tracking: names the experiment.
        uri: of the store; with a password, if it takes one.
        report: called with a line whenever something was sent (see ``Recorder``).
    """

    def __init__(
        self,
        tracking: TrackingFields,
        run: Run,
        uri: str,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.tracking, self.run, self.uri, self.report = tracking, run, uri, report
        noted = run.read("tracking") or {}
        shown = without_password(uri)
        same = noted.get("tracking_uri") == shown
        self.state: dict[str, Any] = noted if same else {"tracking_uri": shown}

    def begin(self) -> None:
        """Open the run in MLflow: fields as parameters, data, commit and environment."""
        record = self.run.read_existing("record")
        if not mlflow.active_run():
            self._open(record)
        if not self.state.get("begun"):
            self._log_configuration(record)
            self._log_data(record)
            self._note(begun=True)

    def send_metrics(self) -> None:
        """The new lines of ``metrics.jsonl``, in batches."""
        sent = self.state.get("lines", 0)
        lines = self.run.read_metrics(sent)
        while lines:
            part, lines = lines[:LINES], lines[LINES:]
            self._log_metrics(metric for line in part for metric in _metrics_of(line))
            sent += len(part)
            self._note(lines=sent)

    def end(self, status: str) -> None:
        """What comes with the end: metrics, report and model of a finished run, and its status."""
        self.send_metrics()
        summary = self.run.summary
        if status == "FINISHED" and summary and not self.state.get("complete"):
            # MLflow takes a value twice, unless its time is the same too.
            self._note(ended=self.state.get("ended") or int(time.time() * 1000))
            ended, steps = self.state["ended"], summary["steps"]
            self._log_metrics(Metric(k, v, ended, steps) for k, v in summary["metrics"].items())
            if self.run.report_dir.is_dir():
                mlflow.log_artifacts(str(self.run.report_dir), "report")
            # Without a request the model is not for serving.
            requested = (self.run.path / "request.json").is_file()
            if requested and not self.state.get("model_uri"):
                self.report(f"allow {PATIENCE + self.run.model_file.stat().st_size / 1e6:.0f}")
                self._note(**self._log_model())
        mlflow.end_run(status)
        self._note(status=status, complete=status == "FINISHED", problem=None)

    def note_problem(self, error: Exception) -> None:
        """Keep why something could not be sent, which is no sign of life."""
        self.state["problem"] = describe_problem(error, self.uri)
        self.run.write("tracking", self.state)

    def _note(self, **facts: Any) -> None:
        self.state |= facts
        self.run.write("tracking", self.state)
        self.report("done")

    def _open(self, record: dict[str, Any]) -> None:
        open_experiment(self.tracking, self.uri)
        if self.state.get("run_id"):
            mlflow.start_run(run_id=self.state["run_id"])
            return
        tags = {**record["tags"], "mlflow.source.name": f"{PACKAGE}.train"}
        active = mlflow.start_run(run_name=self.run.id, tags=tags)
        self._note(run_id=active.info.run_id)

    def _log_configuration(self, record: dict[str, Any]) -> None:
        sections = yaml.safe_load(self.run.config_file.read_text(encoding="utf-8"))
        flat = {
            f"{s}.{name}": value for s, fields in sections.items() for name, value in fields.items()
        }
        flat |= {name: record[name] for name in ("backend", "strategy", "replicas")}
        params = [Param(name, str(value)) for name, value in flat.items()]
        client = mlflow.MlflowClient()
        for start in range(0, len(params), 100):
            client.log_batch(self.state["run_id"], params=params[start : start + 100])
        for file in (self.run.config_file, self.run.path / "environment.txt"):
            if file.is_file():  # nobody listed the packages of a run that was not followed
                mlflow.log_artifact(str(file))

    def _log_data(self, record: dict[str, Any]) -> None:
        for name, size in record["sizes"].items():
            profile = {"num_rows": size, "duplicates_in_all": record["duplicates"]}
            digest = split_digest(record["digest"], name)
            mlflow.log_input(RunDataset(record["source"], digest, profile), context=name)

    def _log_metrics(self, metrics: Iterator[Metric]) -> None:
        mlflow.MlflowClient().log_batch(self.state["run_id"], metrics=list(metrics))

    def _log_model(self) -> dict[str, Any]:
        """Log the saved model with signature and example, and register it."""
        signature, example, requirements = read_request(self.run)
        with tempfile.TemporaryDirectory() as folder:
            model_dir = Path(folder) / "model"
            model_dir.mkdir()
            for file in (self.run.model_file, self.run.config_file):
                shutil.copy(file, model_dir)
            name = registry_name(self.tracking) if self.tracking.register else None
            # What MLflow has to say about a new version goes to stderr, past its log levels.
            with contextlib.redirect_stderr(io.StringIO()):
                info = Model.log(
                    artifact_path=None,
                    name="model",
                    flavor=PyfuncWithoutTrial,
                    validate_serving_input=False,
                    loader_module=f"{PACKAGE}.task",
                    data_path=str(model_dir),
                    code_paths=[str(_clean_copy(PACKAGE_DIR, Path(folder) / "code"))],
                    signature=signature,
                    input_example=example,
                    pip_requirements=_pin(requirements),
                    registered_model_name=name,
                )
        version = info.registered_model_version
        return {
            "model_uri": info.model_uri,
            "registered_version": None if version is None else int(version),
        }


def split_digest(digest: str, name: str) -> str:
    """Return the digest by which MLflow knows a split, as it takes one dataset of a digest.

    Args:
        digest: of all examples and splits.
        name: of the split.
    """
    return hashlib.sha256(f"{digest}/{name}".encode()).hexdigest()[:32]


def _pin(requirements: list[str]) -> list[str]:
    """Return what loading and serving the model needs, in the versions installed here."""
    pinned = [f"{name}=={metadata.version(name)}" for name in MODEL_REQUIREMENTS]
    for name in requirements:
        with contextlib.suppress(metadata.PackageNotFoundError):  # an extra that is not there
            pinned.append(f"{name}=={metadata.version(name)}")
    return pinned


def read_request(run: Run) -> tuple[ModelSignature, pd.DataFrame, list[str]]:
    """Return signature, example and requirements, as ``write_request`` wrote them."""
    request = run.read_existing("request")
    columns = request["signature"]
    signature = ModelSignature.from_dict({kind: json.dumps(columns[kind]) for kind in columns})
    example = pd.DataFrame(request["example"])
    for column in columns["inputs"]:
        if column["type"] == "binary":
            example[column["name"]] = example[column["name"]].map(base64.b64decode)
    return signature, example, request["requirements"]


def replay(run: Run, config: BaseConfig) -> dict[str, Any]:
    """Send a run, or what is missing of it, and return the contents of ``tracking.json``.

    Args:
        run: whose folder is read.
        config: names the store.

    Raises:
        ProjectError: the store does not answer, or another process is sending the run.
    """
    uri = tracking_uri(config.tracking)
    lock = run.claim("tracking")
    if lock is None:
        raise ProjectError(f"RUN: {run.id!r} is being sent by another process.")
    with lock:
        sender = Sender(config.tracking, run, uri)
        try:
            if not sender.state.get("complete"):
                sender.begin()
                sender.end("KILLED" if run.summary is None else "FINISHED")
        except PROBLEMS as error:
            reason = describe_problem(error, uri)
            raise ProjectError(f"tracking.uri: {without_password(uri)!r}: {reason}") from None
    if summary := run.summary:
        run.write_summary({**summary, "mlflow": select_recorded(sender.state)})
    return sender.state


def follow(run: Run) -> None:
    """Send what a run writes, until standard input says how it ended."""
    # Signals are meant for training; this process ends with its standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(10)
    fields = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))["tracking"]
    # Whoever followed it before an interruption may still be at it.
    with wait_lock(run.lock_file("tracking")):
        if not (run.path / "environment.txt").is_file():
            write_text(run.path / "environment.txt", list_packages())
        uri = os.environ["MLFLOW_TRACKING_URI"]
        sender = Sender(TrackingFields(**fields), run, uri, _print_line)
        status, not_before = None, 0.0
        while status is None:
            if time.monotonic() >= not_before:
                try:
                    sender.begin()
                    sender.send_metrics()
                except PROBLEMS as error:
                    sender.note_problem(error)
                    not_before = time.monotonic() + RETRY
            if select.select([sys.stdin], [], [], EVERY)[0]:
                status = sys.stdin.readline().strip() or "KILLED"  # the end: training was killed
        try:
            sender.begin()
            sender.end(status)
        except PROBLEMS as error:
            sender.note_problem(error)
    # Past MLflow's exit handlers, which would ask a server that is down once more.
    sys.stdout.flush()
    os._exit(0)


def _metrics_of(line: dict[str, Any]) -> Iterator[Metric]:
    when = int(datetime.fromisoformat(line["time"]).timestamp() * 1000)
    for name, value in line["metrics"].items():
        yield Metric(name, value, when, line["step"])


def _print_line(text: str) -> None:
    print(text, flush=True)


def fetch_model(uri: str, config: BaseConfig, field: str) -> Path:
    """Download a model (``models:/NAME/1``, ``runs:/ID/model``) and return its data folder.

    Args:
        uri: of the model.
        config: names the store.
        field: what the URI was given for, for messages.

    Raises:
        ProjectError: there is no such model, or the store cannot be reached.
    """
    store = tracking_uri(config.tracking)
    try:
        with exclusive(store):
            connect(store)
            folder = Path(mlflow.artifacts.download_artifacts(uri))
    except PROBLEMS as error:
        reason = describe_problem(error, store)
        raise ProjectError(f"{field}: {uri!r} cannot be fetched: {reason}") from None
    found = sorted(folder.rglob("model.keras"))
    if not found:
        raise ProjectError(f"{field}: {uri!r} holds no model of this project.")
    return found[0].parent


def describe_problem(error: Exception, uri: str) -> str:
    """Return what MLflow says as one line, without the password of the store.

    Args:
        error: one of ``PROBLEMS``.
        uri: of the store.
    """
    text = " ".join(str(error).split()).replace(uri, without_password(uri))
    secret = uri.partition("://")[2].rpartition("@")[0]
    return (text.replace(f"{secret}@", "") if secret else text)[:200]


@contextlib.contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """Let one process of this project at a time open a store that is a file."""
    # Two runs that begin together in a new project would both make the same tables.
    if not uri.startswith("sqlite"):
        yield
        return
    file = project_root() / ".cache" / "mlflow.lock"
    file.parent.mkdir(exist_ok=True)
    with wait_lock(file):
        yield


def connect(uri: str) -> None:
    """Make MLflow use a store, and give up soon where it does not answer."""
    if uri.startswith(DATABASES):
        from mlflow.store.db import utils  # takes a second to import; servers need no such thing

        # As for servers: MLflow would ask a database that is down for two minutes.
        utils.MAX_RETRY_COUNT = 3
    mlflow.set_tracking_uri(uri)
    # Or MLflow would stay with the registry of a store that was used before.
    mlflow.set_registry_uri(OWN_REGISTRY or uri)


def open_experiment(tracking: TrackingFields, uri: str) -> None:
    """Connect to a store, and record the next runs in the configured experiment.

    Args:
        tracking: names the experiment.
        uri: of the store.
    """
    connect(uri)
    with exclusive(uri):
        _use_experiment(experiment_name(tracking), uri)


def _use_experiment(name: str, uri: str) -> None:
    if mlflow.get_experiment_by_name(name) is None and uri.startswith(DATABASES):
        # MLflow's default would put artifacts into whatever folder one happens to be in.
        mlflow.create_experiment(name, (project_root() / "mlartifacts").as_uri())
    mlflow.set_experiment(name)
    # MLflow's pages then show training runs, not conversations with language models.
    mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")


def _clean_copy(package: Path, into: Path) -> Path:
    copy = into / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


class _Source(DatasetSource):
    """Where the data came from: the name of a source of this project."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def _get_source_type() -> str:
        return "project"

    def load(self) -> None:
        raise ProjectError("this source is read by the project's data module.")

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "_Source":
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, str]:
        return {"name": self.name}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "_Source":
        return cls(source_dict["name"])


class PyfuncWithoutTrial:
    """``mlflow.pyfunc`` as a flavour that may be logged without loading the model to try it, which
    would import TensorFlow here. Training has loaded the file and compared its predictions."""

    __name__ = mlflow.pyfunc.__name__

    @staticmethod
    def save_model(path: str, *, validate_serving_input: bool, **options: Any) -> None:
        mlflow.pyfunc.save_model(path, **options)


class RunDataset(Dataset):
    """A split as MLflow shows it: name, digest and size, without its examples."""

    def __init__(self, name: str, digest: str, profile: dict[str, Any]) -> None:
        self._profile = profile
        super().__init__(_Source(name), name, digest)

    def _compute_digest(self) -> str:
        return self.digest

    def to_dict(self) -> dict[str, str]:
        return {**super().to_dict(), "profile": json.dumps(self._profile), "schema": "{}"}

    @property
    def profile(self) -> dict[str, Any]:
        return self._profile

    @property
    def schema(self) -> None:
        return None


if __name__ == "__main__":
    follow(Run(Path(sys.argv[1])))
