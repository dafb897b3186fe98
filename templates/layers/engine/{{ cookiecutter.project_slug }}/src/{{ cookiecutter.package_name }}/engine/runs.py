"""Runs on disk: ``runs/<run id>/``.

A run's folder holds ``config.yaml``, ``record.json`` (what is known from the start),
``metrics.jsonl``, ``train.log``, ``checkpoints/``, ``model.keras``, ``report/``,
``tracking.json`` (what MLflow has of it) and, once it is finished, ``summary.json``; or
``given_up.json``, if it is not to be finished.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from .config_fields import BaseConfig
from .errors import ProjectError, UsageProblem, unknown
from .files import project_root, write_json, write_text
from .locks import Lock, try_lock

REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>\d+))")


class RegisteredModel(NamedTuple):
    """What a URI ``models:/NAME/7`` or ``models:/NAME@ALIAS`` names: one of the two is None."""

    name: str
    number: int | None
    alias: str | None


class Seconds(TypedDict):
    """Durations: of the whole run, and of fitting."""

    total: float
    fit: float


class Recorded(TypedDict):
    """What MLflow has of a run; ``complete`` once it has everything."""

    tracking_uri: str
    run_id: str | None
    model_uri: str | None
    registered_version: int | None
    complete: bool


class Summary(TypedDict):
    """``summary.json`` of a finished run.

    Metrics are named ``split/metric``. ``data`` and ``preprocessing`` hold facts that the domain
    adds; ``ahead`` compares the model with the best baseline.
    """

    run_id: str
    template: str
    model: str
    metrics: dict[str, float]
    data: dict[str, Any]
    preprocessing: dict[str, Any]
    baselines: list[dict[str, Any]]
    ahead: dict[str, Any] | None
    examples_per_second: float
    seconds: Seconds
    joules: float | None
    backend: str
    strategy: str
    replicas: int
    deterministic: bool
    parameters: int
    steps: int
    resumed_from_step: int | None
    weights_sha256: str
    mlflow: Recorded | None


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def model_file(self) -> Path:
        return self.path / "model.keras"

    @property
    def log_file(self) -> Path:
        return self.path / "train.log"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def report_dir(self) -> Path:
        return self.path / "report"

    @property
    def state(self) -> str:
        """``finished``, ``unfinished``, or how it was given up, such as ``pruned``."""
        if self.summary is not None:
            return "finished"
        return (self.read("given_up") or {"state": "unfinished"})["state"]

    @property
    def is_tested(self) -> bool:
        """Whether it is finished and its model was measured on the test split."""
        metrics = self.summary["metrics"] if self.summary else {}
        return any(name.startswith("test/") for name in metrics)

    def give_up(self, state: str, reason: str) -> None:
        """Mark an unfinished run as one that is not to be resumed.

        Args:
            state: what to call it, such as ``pruned``.
            reason: a sentence for people.
        """
        self.write("given_up", {"state": state, "reason": reason})

    @property
    def summary(self) -> Summary | None:
        """The summary, or None while the run is not finished."""
        return cast("Summary | None", self.read("summary"))

    def write_summary(self, summary: Summary) -> None:
        """Write ``summary.json``, which makes the run a finished one."""
        self.write("summary", summary)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return ``NAME.json`` of the run, or None if there is none."""
        try:
            return self.read_existing(name)
        except FileNotFoundError:
            return None

    def read_existing(self, name: str) -> dict[str, Any]:
        """Return ``NAME.json`` of the run; without it, raise ``FileNotFoundError``."""
        return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write ``NAME.json`` of the run."""
        write_json(self.path / f"{name}.json", value)

    def append_metrics(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Add a line to ``metrics.jsonl``."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"step": step, "epoch": epoch, "time": time, "metrics": metrics}
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def metrics_size(self) -> int:
        """Return the size of ``metrics.jsonl`` in bytes."""
        return self.metrics_file.stat().st_size if self.metrics_file.is_file() else 0

    def truncate_metrics(self, size: int) -> None:
        """Truncate ``metrics.jsonl`` to so many bytes: the steps after them are done again."""
        if self.metrics_size() > size:
            with self.metrics_file.open("r+b") as file:
                file.truncate(size)

    def read_metrics(self, first: int = 0) -> list[dict[str, Any]]:
        """Return the complete lines of ``metrics.jsonl`` from line ``first`` on, counted from 0."""
        if not self.metrics_file.is_file():
            return []
        with self.metrics_file.open(encoding="utf-8") as file:
            return [json.loads(line) for line in islice(file, first, None) if line[-1] == "\n"]

    def lock_file(self, name: str) -> Path:
        """Return the file of one of the run's locks, see ``claim``."""
        return self.path / f".{name}.lock"

    def claim(self, name: str = "run") -> Lock | None:
        """Return a lock on the run, held until it is closed; None if another process holds it.

        Args:
            name: ``run`` to write the run's folder, ``tracking`` to send it.
        """
        return try_lock(self.lock_file(name))


