"""``retrain [--config FILE] [--data.path …]``: inspect, train from the champion, evaluate, promote.

Each step is a command of its own in a process of its own. What is done stands in
``runs/retrain.json``, so that the same command continues after whatever stopped it.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import PACKAGE, PROGRAM
from ..commands import Project
from ..config_fields import BaseConfig
from ..config_loader import Parser
from ..errors import DataProblem, Diverged, Interrupted, ProjectError, UsageProblem
from ..extensions import adapt_retraining, find_training_sections
from ..files import project_root, write_json, write_text
from ..locks import try_lock
from ..report.promote import Refused
from ..runs import Run, all_runs, find_run, runs_dir

EXIT_CODES = {
    kind.exit_code: kind
    for kind in (UsageProblem, DataProblem, Diverged, Interrupted, ProjectError)
}
POLL_SECONDS = 2.0


class NotPromoted(ProjectError):
    """A model was trained and measured, and the rules of the gate keep it from being champion."""

    exit_code = 5


@dataclass(frozen=True)
class Progress:
    """How far ``retrain`` has come.

    Attributes:
        words: of the command line.
        champion: URI of the champion; '' for none.
        starts_from_it: whether training starts from its weights.
        earlier_runs: ids of the runs that were there before.
        run: id of the trained run; '' for none yet.
        done: steps that are done.
    """

    words: Sequence[str]
    champion: str = ""
    starts_from_it: bool = False
    earlier_runs: Sequence[str] = ()
    run: str = ""
    done: Sequence[str] = field(default=())

    @staticmethod
    def file() -> Path:
        """Return where it is written."""
        return runs_dir() / "retrain.json"

    @staticmethod
    def config_file() -> Path:
        """Return the configuration that is trained with."""
        return runs_dir() / "retrain.yaml"

    def write(self) -> "Progress":
        """Write it, in one step."""
        write_json(self.file(), asdict(self))
        return self

    def after(self, step: str, **changes: Any) -> "Progress":
        """Write and return what stands once a step is done.

        Args:
            step: its name.
            changes: further attributes.
        """
        return replace(self, done=[*self.done, step], **changes).write()


def run(project: Project, words: list[str]) -> None:
    """Train again and promote the model, if it passes the gate."""
    parser = Parser(
        prog="retrain",
        description="Inspect the data, train from the champion, evaluate, and promote through the "
        "gate. Fields such as --data.path override those of the champion. Started again it "
        "continues. Exit codes: 0 promoted; 5 trained, but the gate refused; 1 environment, or "
        "another retrain is at work; 2 wrong use; 3 bad data; 4 diverged; 75 stopped, start again.",
        allow_abbrev=False,
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew, whatever was done before")
    parser.add_argument(
        "--on-drift",
        action="store_true",
        help="only if `monitor --logged` says that something has changed for the champion",
    )
    arguments, fields = parser.parse_known_args(words)
    # ``train`` reads the sections of features too, and so does whatever is asked of its words here.
    load_config = partial(project.load_config, sections=find_training_sections())
    project = replace(project, load_config=load_config)
    project.load_config(fields)  # wrong words fail at once
    runs_dir().mkdir(exist_ok=True)
    lock = try_lock(runs_dir() / ".retrain.lock")
    if lock is None:
        raise ProjectError("retrain: another one is at work in this project.")
    with lock:
        if arguments.fresh:
            Progress.file().unlink(missing_ok=True)
        try:
            progress = _find_progress(fields) or _begin(project, fields)
            if arguments.on_drift and not _has_drifted(progress):
                Progress.file().unlink(missing_ok=True)
                return
            progress = _inspect(project, progress)
            progress = _train(progress)
            progress = _evaluate(progress)
            _promote(project, progress)
        except (UsageProblem, DataProblem, Diverged, NotPromoted):
            Progress.file().unlink(missing_ok=True)  # the next one begins anew
            raise
        Progress.file().unlink(missing_ok=True)


# === Beginning ===


def _find_progress(words: list[str]) -> Progress | None:
    """Return how far an earlier call with these words came; None: nothing is done yet."""
    try:
        progress = Progress(**json.loads(Progress.file().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise DataProblem(f"{Progress.file()} is damaged; retrain --fresh begins anew.") from None
    if list(progress.words) != words:
        _say("begin", "an earlier retrain with other words was not finished, and is given up")
        return None
    if not progress.done:  # the champion may be another one by now
        return None
    _say("begin", f"continues after: {', '.join(progress.done)}")
    return progress


def _begin(project: Project, words: list[str]) -> Progress:
    """Write the configuration to train with: that of the champion, with the words on top."""
    config = project.load_config(words)
    from ..tracking.registry import Registry  # MLflow takes a second to import
    from ..tracking.sender import registry_name

    registry = Registry(registry_name(config.tracking), config.tracking)
    champion = registry.champion()
    progress = Progress(words, earlier_runs=[trained.id for trained in all_runs()])
    if champion is None:
        _say("begin", f"{registry.name} has no champion yet: training starts from scratch")
        write_text(Progress.config_file(), config.to_yaml())
        return progress.write()
    with tempfile.TemporaryDirectory() as folder:
        stored = registry.fetch(champion, Path(folder))
        theirs = project.load_config(base=stored.config_file)
        config = project.load_config(words, base=stored.config_file)
    uri = f"models:/{registry.name}/{champion.number}"
    starts_from_it = config.model == theirs.model
    how = "its weights" if starts_from_it else "scratch, as it is another model"
    _say("begin", f"the champion is {uri}; training starts from {how}")
    # The champion may itself have been trained from an earlier one.
    init_from = uri if starts_from_it else None
    adapted = adapt_retraining(_start_from(init_from, theirs), partial(_say, "begin"))
    write_text(Progress.config_file(), adapted.to_yaml())
    config = _start_from(init_from, project.load_config(words, base=Progress.config_file()))
    write_text(Progress.config_file(), config.to_yaml())
    return replace(progress, champion=uri, starts_from_it=starts_from_it).write()


def _start_from(init_from: str | None, config: BaseConfig) -> BaseConfig:
    fields = config.train.model_copy(update={"init_from": init_from})
    return config.model_copy(update={"train": fields})


# === Steps ===


def _has_drifted(progress: Progress) -> bool:
    """Return whether ``monitor --logged`` finds a change; what is under way goes on."""
    if progress.done:
        return True
    if not progress.champion:
        raise UsageProblem("--on-drift: there is no champion whose inputs could be watched.")
    with tempfile.TemporaryDirectory() as folder:
        words = ["--logged", "--run", progress.champion, "--output", folder]
        code = _call("monitor", words)
        summary = Path(folder) / "summary.json"
        if not summary.is_file():
            _fail("monitor", code)
        outcome = json.loads(summary.read_text(encoding="utf-8"))["outcome"]
    _say("monitor", outcome)
    return outcome == "changed"


def _inspect(project: Project, progress: Progress) -> Progress:
    if "inspect" in progress.done:
        return progress
    config = project.load_config(base=Progress.config_file())
    if config.data.path is None:
        _say("inspect", f"left out: the source {config.data.source!r} has no path")
        return progress.after("inspect")
    words = [str(config.data.path), "--force", "--output", str(runs_dir() / "retrain_data.yaml")]
    code = _call("inspect", [*words, *_list_data_fields(config)])
    if code == UsageProblem.exit_code:
        _say("inspect", "left out: it knows no such data")
    elif code:
        _fail("inspect", code)
    return progress.after("inspect")


def _list_data_fields(config: BaseConfig) -> list[str]:
    """Return words that name columns, which ``inspect`` then does not guess."""
    words = []
    for name, value in config.data.model_dump().items():
        if name.endswith("_column") and value is not None:
            words += [f"--data.{name}", str(value)]
    return words


def _train(progress: Progress) -> Progress:
    if "train" in progress.done:
        return progress
    # A process that was killed may have left one that trains.
    while _find_new_run(progress, is_finished=False, is_claimed=True):
        _say("train", "waits for the process that an earlier retrain has left")
        time.sleep(POLL_SECONDS)
    trained = _find_new_run(progress, is_finished=True)
    if trained is None:
        code = _call(
            "train", ["--config", str(Progress.config_file()), *_leave_out_config(progress)]
        )
        if code:
            _fail("train", code)
        trained = _find_new_run(progress, is_finished=True)
    if trained is None:
        raise ProjectError("retrain: train has left no finished run.")
    _say("train", f"run {trained.id}")
    return progress.after("train", run=trained.id)


def _leave_out_config(progress: Progress) -> list[str]:
    """Return the words without ``--config``, whose fields are in the file already.

    Words are passed on as well, since the file has no passwords.
    """
    parser = Parser(prog="retrain", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    return parser.parse_known_args(list(progress.words))[1]


def _find_new_run(progress: Progress, is_finished: bool, is_claimed: bool = False) -> Run | None:
    """Return the newest run that was begun with this configuration by this ``retrain``."""
    expected = _read_sections(Progress.config_file())
    for trained in reversed(all_runs()):
        if trained.id in progress.earlier_runs or trained.is_tested != is_finished:
            continue
        sections = _read_sections(trained.config_file)  # it may have those of features as well
        if any(sections.get(name) != fields for name, fields in expected.items()):
            continue
        if not is_claimed:
            return trained
        lock = trained.claim()
        if lock is None:
            return trained
        lock.close()
    return None


def _read_sections(file: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _evaluate(progress: Progress) -> Progress:
    if "evaluate" in progress.done:
        return progress
    code = _call("evaluate", ["--run", progress.run])
    if code:
        _fail("evaluate", code)
    return progress.after("evaluate")


def _promote(project: Project, progress: Progress) -> None:
    from ..report import promote

    state = find_run(progress.run).read("tracking") or {}
    if state.get("registered_version") is None:  # MLflow was not there when training ended
        code = _call("replay", [progress.run])
        if code:
            _fail("replay", code)
    try:
        promote.run(project, ["--run", progress.run, *_leave_out_config(progress)])
    except Refused as refusal:
        raise NotPromoted(f"retrain: {progress.run} is trained, but {refusal}") from None
    _say("promote", f"{progress.run} is the champion")


# === Processes ===


def _call(command: str, words: Sequence[str]) -> int:
    """Run a command of the project and return its exit code; it is stopped with this process."""
    _say(command, f"{PROGRAM} {command} {' '.join(words)}")
    process = subprocess.Popen([sys.executable, "-m", PACKAGE, command, *words], cwd=project_root())
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _fail(step: str, code: int) -> None:
    """Raise what ends with the exit code of a step.

    Raises:
        ProjectError: always.
    """
    kind = EXIT_CODES.get(code, ProjectError)
    raise kind(f"retrain: {step} ended with exit code {code}; its last line says why.")


def _say(step: str, text: str) -> None:
    print(f"retrain: {step}: {text}", flush=True)
