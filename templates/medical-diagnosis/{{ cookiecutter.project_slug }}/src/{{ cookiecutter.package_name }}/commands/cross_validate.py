"""Train and test on each fold in turn: clinical sets are small, and one split says little of them.

    my-app cross-validate [--folds 5] [--repeats 1] [--section.field VALUE …]

Repeated stratified group k-fold. Each fold is a run of its own. Discrimination is the mean over the
folds: risks of different models have no common order (Forman & Scholz, SIGKDD Explorations 2010).
Calibration is of all rows, with the risks that each got while it was held out.
"""

import json
from itertools import chain
from typing import Any

from ..config import Config
from ..engine import logs, strategy
from ..engine.commands import Project
from ..engine.config_loader import Parser, positive
from ..engine.errors import UsageProblem
from ..engine.files import project_root, write_text

MODEL = "model"


def cross_validate(config: Config, folds: int, repeats: int) -> dict[str, Any]:
    """Metrics of the model and of each baseline, over rows held out in turn.

    Returns:
        ``runs``, their ids, and ``metrics``: name -> metric -> mean over the repetitions.
    """
    import numpy as np

    from ..data import load
    from ..evaluation.clinical_metrics import calibration, discrimination

    made = [[_with_fold(config, folds, fold, r) for fold in range(folds)] for r in range(repeats)]
    for of_fold in chain.from_iterable(made):
        load(of_fold)  # a fold that cannot be trained stops this before the others are
    runs, repeated = [], []
    for of_folds in made:
        truth, risks = [], {}
        for of_fold in of_folds:
            run, held_out, found = _of_fold(of_fold)
            runs.append(run)
            truth.append(held_out)
            for name, values in found.items():
                risks.setdefault(name, []).append(values)
        outcome = np.concatenate(truth)
        repeated.append(
            {
                name: _means(list(map(discrimination, truth, values)))
                | calibration(outcome, np.concatenate(values))
                for name, values in risks.items()
            }
        )
    names = repeated[0]
    return {
        "runs": runs,
        "metrics": {name: _means([row[name] for row in repeated]) for name in names},
    }


def _with_fold(config: Config, folds: int, fold: int, repeat: int) -> Config:
    changed = {"folds": folds, "fold": fold, "split_seed": config.data.split_seed + repeat}
    return config.model_copy(update={"data": config.data.model_copy(update=changed)})


def _of_fold(config: Config) -> tuple[str, Any, dict[str, Any]]:
    """Train a run; its id, and the outcome and risks of what was held out."""
    from .. import baselines, objective
    from ..data import load
    from ..engine.artifact import load as load_model
    from ..engine.runs import find_run
    from ..task import task
    from ..train import train

    summary = train(config, fresh=True)
    model = load_model(find_run(summary["run_id"]).model_file, task)
    data = load(config)
    outputs = model.predict_split(data.test, config.data.batch_size)
    risks = {MODEL: objective.risks(outputs)} | baselines.predict(data, model.preprocessing)
    return summary["run_id"], data.test.targets, risks


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of each metric that all have."""
    return {
        metric: sum(row[metric] for row in rows) / len(rows)
        for metric in rows[0]
        if all(metric in row for row in rows)
    }


def run(project: Project, words: list[str]) -> None:
    """``cross-validate [--folds N] [--repeats N] [--section.field VALUE …]``."""
    parser = Parser(
        prog="cross-validate",
        description="Train and test on each fold in turn; fields as of train.",
        allow_abbrev=False,
    )
    parser.add_argument("--folds", type=positive, default=5, metavar="N", help="folds (5)")
    parser.add_argument("--repeats", type=positive, default=1, metavar="N", help="times (1)")
    arguments, fields = parser.parse_known_args(words)
    config = project.load_config(fields)
    if not 2 <= arguments.folds <= 20:
        raise UsageProblem(f"--folds: {arguments.folds} is not allowed: 2 to 20.")
    if config.data.split != "patient":
        raise UsageProblem(f"data.split: {config.data.split!r} has no folds; patient has.")
    strategy.prepare(config.runtime)
    with logs.log_to_console():
        found = cross_validate(config, arguments.folds, arguments.repeats)
    file = project_root() / "reports" / f"cross_validation_{found['runs'][0]}.json"
    write_text(file, json.dumps(found, indent=2))
    print(f"\n{arguments.repeats} x {arguments.folds} folds, each row held out once a repetition:")
    for name, metrics in found["metrics"].items():
        shown = "  ".join(f"{metric} {value:.4f}" for metric, value in metrics.items())
        print(f"{name:<28}  {shown}")
    print(f"report: {file}")
