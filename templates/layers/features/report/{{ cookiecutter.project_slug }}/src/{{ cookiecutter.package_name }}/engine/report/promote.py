"""``promote [--run latest|ID|URI] [--dry-run]`` and ``promote --rollback``."""

import argparse
import getpass
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import PROGRAM, strategy
from ..commands import Project
from ..commands.evaluate import is_same_source
from ..config_fields import BaseConfig, without_password
from ..config_loader import Parser
from ..errors import DataProblem, ProjectError, UsageProblem
from ..files import project_root
from ..runs import Run, find_run, is_model_uri
from ..tracking import tracking_uri
from .gate import FILE, Facts, Gate, MeasuredModel, Row, check, read_gate

if TYPE_CHECKING:
    from ..artifact import Artifact
    from ..interfaces import DatasetSplits, Task
    from ..tracking.registry import Registry, StoredModel, Version

MAX_REASON = 4_000  # characters of the reason in a tag


class Refused(ProjectError):
    """A rule of the gate failed; nothing was moved."""


def run(project: Project, words: list[str]) -> None:
    """Compare a model with the champion, apply the rules, and move the alias."""
    parser = Parser(
        prog="promote",
        description="Make a model the registry's champion, if it passes the rules of "
        f"{FILE} on the test split of its run. Fields such as --tracking.uri override the run's "
        "own. Exit code 1: a rule failed or the registry did not answer; nothing was moved.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", help="latest (default), a run's id, or models:/NAME/VERSION")
    parser.add_argument("--dry-run", action="store_true", help="print the table, move nothing")
    parser.add_argument(
        "--rollback", action="store_true", help="make the champion before this one champion again"
    )
    arguments, fields = parser.parse_known_args(words)
    if arguments.rollback:
        _roll_back(project, arguments, fields)
        return
    gate = read_gate(project_root() / FILE)
    candidate = _find_candidate(arguments.run or "latest", project, fields)
    champion = candidate.registry.champion()
    if champion and champion.number == candidate.version.number:
        print(f"{candidate.title} is the champion already.")
        return
    rows = _compare(project, fields, gate, candidate, champion)
    _print_table(rows)
    _refuse_if_failed(rows, champion)
    if arguments.dry_run:
        print(f"dry run: {candidate.title} would become the champion.")
        return
    _move(candidate, champion, rows)


# === The candidate ===


@dataclass(frozen=True)
class Candidate:
    """A version that wants to become the champion, and the configuration to begin with."""

    registry: "Registry"
    version: "Version"
    config: BaseConfig

    @property
    def title(self) -> str:
        return _title(self.registry, self.version)


def _title(registry: "Registry", version: "Version") -> str:
    trained = f" (run {version.run_name})" if version.run_name else ""
    return f"version {version.number} of {registry.name}{trained}"


def _find_candidate(name: str, project: Project, fields: Sequence[str]) -> Candidate:
    """Return the version that a user calls by a run or a URI.

    Raises:
        UsageProblem: there is no such run or version.
        ProjectError: the run has no registered version.
    """
    if is_model_uri(name):
        found = re.fullmatch(r"models:/([^/@]+)/(\d+)", name)
        if not found:
            raise UsageProblem(f"--run: {name!r} is not of the form models:/NAME/VERSION.")
        return _open_version(found[1], int(found[2]), project.load_config(fields))
    trained = find_run(name)
    config = project.load_config(fields, base=trained.config_file)
    state = _read_registration(trained, config)
    from ..tracking.sender import registry_name  # MLflow takes a second to import

    candidate = _open_version(registry_name(config.tracking), state["registered_version"], config)
    if candidate.version.run_id != state["run_id"]:
        raise ProjectError(
            f"--run: {candidate.title} is not of {trained.id}: the registry is another one by now; "
            "name the model itself: --run models:/NAME/VERSION."
        )
    return candidate


