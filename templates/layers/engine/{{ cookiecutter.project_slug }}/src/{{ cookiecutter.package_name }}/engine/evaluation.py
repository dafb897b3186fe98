"""Measuring a trained model on a split."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .artifact import Artifact, load
from .config_fields import BaseConfig
from .errors import ProjectError
from .figures import draw_curves
from .interfaces import DatasetSplits, Metrics, Split
from .runs import Run, Summary

TOLERANCE = 1e-5  # largest difference between outputs of the saved model and of the trained one
FEW = 32  # examples that are compared


@dataclass(frozen=True)
class Evaluation:
    """A trained model and what it came to on a split.

    Attributes:
        split_name: ``train``, ``validation`` or ``test``.
        outputs: (size, …) of the model for the split, see ``Artifact.predict_split``.
        metrics: named ``split/metric``.
        report_dir: where figures and tables are written.
        run: of the model; None: it comes from a registry.
        summary: of the run; None: it is not finished, or unknown.
        baselines: rows of ``Task.measure_baselines`` with their ``outputs``, as far as known.
    """

    model: Artifact
    data: DatasetSplits
    split_name: str
    outputs: np.ndarray
    metrics: Metrics
    config: BaseConfig
    report_dir: Path
    run: Run | None = None
    summary: Summary | None = None
    baselines: tuple[dict[str, Any], ...] = ()

    @property
    def split(self) -> Split:
        return self.data.splits[self.split_name]


def evaluate(
    model: Artifact,
    data: DatasetSplits,
    split_name: str,
    config: BaseConfig,
    report_dir: Path,
    figures: bool = True,
) -> Evaluation:
    """Measure a model on a split and draw the figures of the report.

    Args:
        model: the trained model.
        data: the splits of its source.
        split_name: ``train``, ``validation`` or ``test``.
        config: says how many examples are predicted at once.
        report_dir: where figures and tables are written.
        figures: whether they are; they take longer than measuring a small split.
    """
    split = data.splits[split_name]
    outputs = model.predict_split(split, config.data.batch_size)
    metrics = model.task.measure(split, outputs, model.preprocessing)
    if figures:
        model.task.draw_figures(report_dir, split_name, split, outputs, model.preprocessing)
    named = {f"{split_name}/{name}": value for name, value in metrics.items()}
    return Evaluation(model, data, split_name, outputs, named, config, report_dir)


def check_reload(model: Artifact, file: Path, split: Split) -> None:
    """Load the saved file and compare its outputs with those of the model in memory.

    Args:
        model: as it is in memory.
        file: that it was saved to.
        split: of whose first examples the outputs are compared.

    Raises:
        ProjectError: they differ.
    """
    raw = split.fetch(np.arange(min(len(split), FEW)))
    difference = np.abs(model(raw) - load(file, model.task)(raw)).max()
    if not difference <= TOLERANCE:
        raise ProjectError(
            f"model file: {str(file)!r} predicts otherwise than the trained model, by up to "
            f"{difference:.2g}; a custom layer may lack get_config."
        )


def draw_history(run: Run) -> None:
    """Draw the curves of loss and metrics in ``metrics.jsonl``."""
    draw_curves(run.read_metrics(), run.report_dir / "training.svg")


def compare_with_baselines(
    metrics: Metrics, baselines: list[dict[str, Any]], lower_is_better: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return by how much the model is ahead of the best baseline in the metric that matters most.

    Args:
        metrics: of the model, the one that matters most first.
        baselines: rows of ``Task.measure_baselines``.
        lower_is_better: see ``Task``.

    Returns:
        ``metric``, ``of`` (name of that baseline) and ``by``, above 0 where the model is better,
        with ``lower_is_better`` where that is so; None without a baseline.
    """
    metric = next(iter(metrics))
    rivals = [row for row in baselines if metric in row["metrics"]]
    if not rivals:
        return None
    is_loss = metric.partition("/")[2] in lower_is_better
    sign = -1 if is_loss else 1
    best = max(rivals, key=lambda row: sign * row["metrics"][metric])
    by = sign * (metrics[metric] - best["metrics"][metric])
    ahead = {"metric": metric, "of": best["name"], "by": round(by, 6)}
    return ahead | ({"lower_is_better": True} if is_loss else {})
