"""``evaluate [--run latest|ID|URI] [--split test] [--data.path …]``."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from .. import strategy
from ..config_fields import BaseConfig
from ..config_loader import Parser
from ..errors import UsageProblem
from ..extensions import call_hooks
from ..files import project_root
from ..runs import find_run, is_model_uri
from . import Project


def run(project: Project, words: list[str]) -> None:
    """Measure a trained model on a split of its data, or of other data."""
    parser = Parser(
        prog="evaluate",
        description="Evaluate a trained model; fields such as --data.path override the run's own.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", default="latest", help="latest, a run's id or an MLflow model URI")
    parser.add_argument("--split", default="test", choices=["train", "validation", "test"])
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="where figures and tables go (default: the run's report/; reports/ for other data)",
    )
    call_hooks("add_arguments", "evaluate", parser)
    arguments, fields = parser.parse_known_args(words)
    requested = project.load_config(fields)
    # A run that does not exist is an error before TensorFlow is imported.
    trained = None if is_model_uri(arguments.run) else find_run(arguments.run)
    strategy.prepare(requested.runtime)
    task = project.load_task()
    from ..evaluation import evaluate
    from ..trained_models import find_artifact

    model, config_file = find_artifact(arguments.run, task, requested)
    config = project.load_config(fields, base=config_file)
    data = task.load(config, model.preprocessing)
    if not len(data.splits[arguments.split]):
        raise UsageProblem(f"--split: the {arguments.split} split has no examples.")
    digest = trained.summary["data"]["digest"] if trained and trained.summary else None
    if trained and digest == data.digest:
        report_dir = trained.report_dir
    else:
        report_dir = project_root() / "reports" / datetime.now().strftime("%Y%m%d-%H%M%S")
        if digest and is_same_source(config, project.load_config(base=config_file)):
            print(
                "warning: the data or its split is not that of the training; some of these "
                "examples may have been trained on.",
                file=sys.stderr,
            )
    report_dir = arguments.output or report_dir
    evaluation = evaluate(model, data, arguments.split, config, report_dir)
    for name, value in evaluation.metrics.items():
        print(f"{name}  {value:.4f}")
    summary = trained.summary if trained else None
    is_tested = summary and digest == data.digest and arguments.split == "test"
    baselines = tuple(summary["baselines"]) if summary and is_tested else ()
    evaluation = replace(evaluation, run=trained, summary=summary, baselines=baselines)
    call_hooks("after_evaluation", evaluation, arguments)
    print(f"report: {report_dir}")


def is_same_source(config: BaseConfig, other: BaseConfig) -> bool:
    """Return whether two configurations name the same data.

    Args:
        config: one of them.
        other: the other one.
    """
    places = [(c.data.source, c.data.path and Path(c.data.path).resolve()) for c in (config, other)]
    return places[0] == places[1]
