"""The summary of a finished run: what ``summary.json`` says."""

from typing import Any

from .artifact import Artifact
from .checkpoints import Checkpoint
from .config_fields import BaseConfig
from .determinism import is_deterministic
from .evaluation import compare_with_baselines
from .interfaces import DatasetSplits, Metrics
from .loop import FitResult
from .runs import Run, Summary
from .strategy import Strategy


def summarize(
    run: Run,
    model: Artifact,
    data: DatasetSplits,
    config: BaseConfig,
    strategy: Strategy,
    fit_result: FitResult,
    checkpoint: Checkpoint | None,
    metrics: Metrics,
    baselines: list[dict[str, Any]],
) -> Summary:
    """Return the summary; the total time and what MLflow has are filled in later.

    Args:
        model: as it was saved.
        checkpoint: the one that the run was resumed from.
        metrics: of the test split.
        baselines: rows of ``Task.measure_baselines``.
    """
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
        "ahead": compare_with_baselines(metrics, baselines),
        "examples_per_second": round(fit_result.examples / fit_result.seconds, 1),
        "seconds": {"total": 0.0, "fit": round(fit_result.seconds, 2)},
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