def _open_version(name: str, number: int, config: BaseConfig) -> Candidate:
    from ..tracking.registry import Registry

    registry = Registry(name, config.tracking)
    version = registry.find(number)
    if version is None:
        raise UsageProblem(f"--run: the registry has no version {number} of a model {name!r}.")
    return Candidate(registry, version, config)


def _read_registration(trained: Run, config: BaseConfig) -> dict[str, Any]:
    """Return what ``tracking.json`` says of a run that is registered where it is looked for."""
    state = trained.read("tracking") or {}
    uri = without_password(tracking_uri(config.tracking))
    if state.get("registered_version") is None and state.get("complete"):
        raise ProjectError(
            f"--run: {trained.id} is in MLflow, but not registered (tracking.register); "
            "train it with --tracking.register true."
        )
    if state.get("registered_version") is None:
        raise ProjectError(
            f"--run: {trained.id} has no registered version; first: {PROGRAM} replay {trained.id}."
        )
    if state["tracking_uri"] != uri:
        raise ProjectError(
            f"--run: {trained.id} is registered in {state['tracking_uri']}, not in {uri}; to send "
            f"it there: {PROGRAM} replay {trained.id}."
        )
    return state


# === The comparison ===


def _compare(
    project: Project,
    fields: Sequence[str],
    gate: Gate,
    candidate: Candidate,
    champion: "Version | None",
) -> list[Row]:
    strategy.prepare(project.load_config(fields).runtime)
    task = project.load_task()
    with tempfile.TemporaryDirectory() as folder:
        stored = candidate.registry.fetch(candidate.version, Path(folder) / "candidate")
        model = _load(stored, task)
        rival = None
        if champion:
            theirs = candidate.registry.fetch(champion, Path(folder) / "champion")
            with _explain_incomparable(_title(candidate.registry, champion)):
                rival = _load_champion(theirs, stored, model)
        config = project.load_config(fields, base=stored.config_file)
        data = task.load(config, model.preprocessing)
        if not len(data.test):
            raise UsageProblem("promote: the test split has no examples.")
        same_source = is_same_source(config, project.load_config(base=stored.config_file))
        _check_data(data, candidate, champion, same_source)
        _print_heading(candidate, champion, data)
        own, theirs_measured = _measure(model, data, config), None
        if champion and rival:
            with _explain_incomparable(_title(candidate.registry, champion)):
                theirs_measured = _measure_champion(rival, data, config, own)
        facts = _collect_facts(model, data, config, gate, stored, candidate.version)
        return check(gate, own, theirs_measured, facts)


@contextmanager
def _explain_incomparable(title: str) -> Iterator[None]:
    """Say of what is wrong with a champion that it prevents the comparison."""
    try:
        yield
    except DataProblem as error:
        raise DataProblem(
            f"champion: {title} cannot be compared with the candidate: {str(error).rstrip('.')}; "
            "to begin anew, take the alias from it in MLflow or set another tracking.experiment."
        ) from None


def _load(stored: "StoredModel", task: "Task") -> "Artifact":
    from ..artifact import load

    return load(stored.model_file, task)


def _load_champion(theirs: "StoredModel", stored: "StoredModel", model: "Artifact") -> "Artifact":
    """Load the champion.

    Raises:
        DataProblem: it is not like the candidate, or its file is damaged.
    """
    if difference := _differ(theirs.inputs, stored.inputs):
        raise DataProblem(f"its inputs differ ({difference})")
    rival = _load(theirs, model.task)
    if difference := _differ(_list_classes(rival), _list_classes(model)):
        raise DataProblem(f"its classes differ ({difference})")
    return rival


def _list_classes(model: "Artifact") -> dict[str, str]:
    """Return the classes that the outputs count, each with its layer."""
    tables = model.task.vocabularies(model.preprocessing)
    return {str(entry): layer for layer, (axis, of) in tables.items() if axis == -1 for entry in of}


