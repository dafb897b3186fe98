"""The figures that the page, the model card and the gate have in common, each computed once."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..bootstrap import Interval, compare, estimate
from ..config_fields import BaseConfig
from ..evaluation import Evaluation
from ..interfaces import Split, Task
from ..weighted_metrics import WeightedMetric
from .html import format_range
from .slices import Slice, measure_slices

FILE = "evidence.json"  # of the test split


@dataclass(frozen=True)
class Rival:
    """A baseline beside the model.

    Attributes:
        name: of the baseline.
        value: its headline metric.
        difference: by how much the model is better; None where its outputs are unknown.
    """

    name: str
    value: float
    difference: Interval | None


@dataclass(frozen=True)
class Evidence:
    """What a measured model comes to, with its uncertainty.

    Attributes:
        evaluation: the measured model.
        by: further columns to slice by (``evaluate --by``).
    """

    evaluation: Evaluation
    by: tuple[str, ...] = ()

    @cached_property
    def metrics(self) -> dict[str, WeightedMetric]:
        """Metrics of weighted examples, the one that matters most first."""
        return self._weigh(self.evaluation.outputs)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Metrics with 95 % intervals, by name."""
        split = self.evaluation.split
        return {
            name: estimate(metric, len(split), split.groups)
            for name, metric in self.metrics.items()
        }

    @property
    def values(self) -> dict[str, float]:
        """All metrics by name, without the split and without the ends of intervals."""
        named = {key.partition("/")[2]: x for key, x in self.evaluation.metrics.items()}
        return {name: x for name, x in named.items() if not name.endswith(("_low", "_high"))}

    def describe_interval(self, name: str) -> str:
        """Return the interval of a metric in words: the domain's own, or ours; '' for none."""
        metrics, split = self.evaluation.metrics, self.evaluation.split_name
        low, high = (metrics.get(f"{split}/{name}_{end}") for end in ("low", "high"))
        if (low is None or high is None) and name in self.intervals:
            low, high = self.intervals[name].low, self.intervals[name].high
        if low is None or high is None:
            return ""
        return format_range(low, high)

    @property
    def headline(self) -> str:
        """Name of the metric that matters most, without the split."""
        return next(iter(self.values))

    @cached_property
    def rivals(self) -> list[Rival]:
        """The baselines that have the headline metric, the best first."""
        name = f"{self.evaluation.split_name}/{self.headline}"
        rows = [row for row in self.evaluation.baselines if name in row["metrics"]]
        metric = self.metrics.get(self.headline)
        task = self.evaluation.model.task
        is_loss = metric.lower_is_better if metric else self.headline in task.lower_is_better
        sign = -1 if is_loss else 1
        rows.sort(key=lambda row: -sign * row["metrics"][name])
        return [Rival(r["name"], r["metrics"][name], self._compare(r, metric)) for r in rows]

    @cached_property
    def slices(self) -> list[Slice]:
        """Metrics of the slices that the domain knows, and of those that were asked for."""
        evaluation, split = self.evaluation, self.evaluation.split
        task, preprocessing = evaluation.model.task, evaluation.model.preprocessing
        columns = read_slice_columns(task, split, preprocessing, evaluation.config, self.by)
        return measure_slices(self.metrics, columns, split.groups)

    def name_file(self, name: str) -> Path:
        """Return the place of a file of the report: other splits than test leave the test's alone.

        Args:
            name: of the test split's file.
        """
        split, folder = self.evaluation.split_name, self.evaluation.report_dir
        return folder / (name if split == "test" else f"{split}_{name}")

    @cached_property
    def _known_differences(self) -> dict[str, list[float | None]]:
        """Differences to the baselines that ``train`` recorded on the same test split."""
        file = self.evaluation.run.report_dir / FILE if self.evaluation.run else None
        if file is None or not file.is_file():
            return {}
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found.get("rivals", {})

    def _weigh(self, outputs: Any) -> dict[str, WeightedMetric]:
        evaluation = self.evaluation
        task, preprocessing = evaluation.model.task, evaluation.model.preprocessing
        return dict(task.weighted_metrics(evaluation.split, outputs, preprocessing))

    def _compare(self, row: dict[str, Any], metric: WeightedMetric | None) -> Interval | None:
        """Compare the model with a baseline, or read how ``train`` did."""
        if metric is None:
            return None
        if "outputs" not in row:
            known = self._known_differences.get(row["name"])
            if known is None:
                return None
            return Interval(*(math.nan if end is None else end for end in known))  # JSON's null
        split = self.evaluation.split
        return compare(metric, self._weigh(row["outputs"])[self.headline], len(split), split.groups)


def read_slice_columns(
    task: Task, split: Split, preprocessing: Any, config: BaseConfig, by: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the columns that a split is to be divided by, name -> (size,).

    They are those that the domain knows, and those of the data that are asked for.

    Args:
        task: reads them.
        split: its examples.
        preprocessing: of the model.
        config: names columns in ``data.slice_columns``.
        by: further ones, which come first.
    """
    configured = config.data.slice_columns.split(",")
    names = [name.strip() for name in (*by, *configured) if name.strip()]
    own = task.slices(split, preprocessing)
    return {**own, **(task.read_columns(split, names, config) if names else {})}
