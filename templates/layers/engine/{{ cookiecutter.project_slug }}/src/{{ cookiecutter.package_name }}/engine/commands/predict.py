"""``predict [--run latest|ID|URI] [--json] [--output FILE] …``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import strategy
from ..config_loader import Parser, positive
from ..errors import UsageProblem
from ..extensions import call_hooks
from ..files import atomic_write
from ..runs import find_run, is_model_uri
from . import Project


def run(project: Project, words: list[str]) -> None:
    """Predict with a trained model: a table, or one JSON object a line."""
    parser = Parser(prog="predict", description="Predict with a trained model.", allow_abbrev=False)
    project.add_prediction_arguments(parser)
    parser.add_argument("--run", default="latest", help="latest, a run's id or an MLflow model URI")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write JSON lines to this file")
    parser.add_argument(
        "--batch-size", type=positive, default=128, metavar="N", help="examples at once (128)"
    )
    parser.add_argument("--explain", action="store_true", help="also say what each answer is from")
    call_hooks("add_arguments", "predict", parser)
    arguments = parser.parse_args(words)
    if not is_model_uri(arguments.run):
        find_run(arguments.run)  # fails before TensorFlow is imported
    config = project.load_config()
    strategy.prepare(config.runtime)
    task = project.load_task()
    if arguments.explain and task.explain is None:
        raise UsageProblem(
            "--explain: task.py has no function 'explain' for this project's models; aistart's "
            "feature 'report' brings one."
        )
    from ..trained_models import find_artifact

    model, config_file = find_artifact(arguments.run, task, config)
    rows = task.predict(model, arguments, project.load_config(base=config_file))
    # Row by row: the input may be larger than the memory.
    if arguments.output:
        print(f"{_write(arguments.output, rows)} predictions: {arguments.output}")
        return
    lines = map(_to_json, rows) if arguments.json else task.format_predictions(rows)
    for line in lines:
        print(line)


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write JSON lines in one step and return how many; the file is whole or not there at all."""
    count = 0
    with atomic_write(path) as beside, beside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(f"{_to_json(row)}\n")
            count += 1
    return count


def _to_json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)
