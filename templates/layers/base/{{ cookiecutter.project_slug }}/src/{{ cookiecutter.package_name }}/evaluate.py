"""Evaluate a trained model on a split of its data, or of other data."""

import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import distribution
from .config import Config, Parser, load_config
from .errors import ProjectError, UsageProblem, command
from .files import project_root
from .runs import Run, find_run

if TYPE_CHECKING:
    from .artifact import Artifact
    from .contract import Data, Split

log = logging.getLogger(__package__)


def evaluate(
    model: "Artifact", data: "Data", split_name: str, config: Config, report_dir: Path
) -> dict[str, float]:
    """Measure a model on a split and draw the report's figures.

    Returns:
        Metrics named ``split/metric``.
    """
    from . import report

    split = data.splits[split_name]
    outputs = model.predict_split(split, config.data.batch_size)
    metrics = report.measure(split, outputs, model.preprocessing)
    report.draw(report_dir, split_name, split, outputs, model.preprocessing)
    return {f"{split_name}/{name}": value for name, value in metrics.items()}


def check_reload(model: "Artifact", file: Path, split: "Split") -> None:
    """Load the saved file and compare its predictions with those of the model in memory.

    Raises:
        ProjectError: they differ.
    """
    import numpy as np

    from .artifact import load

    loaded = load(file)
    few = min(len(split), 32)
    raw = split.fetch(np.arange(few))
    difference = np.abs(model(raw) - loaded(raw)).max()
    if not difference <= 1e-5:
        raise ProjectError(
            f"model file: {str(file)!r} predicts otherwise than the trained model, by up to "
            f"{difference:.2g}; a custom layer may lack get_config."
        )


def draw_history(run: Run) -> None:
    """Draw how the metrics went, from ``metrics.jsonl``."""
    from .figures import draw_curves

    draw_curves(run.read_metrics(), run.report_dir / "training.png")


def find_artifact(
    name: str, config: Config | None = None, field: str = "--run"
) -> tuple["Artifact", Path]:
    """A trained model and its configuration file, by run id, ``latest`` or MLflow model URI.

    Args:
        config: where MLflow is, if not where the environment says.
        field: what the name was given for, for messages.

    Raises:
        UsageProblem: there is no such run.
        DataProblem: its model file is not readable.
    """
    from .artifact import load

    if is_uri(name):
        from .tracking import fetch_model

        folder = fetch_model(name, config or load_config(), field)
        return load(folder / "model.keras"), folder / "config.yaml"
    run = find_run(name, field)
    return load(run.model_file), run.config_file


def _same_place(config: Config, other: Config) -> bool:
    """Whether both read the same source."""
    places = [(c.data.source, c.data.path and Path(c.data.path).resolve()) for c in (config, other)]
    return places[0] == places[1]


def is_uri(name: str) -> bool:
    """Whether a model is named by an MLflow URI (``models:/NAME/1``), not by a run."""
    return ":/" in name


@command
def main(argv: list[str]) -> None:
    """``evaluate [--run latest|ID|URI] [--split test] [--data.path …]``."""
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
    arguments, overrides = parser.parse_known_args(argv)
    wished = load_config(overrides)
    run = None if is_uri(arguments.run) else find_run(arguments.run)
    distribution.prepare(wished.runtime)
    from .data import load

    model, config_file = find_artifact(arguments.run, wished)
    config = load_config(overrides, base=config_file)
    data = load(config, model.preprocessing)
    if not len(data.splits[arguments.split]):
        raise UsageProblem(f"--split: the {arguments.split} split has no examples.")
    trained_on = run.summary["data"]["digest"] if run and run.summary else None
    if trained_on == data.digest:
        own_report = run.report_dir
    else:
        own_report = project_root() / "reports" / datetime.now().strftime("%Y%m%d-%H%M%S")
        if trained_on and _same_place(config, load_config(base=config_file)):
            print(
                "warning: the data or its split is not that of the training; some of these "
                "examples may have been trained on.",
                file=sys.stderr,
            )
    report_dir = arguments.output or own_report
    metrics = evaluate(model, data, arguments.split, config, report_dir)
    for name, value in metrics.items():
        print(f"{name}  {value:.4f}")
    print(f"report: {report_dir}")


if __name__ == "__main__":
    sys.exit(main())
