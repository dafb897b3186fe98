"""Train and test on each fold in turn: clinical sets are small, and one split says little of them.

    python -m PACKAGE.cross_validate [--folds 5] [--repeats 1] [--section.field VALUE …]

Repeated stratified group k-fold. Each fold is a run of its own. Discrimination is the mean over the
folds: risks of different models have no common order (Forman & Scholz, SIGKDD Explorations 2010).
Calibration is of all rows, with the risks that each got while it was held out.
"""

import json
import sys
from itertools import chain
from typing import Any

from . import distribution, logs
from .config import Config, Parser, load_config, positive
from .errors import UsageProblem, command
from .files import project_root, write_text

MODEL = "model"


def cross_validate(config: Config, folds: int, repeats: int) -> dict[str, Any]:
    """Metrics of the model and of each baseline, over rows held out in turn.

    Returns:
        ``runs``, their ids, and ``metrics``: name -> metric -> mean over the repetitions.
    """
    import numpy as np

    from .clinical import calibration, discrimination
    from .data import load

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
    from . import baselines, objective
    from .artifact import load as load_model
    from .data import load
    from .runs import find_run
    from .train import train

    summary = train(config, fresh=True)
    model = load_model(find_run(summary["run_id"]).model_file)
    data = load(config)
    outputs = model.predict_split(data.test, config.data.batch_size)
    risks = {MODEL: objective.risks(outputs)} | baselines.predicted(data, model.preprocessing)
    return summary["run_id"], data.test.targets, risks


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of each metric that all have."""
    return {
        metric: sum(row[metric] for row in rows) / len(rows)
        for metric in rows[0]
        if all(metric in row for row in rows)
    }


@command
def main(argv: list[str]) -> None:
    """``cross_validate [--folds N] [--repeats N] [--section.field VALUE …]``."""
    parser = Parser(
        prog="cross_validate",
        description="Train and test on each fold in turn; fields as of train.",
        allow_abbrev=False,
    )
    parser.add_argument("--folds", type=positive, default=5, metavar="N", help="folds (5)")
    parser.add_argument("--repeats", type=positive, default=1, metavar="N", help="times (1)")
    arguments, words = parser.parse_known_args(argv)
    config = load_config(words)
    if not 2 <= arguments.folds <= 20:
        raise UsageProblem(f"--folds: {arguments.folds} is not allowed: 2 to 20.")
    if config.data.split != "patient":
        raise UsageProblem(f"data.split: {config.data.split!r} has no folds; patient has.")
    distribution.prepare(config.runtime)
    with logs.on_console():
        found = cross_validate(config, arguments.folds, arguments.repeats)
    file = project_root() / "reports" / f"cross_validation_{found['runs'][0]}.json"
    write_text(file, json.dumps(found, indent=2))
    print(f"\n{arguments.repeats} x {arguments.folds} folds, each row held out once a repetition:")
    for name, metrics in found["metrics"].items():
        shown = "  ".join(f"{metric} {value:.4f}" for metric, value in metrics.items())
        print(f"{name:<28}  {shown}")
    print(f"report: {file}")


if __name__ == "__main__":
    sys.exit(main())