def runs_dir() -> Path:
    """Return the folder of all runs of this project."""
    return project_root() / "runs"


def start_run(config: BaseConfig) -> tuple[Run, Lock]:
    """Create the folder of a new run with its configuration, and lock it."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    run = Run(runs_dir() / f"{stamp}-{secrets.token_hex(2)}")
    run.path.mkdir(parents=True)
    lock = run.claim()
    if lock is None:
        raise ProjectError(f"{run.path}: another process has locked it.")
    # Last: with it the folder is a run that others find.
    write_text(run.config_file, config.to_yaml())
    return run, lock


def all_runs() -> list[Run]:
    """Return all runs, oldest first."""
    folder = runs_dir()
    if not folder.is_dir():
        return []
    return [Run(path) for path in sorted(folder.iterdir()) if (path / "config.yaml").is_file()]


def is_model_uri(name: str) -> bool:
    """Return whether an MLflow URI (``models:/NAME/1``) names a model, and not a run's id."""
    return ":/" in name


def read_registered(uri: str) -> RegisteredModel | None:
    """Return what a URI names in the registry; None if it is another MLflow URI."""
    found = REGISTERED.fullmatch(uri)
    if found is None:
        return None
    number = found["number"]
    return RegisteredModel(found["name"], None if number is None else int(number), found["alias"])


def find_run(name: str, field: str = "--run") -> Run:
    """Return the run with this id; ``latest`` is the newest finished one that was tested.

    Args:
        field: what the name was given for, for messages.

    Raises:
        UsageProblem: there is none.
    """
    runs = {run.id: run for run in all_runs()}
    if name == "latest":
        tested = [run for run in runs.values() if run.is_tested]
        if not tested:
            raise UsageProblem(
                f"{field}: there is no finished run in {runs_dir()}; train one first."
            )
        return tested[-1]
    if name not in runs:
        raise unknown(field, name, ["latest", *runs])
    return runs[name]


def find_unfinished(name: str) -> Run:
    """Return the unfinished run with this id; ``latest`` is the newest.

    Raises:
        UsageProblem: there is none.
    """
    runs = {run.id: run for run in all_runs()}
    unfinished = [run for run in runs.values() if run.state == "unfinished"]
    if name == "latest":
        if not unfinished:
            raise UsageProblem("--resume: there is no unfinished run.")
        return unfinished[-1]
    if name not in runs:
        raise unknown("--resume", name, ["latest", *(run.id for run in unfinished)])
    if runs[name].summary is not None:
        raise UsageProblem(
            f"--resume: {name} is finished; to start from its weights: --train.init_from {name}."
        )
    if reason := runs[name].read("given_up"):
        raise UsageProblem(f"--resume: {name} was {reason['state']}: {reason['reason']}")
    return runs[name]