def _differ(theirs: Mapping[str, str], own: Mapping[str, str]) -> str:
    """Return in words what two tables do not share; nothing if they are the same."""
    parts = []
    for title, some, others in (("only there", theirs, own), ("only here", own, theirs)):
        names = [name for name in some if others.get(name) != some[name]]
        shown = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
        parts += [f"{title}: {shown}"] if names else []
    return "; ".join(parts)


def _check_data(
    data: "DatasetSplits", candidate: Candidate, champion: "Version | None", same_source: bool
) -> None:
    """Make sure that the candidate has not learnt from the test split."""
    from ..tracking.sender import split_digest

    expected = split_digest(data.digest, "test")
    own = (candidate.version.split_digests or {}).get("test")
    if own is None:
        _warn("nobody knows the data that the candidate was trained on.")
    elif own != expected and same_source:
        raise DataProblem(
            f"--run: the data or its split has changed since {candidate.title} was trained, which "
            "may have learnt from examples of this test split; train it anew."
        )
    elif own != expected:
        _warn("these are not the data of the training; none of them may have been trained on.")
    theirs = (champion.split_digests or {}).get("test") if champion else expected
    if theirs != expected:
        _warn(
            "the champion was trained with other data or another split; if it has learnt from "
            "examples of this test split, it looks better than it is."
        )


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _measure(model: "Artifact", data: "DatasetSplits", config: BaseConfig) -> MeasuredModel:
    outputs = model.predict_split(data.test, config.data.batch_size)
    parts = (data.test, outputs, model.preprocessing)
    return MeasuredModel(model.task.measure(*parts), model.task.weighted_metrics(*parts))


def _measure_champion(
    rival: "Artifact", data: "DatasetSplits", config: BaseConfig, own: MeasuredModel
) -> MeasuredModel:
    theirs = _measure(rival, data, config)
    if theirs.weighted.keys() != own.weighted.keys():
        names = (", ".join(measured.weighted) for measured in (theirs, own))
        raise DataProblem("it is measured by {}, and the candidate by {}".format(*names))
    return theirs


def _collect_facts(
    model: "Artifact",
    data: "DatasetSplits",
    config: BaseConfig,
    gate: Gate,
    stored: "StoredModel",
    version: "Version",
) -> Facts:
    from .cost import time_request  # Keras
    from .evidence import read_slice_columns

    task, test, trained_at = model.task, data.test, version.trained_at
    columns = {}
    if gate.worst_slice:
        columns = read_slice_columns(task, test, model.preprocessing, config)
    return Facts(
        size=len(test),
        groups=test.groups,
        columns=columns,
        file_mb=stored.model_file.stat().st_size / 1e6,
        latency_ms=time_request(model, test) if gate.max_latency_ms else float("nan"),
        age_days=(datetime.now() - trained_at).total_seconds() / 86_400 if trained_at else None,
    )


# === The answer ===


def _print_heading(candidate: Candidate, champion: "Version | None", data: "DatasetSplits") -> None:
    print(f"candidate: {candidate.title}")
    print(f"champion: {_title(candidate.registry, champion) if champion else 'none yet'}")
    print(f"{len(data.test)} examples of the test split of {data.source}\n")


