"""Train and test on each fold in turn: clinical data sets are small, and one split says little.

    my-app cross-validate [--folds 5] [--repeats 1] [--section.field VALUE …]

This is repeated stratified group k-fold; each fold is a run of its own. AUROC and AUPRC are means
over the folds, since risks of different models have no common order (Forman & Scholz, SIGKDD
Explorations 12(1), 2010). Calibration is computed over all rows with their held-out risks.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..engine import logs, strategy
from ..engine.commands import Project
from ..engine.config_loader import Parser, positive
from ..engine.errors import UsageProblem
from ..engine.files import project_root, write_text

if TYPE_CHECKING:
    import numpy as np

MODEL = "model"  # its name beside those of the baselines


def cross_validate(config: Config, folds: int, repeats: int) -> dict[str, Any]:
    """Train on each fold in turn, and measure the model and the baselines on held-out rows.

    Args:
        config: the configuration of each run, but for the fold.
        folds: number of folds.
        repeats: number of repetitions, each with another seed of the split.

    Returns:
        ``runs``: ids of the runs; ``metrics``: name -> metric -> mean over the repetitions.

    Raises:
        DataProblem: a fold cannot be trained; this is found before the first training.
    """
    import numpy as np

    from ..data import load
    from ..evaluation.clinical_metrics import calibration, discrimination

    configs = [
        [_fold_config(config, folds, fold, r) for fold in range(folds)] for r in range(repeats)
    ]
    for fold_config in chain.from_iterable(configs):
        load(fold_config)
    runs: list[str] = []
    repeat_metrics = []
    for fold_configs in configs:
        truths: list[np.ndarray] = []
        risks: dict[str, list[np.ndarray]] = {}
        for fold_config in fold_configs:
            run_id, truth, fold_risks = _train_fold(fold_config)
            runs.append(run_id)
            truths.append(truth)
            for name, values in fold_risks.items():
                risks.setdefault(name, []).append(values)
        outcome = np.concatenate(truths)
        repeat_metrics.append(
            {
                name: _mean_metrics(list(map(discrimination, truths, values)))
                | calibration(outcome, np.concatenate(values))
                for name, values in risks.items()
            }
        )
    return {
        "runs": runs,
        "metrics": {
            name: _mean_metrics([metrics[name] for metrics in repeat_metrics])
            for name in repeat_metrics[0]
        },
    }


def _fold_config(config: Config, folds: int, fold: int, repeat: int) -> Config:
    fields = {"folds": folds, "fold": fold, "split_seed": config.data.split_seed + repeat}
    return config.model_copy(update={"data": config.data.model_copy(update=fields)})


def _train_fold(config: Config) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
    """Train a run; return its id, and outcomes and risks (size,) of the held-out rows."""
    from .. import baselines, objective
    from ..data import load
    from ..engine.artifact import load as load_model
    from ..engine.runs import find_run
    from ..task import task
    from ..train import train

    summary = train(config, fresh=True)
    assert summary is not None, "the chief has the summary"
    model = load_model(find_run(summary["run_id"]).model_file, task)
    data = load(config)
    outputs = model.predict_split(data.test, config.data.batch_size)
    risks = {MODEL: objective.risks(outputs)} | baselines.predict(data, model.preprocessing)
    return summary["run_id"], data.test.targets, risks


def _mean_metrics(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric that all rows have."""
    return {
        metric: sum(row[metric] for row in rows) / len(rows)
        for metric in rows[0]
        if all(metric in row for row in rows)
    }


def run(project: Project, words: list[str]) -> None:
    """Run ``cross-validate [--folds N] [--repeats N] [--section.field VALUE …]``.

    Args:
        project: the project of the command.
        words: the command line after the command's name.

    Raises:
        UsageProblem: the number of folds or the kind of split is not allowed.
    """
    parser = Parser(
        prog="cross-validate",
        description="Train and test on each fold in turn; takes the fields of train.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--folds", type=positive, default=5, metavar="N", help="number of folds, 2 to 20 (5)"
    )
    parser.add_argument(
        "--repeats", type=positive, default=1, metavar="N", help="number of repetitions (1)"
    )
    arguments, fields = parser.parse_known_args(words)
    config = project.load_config(fields)
    if not 2 <= arguments.folds <= 20:
        raise UsageProblem(f"--folds: {arguments.folds} is not allowed: 2 to 20.")
    if config.data.split != "patient":
        raise UsageProblem(
            f"data.split: cross-validate needs 'patient', not {config.data.split!r}."
        )
    strategy.prepare(config.runtime)
    with logs.log_to_console():
        result = cross_validate(config, arguments.folds, arguments.repeats)
    file = project_root() / "reports" / f"cross_validation_{result['runs'][0]}.json"
    write_text(file, json.dumps(result, indent=2))
    print(f"\n{arguments.repeats} x {arguments.folds} folds, each row held out once a repetition:")
    for name, metrics in result["metrics"].items():
        values = "  ".join(f"{metric} {value:.4f}" for metric, value in metrics.items())
        print(f"{name:<28}  {values}")
    print(f"report: {file}")
