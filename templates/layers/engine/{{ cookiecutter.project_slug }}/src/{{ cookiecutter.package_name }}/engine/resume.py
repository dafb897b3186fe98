"""Resuming: the newest unfinished run with the same configuration and data continues."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import yaml

from .checkpoints import Checkpoint, checkpoint_path, read, read_newest
from .config_fields import BaseConfig
from .errors import DataProblem, ProjectError, UsageProblem
from .extensions import find_training_sections
from .interfaces import DatasetSplits
from .locks import Lock
from .provenance import environment_tags
from .runs import Run, all_runs, find_unfinished, runs_dir, start_run
from .strategy import Strategy

log = logging.getLogger(__name__)

COMPARED = ("data", "model", "train", "runtime")


@dataclass(frozen=True)
class Start:
    """Where training starts: a run, and the checkpoint to continue from, if there is one. The chief
    holds a lock on the run."""

    run: Run
    checkpoint: Checkpoint | None
    lock: Lock | None = None

    def hold(self) -> AbstractContextManager[object]:
        """Return a context at whose end the lock is released."""
        return self.lock or nullcontext()


def start_or_resume(
    config: BaseConfig,
    data: DatasetSplits,
    strategy: Strategy,
    resume: Run | None = None,
    fresh: bool = False,
) -> Start:
    """Resume a run or start a new one; all workers agree on which.

    Args:
        resume: the run to resume; None: the newest one that fits, if there is one.
        fresh: start a new run in any case.

    Raises:
        UsageProblem: ``resume`` has another configuration.
        DataProblem: the data differs from that of the run, or between workers.
    """
    start = _decide(config, data, strategy, resume, fresh) if strategy.is_chief else None
    message = start and {
        "run": start.run.id,
        "step": start.checkpoint and start.checkpoint.state["step"],
        "digest": data.digest,
    }
    message = strategy.broadcast(message)
    if start:
        return start
    if message["digest"] != data.digest:
        raise DataProblem("data: this worker sees other examples than the chief.")
    run = Run(runs_dir() / message["run"])
    if message["step"] is None:
        return Start(run, None)
    file = checkpoint_path(run.checkpoints_dir, message["step"])
    if not file.is_file():
        raise ProjectError(f"{file} is not here; runs/ must be on storage that all workers share.")
    return Start(run, read(file))


def _decide(
    config: BaseConfig, data: DatasetSplits, strategy: Strategy, resume: Run | None, fresh: bool
) -> Start:
    facts = {"digest": data.digest, "backend": strategy.backend}
    start = None
    if resume:
        start = _resume(resume, config, facts)
    elif not fresh:
        start = _find_alike(config, facts)
    if start and start.checkpoint:
        step = start.checkpoint.state["step"]
        log.info("Run %s resumes after step %d (--fresh starts a new one)", start.run.id, step)
        return start
    # A new run is locked before anybody else could take it for one to resume.
    run, lock = (start.run, start.lock) if start else start_run(config)
    run.truncate_metrics(0)
    run.write(
        "record",
        {
            **facts,
            "strategy": strategy.name,
            "replicas": strategy.replicas,
            "source": data.source,
            "sizes": data.sizes(),
            "duplicates": data.duplicates,
            "tags": environment_tags(),
        },
    )
    return Start(run, None, lock)


def _resume(run: Run, config: BaseConfig, facts: dict[str, Any]) -> Start:
    field = _difference(run, config, facts)
    if field == "digest":
        raise DataProblem(f"--resume: the data has changed since {run.id} began; start a new run.")
    if field:
        raise UsageProblem(
            f"--resume: {run.id} was configured with {field}; resume without changes, or start a "
            "new run."
        )
    lock = run.claim()
    if lock is None:
        raise UsageProblem(f"--resume: another process is working on {run.id}.")
    find_unfinished(run.id)  # whoever held the lock until now may have finished it
    return Start(run, read_newest(run.checkpoints_dir), lock)


def _find_alike(config: BaseConfig, facts: dict[str, Any]) -> Start | None:
    for run in reversed(all_runs()):
        if run.state != "unfinished" or _difference(run, config, facts):
            continue
        lock = run.claim()
        if lock is None:
            continue
        checkpoint = (
            None if run.summary else read_newest(run.checkpoints_dir)
        )  # it may be finished now
        if checkpoint is not None:
            return Start(run, checkpoint, lock)
        lock.close()
    return None


def _difference(run: Run, config: BaseConfig, facts: dict[str, Any]) -> str | None:
    """Return the first field in which a run differs, in words; ``digest`` for the data."""
    record = run.read("record")
    before = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
    now = config.without_secrets()
    for section in (*COMPARED, *find_training_sections()):
        # Commands other than ``train`` may start runs without the sections of features.
        fields = now.get(section, before.get(section, {}))
        for field in fields:
            old, new = (values.get(section, {}).get(field) for values in (before, now))
            if old != new:
                return f"{section}.{field}={old!r}, not {new!r}"
    if record is None:
        return "no record of its data yet"
    if record["backend"] != facts["backend"]:
        return f"the backend {record['backend']!r}, not {facts['backend']!r}"
    return None if record["digest"] == facts["digest"] else "digest"
