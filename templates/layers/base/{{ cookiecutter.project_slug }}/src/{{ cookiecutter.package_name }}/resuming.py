"""Which run goes on: the newest unfinished one with the same configuration and data."""

import logging
from dataclasses import dataclass
from typing import Any

import yaml

from .checkpoints import Checkpoint, file_of, newest, read
from .config import Config
from .contract import Data
from .distribution import Devices
from .errors import DataProblem, ProjectError, UsageProblem
from .locks import Lock
from .provenance import environment_tags
from .runs import Run, all_runs, find_unfinished, runs_dir, start_run

log = logging.getLogger(__package__)

COMPARED = ("data", "model", "train", "runtime")


@dataclass(frozen=True)
class Begun:
    """A run that this process works on, from a checkpoint or from the beginning; the chief holds
    a lock on it."""

    run: Run
    checkpoint: Checkpoint | None
    lock: Lock | None = None


def begin(
    config: Config, data: Data, devices: Devices, resume: Run | None = None, fresh: bool = False
) -> Begun:
    """Go on with a run or start one; all workers agree on which.

    Args:
        resume: the run to go on with; None: the newest that fits, if there is one.
        fresh: start one in any case.

    Raises:
        UsageProblem: ``resume`` was configured otherwise.
        DataProblem: the data is not that of the run, or not the same on all workers.
    """
    begun = _decide(config, data, devices, resume, fresh) if devices.is_chief else None
    told = begun and {
        "run": begun.run.id,
        "step": begun.checkpoint and begun.checkpoint.state["step"],
        "digest": data.digest,
    }
    told = devices.from_chief(told)
    if begun:
        return begun
    if told["digest"] != data.digest:
        raise DataProblem("data: this worker sees other examples than the chief.")
    run = Run(runs_dir() / told["run"])
    if told["step"] is None:
        return Begun(run, None)
    file = file_of(run.checkpoints_dir, told["step"])
    if not file.is_file():
        raise ProjectError(f"{file} is not here; runs/ must be on storage that all workers share.")
    return Begun(run, read(file))


def _decide(config: Config, data: Data, devices: Devices, resume: Run | None, fresh: bool) -> Begun:
    facts = {"digest": data.digest, "backend": devices.backend}
    begun = None
    if resume:
        begun = _going_on(resume, config, facts)
    elif not fresh:
        begun = _newest_alike(config, facts)
    if begun and begun.checkpoint:
        step = begun.checkpoint.state["step"]
        log.info("Run %s goes on after step %d (--fresh starts anew)", begun.run.id, step)
        return begun
    # Before anybody else can take it for a run to go on with, the lock on a new one is held.
    run, lock = (begun.run, begun.lock) if begun else start_run(config)
    run.cut_metrics(0)
    run.write(
        "record",
        {
            **facts,
            "strategy": devices.name,
            "replicas": devices.replicas,
            "source": data.source,
            "sizes": data.sizes(),
            "duplicates": data.duplicates,
            "tags": environment_tags(),
        },
    )
    return Begun(run, None, lock)


def _going_on(run: Run, config: Config, facts: dict[str, Any]) -> Begun:
    field = _difference(run, config, facts)
    if field == "digest":
        raise DataProblem(f"--resume: the data has changed since {run.id} began; start a new run.")
    if field:
        raise UsageProblem(
            f"--resume: {run.id} has {field}; resume it as it is, or start a new run."
        )
    lock = run.claim()
    if lock is None:
        raise UsageProblem(f"--resume: another process works on {run.id}.")
    find_unfinished(run.id)  # whoever held the lock until now may have finished it
    return Begun(run, newest(run.checkpoints_dir), lock)


def _newest_alike(config: Config, facts: dict[str, Any]) -> Begun | None:
    for run in reversed(all_runs()):
        if run.summary is not None or _difference(run, config, facts):
            continue
        lock = run.claim()
        if lock is None:
            continue
        checkpoint = None if run.summary else newest(run.checkpoints_dir)  # it may be finished now
        if checkpoint is not None:
            return Begun(run, checkpoint, lock)
        lock.close()
    return None


def _difference(run: Run, config: Config, facts: dict[str, Any]) -> str | None:
    """The first field in which a run differs, in words; ``digest`` for the data."""
    record = run.read("record")
    before = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
    now = config.shown()
    for section in COMPARED:
        for field, value in now[section].items():
            old = before.get(section, {}).get(field)
            if old != value:
                return f"{section}.{field} {old!r} and not {value!r}"
    if record is None:
        return "not begun yet"
    if record["backend"] != facts["backend"]:
        return f"the backend {record['backend']!r} and not {facts['backend']!r}"
    return None if record["digest"] == facts["digest"] else "digest"