def _print_table(rows: Sequence[Row]) -> None:
    table = [("rule", "candidate", "champion or limit", "verdict")]
    table += [(row.rule, row.candidate, row.reference, _verdict(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    print()


def _verdict(row: Row) -> str:
    return "" if row.passed is None else "pass" if row.passed else "FAIL"


def _refuse_if_failed(rows: Sequence[Row], champion: "Version | None") -> None:
    failed = [row for row in rows if row.passed is False]
    if failed:
        reasons = "; ".join(map(_explain, failed))
        still = f"The champion is still version {champion.number}" if champion else ""
        raise Refused(f"refused: {reasons}. {still or 'There is no champion'}.")


def _explain(row: Row) -> str:
    """Return why a rule failed; MLflow says it where a metric is beyond its limit."""
    if row.limit is None:
        return row.reason
    from mlflow.models import MetricThreshold
    from mlflow.models.evaluation import EvaluationResult
    from mlflow.models.evaluation.validation import (
        ModelValidationFailedException,
        validate_evaluation_results,
    )

    limit = row.limit
    threshold = MetricThreshold(limit.limit, greater_is_better=limit.greater_is_better)
    try:
        result = EvaluationResult({limit.name: limit.value}, {})
        validate_evaluation_results({limit.name: threshold}, result)
    except ModelValidationFailedException as error:
        return str(error).rstrip(".")
    return row.reason


def _move(candidate: Candidate, champion: "Version | None", rows: Sequence[Row]) -> None:
    from ..tracking.registry import ALIAS

    cells = (f"{row.rule}: {row.candidate} | {row.reference} {_verdict(row)}" for row in rows)
    tags = {
        **_tag_predecessors(champion),
        "promoted_by": _find_user(),
        "promoted_at": _format_now(),
        "promoted_because": "; ".join(cell.strip() for cell in cells)[:MAX_REASON],
    }
    registry, version = candidate.registry, candidate.version
    registry.move_champion(champion.number if champion else None, version.number, tags)
    print(f"{candidate.title} is the champion now: models:/{registry.name}@{ALIAS}")


def _tag_predecessors(champion: "Version | None") -> dict[str, str]:
    from ..tracking.registry import MOST_PREDECESSORS, PREDECESSORS

    numbers = [champion.number, *champion.predecessors] if champion else []
    return {PREDECESSORS: ",".join(map(str, numbers[:MOST_PREDECESSORS]))}


def _roll_back(project: Project, arguments: argparse.Namespace, fields: Sequence[str]) -> None:
    """Move the alias to the champion before."""
    if arguments.run:
        raise UsageProblem("--rollback: goes without --run; it takes the champion before.")
    config = project.load_config(fields)
    from ..tracking.registry import PREDECESSORS, Registry
    from ..tracking.sender import registry_name

    registry = Registry(registry_name(config.tracking), config.tracking)
    champion = registry.champion()
    if champion is None:
        raise ProjectError(f"--rollback: {registry.name} has no champion.")
    target, earlier = _find_predecessor(registry, champion)
    step = f"from {_title(registry, champion)} to {_title(registry, target)}"
    if arguments.dry_run:
        print(f"dry run: the champion would go back {step}.")
        return
    # A version may have been champion more than once: these are the ones before this time.
    tags = {PREDECESSORS: ",".join(map(str, earlier))}
    registry.move_champion(champion.number, target.number, tags)
    print(f"the champion went back {step}.")
    registry.tag(champion.number, {"rolled_back_by": _find_user(), "rolled_back_at": _format_now()})


def _find_predecessor(registry: "Registry", champion: "Version") -> "tuple[Version, list[int]]":
    """Return the newest champion before this one that still exists, and those before that one."""
    numbers, deleted = champion.predecessors, list[str]()
    for place, number in enumerate(numbers):
        if number == champion.number:  # it was champion before, and all in between are deleted
            continue
        if target := registry.find(number):
            if deleted:
                _warn(f"skipped, as it is deleted: version {', '.join(deleted)}.")
            return target, numbers[place + 1 :]
        deleted.append(str(number))
    lost = f"; deleted: version {', '.join(deleted)}" if deleted else ""
    title = _title(registry, champion)
    raise ProjectError(f"--rollback: no champion before {title} is known{lost}.")


def _find_user() -> str:
    """Return the user that git knows, else that of the system."""
    try:
        done = subprocess.run(
            ["git", "config", "user.name"], cwd=project_root(), capture_output=True, text=True
        )
        if done.stdout.strip():
            return done.stdout.strip()
    except OSError:
        pass
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return socket.gethostname()


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
