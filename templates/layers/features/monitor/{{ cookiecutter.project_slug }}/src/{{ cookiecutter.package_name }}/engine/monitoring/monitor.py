"""``monitor FILE | --logged [--run latest|ID|URI] [--labels FILE]``."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands import Project
from ..config_loader import Parser
from ..errors import DataProblem, ProjectError, UsageProblem
from ..files import project_root, write_json
from ..runs import find_run, is_model_uri
from .models import WatchedModel, find_model
from .rules import FILE, MonitorRules, read_monitor_rules

if TYPE_CHECKING:
    from ..artifact import Artifact
    from .profile import Profile
    from .verdict import Verdict

MAX_DAYS = 36_500


def run(project: Project, words: list[str]) -> None:
    """Compare new inputs and the answers to them with the training data."""
    arguments, fields = _parse(words)
    rules = read_monitor_rules()
    config = project.load_config(fields, sections=["monitor"])
    if arguments.logged and not config.monitor.samples:
        raise UsageProblem("--logged: monitor.samples names no folder, so that nothing is kept.")
    if not is_model_uri(arguments.run):
        find_run(arguments.run)  # fails before TensorFlow is imported
    target = find_model(arguments.run, config)
    if arguments.logged:
        verdict = _judge_samples(project, arguments, fields, target, rules, config)
    else:
        verdict = _judge_file(project, arguments, fields, target, rules)
    folder = arguments.output or _name_folder()
    _write(folder, verdict, target.title)
    if verdict.reasons:
        raise ProjectError(f"changed beyond {FILE}: {'; '.join(verdict.reasons)}.")


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(
        prog="monitor",
        description="Compare new inputs with the training data of a model: drift of inputs and "
        "answers, and the metrics where labels are known. Exit code 1: something has changed "
        f"beyond {FILE}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="what predict reads, or JSON lines"
    )
    parser.add_argument(
        "--logged", action="store_true", help="compare what a service has kept: monitor.samples"
    )
    parser.add_argument("--run", default="latest", help="latest, a run's id or an MLflow model URI")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="true labels by id: a table or JSON lines"
    )
    parser.add_argument(
        "--days", type=float, metavar="N", help="with --logged: of the last N days only"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where the page goes (reports/monitor-…)"
    )
    arguments, fields = parser.parse_known_args(words)
    if arguments.logged == (arguments.file is not None):
        raise UsageProblem("monitor: name a FILE or --logged, one of the two.")
    if arguments.logged and arguments.labels:
        raise UsageProblem(
            "--labels: goes with a FILE: samples of a service have no ids, as they may be persons'."
        )
    if arguments.days is not None and not (arguments.logged and 0 < arguments.days <= MAX_DAYS):
        raise UsageProblem(f"--days: a number above 0, up to {MAX_DAYS:,}, with --logged.")
    if arguments.file is not None and not arguments.file.exists():
        raise DataProblem(f"FILE: {str(arguments.file)!r} does not exist.")
    return arguments, fields


def _judge_samples(
    project: Project,
    arguments: argparse.Namespace,
    fields: list[str],
    target: WatchedModel,
    rules: MonitorRules,
    config: Any,
) -> "Verdict":
    from .profile import read_profile
    from .samples import read_samples, samples_folder
    from .verdict import judge

    profile = read_profile(target.attachments)
    if profile is None:
        profile = _compute_profile(project, fields, target, _load(project, fields, target))
    folder = samples_folder(config.monitor.samples)
    return judge(profile, read_samples(folder, target.versions, profile, arguments.days), rules)


def _judge_file(
    project: Project,
    arguments: argparse.Namespace,
    fields: list[str],
    target: WatchedModel,
    rules: MonitorRules,
) -> "Verdict":
    model = _load(project, fields, target)
    from .new_inputs import answer_file
    from .performance import measure_performance, read_labels
    from .profile import read_profile
    from .verdict import judge

    labels = read_labels(arguments.labels) if arguments.labels else None
    profile = read_profile(model.attachments)
    profile = profile or _compute_profile(project, fields, target, model)
    config = project.load_config(fields, base=target.config_file)
    sample, parts = answer_file(arguments.file, model, profile, config)
    performance = None
    if labels is not None:
        performance = measure_performance(model, parts, labels, profile, rules.performance)
    return judge(profile, sample, rules, performance)


def _load(project: Project, fields: list[str], target: WatchedModel) -> "Artifact":
    from .. import strategy

    strategy.prepare(project.load_config(fields).runtime)
    task = project.load_task()
    from ..artifact import load

    return load(target.model_file, task)


def _compute_profile(
    project: Project, fields: list[str], target: WatchedModel, model: "Artifact"
) -> "Profile":
    """Return the profile of a model that was trained without this feature."""
    from ..evaluation import evaluate
    from .profile import make_profile

    print(f"{target.title} has no profile; it is computed from the data of its configuration.")
    config = project.load_config(fields, base=target.config_file)
    data = model.task.load(config, model.preprocessing)
    if not len(data.test):
        raise UsageProblem("monitor: the test split has no examples.")
    evaluation = evaluate(model, data, "test", config, target.model_file.parent, figures=False)
    return make_profile(evaluation)


def _name_folder() -> Path:
    return project_root() / "reports" / f"monitor-{datetime.now():%Y%m%d-%H%M%S}"


def _write(folder: Path, verdict: "Verdict", title: str) -> None:
    from ..report.write import drop_nan
    from .page import summarize, write_monitor_page
    from .verdict import to_json

    _print_columns(verdict)
    if not verdict.reasons:  # else the error says it
        print(summarize(verdict))
    if verdict.profile.notice:
        print(verdict.profile.notice)
    page = write_monitor_page(folder, verdict, title)
    write_json(folder / "summary.json", drop_nan(to_json(verdict, title)))
    print(f"page: {page}")


def _print_columns(verdict: "Verdict") -> None:
    from .drift import TITLES

    for column in verdict.columns:
        sizes = (f"{TITLES[m.name]} {m.value:.3f} ({m.noise:.3f})" for m in column.measures)
        mark = "  CHANGED" if column.is_past and verdict.is_judged else ""
        print(f"{column.part:<12} {column.name}: {', '.join(sizes)}{mark}")
    if verdict.performance:
        for name, value in verdict.performance.metrics.items():
            print(f"{name}  {value:.4f}")
