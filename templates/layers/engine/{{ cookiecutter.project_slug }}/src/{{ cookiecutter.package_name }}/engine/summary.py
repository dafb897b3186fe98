"""The summary of a finished run: what ``summary.json`` says."""

from typing import Any

from .checkpoints import Checkpoint
from .determinism import is_deterministic
from .evaluation import Evaluation, compare_with_baselines
from .loop import FitResult
from .runs import Run, Summary
from .strategy import Strategy


def summarize(
    run: Run,
    tested: Evaluation,
    strategy: Strategy,
    fit_result: FitResult,
    checkpoint: Checkpoint | None,
    baselines: list[dict[str, Any]],
) -> Summary:
    """Return the summary; the total time and what MLflow has are filled in later.

    Args:
        run: the run.
        tested: its model, as it was saved, on the test split.
        strategy: the devices that it was trained on.
        fit_result: what fitting came to.
        checkpoint: the one that the run was resumed from.
        baselines: rows of ``Task.measure_baselines``.
    """
    model, data, config, metrics = tested.model, tested.data, tested.config, tested.metrics
    baselines = [{"name": row["name"], "metrics": row["metrics"]} for row in baselines]
    return {
        "run_id": run.id,
        "template": model.task.name,
        "model": config.model.name,
        "metrics": metrics,
        "data": {
            "source": data.source,
            **data.sizes(),
            "duplicates": data.duplicates,
            "unreadable": len(data.unreadable),
            "digest": data.digest,
            **data.notes,
        },
        "preprocessing": model.preprocessing.notes(),
        "baselines": baselines,
        "ahead": compare_with_baselines(metrics, baselines, model.task.lower_is_better),
        "examples_per_second": round(fit_result.examples / fit_result.seconds, 1),
        "seconds": {"total": 0.0, "fit": round(fit_result.seconds, 2)},
        "joules": fit_result.joules,
        "backend": strategy.backend,
        "strategy": strategy.name,
        "replicas": strategy.replicas,
        "deterministic": is_deterministic(config.train),
        "parameters": model.network.count_params(),
        "steps": fit_result.steps,
        "resumed_from_step": checkpoint.state["step"] if checkpoint else None,
        "weights_sha256": model.weights_sha256(),
        "mlflow": None,
    }
