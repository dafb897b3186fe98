"""``tune [--trials N] [--study NAME] [--storage URL] [--timeout MINUTES] [words of train]``.

Each trial is a run of ``train`` with other values of the fields in ``configs/search.yaml``. The
same command again continues the study; and so does the same command on other machines, at the same
time, if ``--storage`` names a database that all of them reach.
"""

import argparse
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import PACKAGE, PROGRAM
from ..commands import Project
from ..config_fields import BaseConfig, without_password
from ..config_loader import Parser, add_sections, argument_parser
from ..errors import ProjectError
from ..extensions import call_hooks, find_training_sections
from ..files import make_untracked_folder, project_root
from ..signals import StopRequest
from .space import SearchSpace, read_space

if TYPE_CHECKING:
    from .study import Study

SPACE = Path("configs") / "search.yaml"
TUNED = Path("configs") / "tuned.yaml"
MAX_MINUTES = 1_000_000
STORAGE = "OPTUNA_STORAGE"  # as for Optuna's own command; a password is out of sight there


@dataclass(frozen=True)
class Request:
    """What is to be searched.

    Attributes:
        words: fields on the command line, for each trial.
        folder: of the study.
        deadline: by ``time.monotonic``; None: none.
    """

    trials: int
    study: str
    storage: str
    words: Sequence[str]
    folder: Path
    deadline: float | None


def run(project: Project, words: list[str]) -> None:
    """Search as the words say."""
    summary = "Search for better settings; fields are those of every trial."
    sections = find_training_sections()
    config_type = add_sections(project.config, sections)
    parser = argument_parser(config_type, "tune", summary, [_flags()])
    if {"-h", "--help"} & set(words):
        parser.print_help()
        return
    parser.parse_args(words)  # only here an unknown flag is compared with all that there are
    flags, fields = _flags().parse_known_args(words)
    load_config = partial(project.load_config, sections=sections)
    space = read_space(flags.space, load_config, fields)
    if find_spec("optuna") is None:
        raise ProjectError("tune needs an extra: pip install -e '.[tune]'.")
    request = _read_request(flags, fields)
    if space.needs_task:
        space = space.orient(project.load_task().lower_is_better)
    from .study import Study
    from .worker import Worker

    with StopRequest() as stop:
        study = Study(request.storage, request.study, space)
        parent = _share_parent_run(study, space.config)
        worker = Worker(study, request.words, request.folder, parent, stop, request.deadline)
        worker.work(request.trials)
        _report(study, request, parent)


def _flags() -> Parser:
    parser = Parser(prog="tune", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("--trials", type=_count, default=20, metavar="N", help="of the study in all (20)")
    add("--study", type=_name, default=PACKAGE, metavar="NAME", help=f"its name ({PACKAGE})")
    add(
        "--storage",
        metavar="URL",
        default=os.environ.get(STORAGE),
        help="database of the study: sqlite:///FILE, or postgresql://… for several machines; "
        f"unset: {STORAGE}, else a file in studies/",
    )
    add("--space", type=Path, metavar="FILE", default=project_root() / SPACE, help=f"({SPACE})")
    add("--timeout", type=_minutes, metavar="MINUTES", help="stop after so long")
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: up to 64 letters, digits, '.', '_' and '-'"
        )
    return text


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: a whole number of at least 1")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < MAX_MINUTES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: minutes, more than 0 and less than {MAX_MINUTES}"
        )
    return minutes


def _read_request(flags: argparse.Namespace, fields: Sequence[str]) -> Request:
    folder = project_root() / "studies" / flags.study
    make_untracked_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    storage = flags.storage or f"sqlite:///{folder / 'study.db'}"
    deadline = None if flags.timeout is None else time.monotonic() + 60.0 * flags.timeout
    return Request(flags.trials, flags.study, storage, fields, folder, deadline)


def _share_parent_run(study: "Study", config: BaseConfig) -> str | None:
    """Return the id of the study's run in MLflow, which the first one makes."""
    if not config.tracking.enabled:
        return None
    from ..tracking import tracking_uri
    from . import parent_run

    # Another machine may record in another store.
    name = f"parent run in {without_password(tracking_uri(config.tracking))}"
    with study.hold():
        if name not in study.facts:
            definition = study.space.definition()
            facts = {**definition["space"], "goal": definition["goal"]}
            if run_id := parent_run.begin(config.tracking, study.name, facts):
                study.share(name, run_id)
        return study.facts.get(name)


def _report(study: "Study", request: Request, parent: str | None) -> None:
    """Print and write what the study came to so far."""
    from . import results

    ranked = results.best_trials(study)
    if not ranked:
        raise ProjectError(
            "no trial was completed, so that nothing can be compared; a longer --timeout or more "
            "--trials helps."
        )
    results.print_table(study)
    importance = results.measure_importance(study)
    results.write_figures(request.folder, study, importance)
    call_hooks("after_search", request.folder, f"Search {study.name}")
    if importance:
        print(f"\nWhat matters: {results.describe_importance(importance)}")
    others, words = _split_words(study.space, request.words)
    tuned = project_root() / TUNED
    command = " ".join([PROGRAM, "train", "--config", str(TUNED), *map(without_password, words)])
    best = results.write_tuned(tuned, study, others, command)
    print(f"Study:        {request.folder}")
    print(f"Best config:  {tuned}")
    if results.is_default(ranked[0]):
        print("Nothing was better than the configuration as it was given.")
    else:
        print(f"Train it:     {command}")
    if parent:
        from . import parent_run

        metrics = {f"best.{study.space.file.goal}": float(ranked[0].value or 0.0)}
        parent_run.end(study.space.config.tracking, parent, metrics, best, request.folder)


def _split_words(space: SearchSpace, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the file in ``--config``, and the other words but searched fields.

    ``train`` reads one file, which is the tuned one then.
    """
    import yaml

    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    for name in space.fields:
        parser.add_argument(f"--{name}")
    parsed, rest = parser.parse_known_args(list(words))
    if parsed.config is None:
        return {}, rest
    recorded = space.config.without_secrets()
    sections = yaml.safe_load(parsed.config.read_text(encoding="utf-8")) or {}
    fields = {
        f"{section}.{name}": recorded[section][name]
        for section, values in sections.items()
        for name in values
        if section in recorded and section != "tracking"
    }
    return fields, rest
