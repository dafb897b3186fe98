"""The figures that the page, the model card and the gate have in common, each computed once."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..bootstrap import Interval, compare, estimate
from ..evaluation import Evaluation
from ..weighted_metrics import WeightedMetric
from .html import format_value
from .slices import Slice, measure_slices

FILE = "evidence.json"


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

    def describe_interval(self, name: str) -> str:
        """Return the interval of a metric in words: the domain's own, or ours; '' for none."""
        metrics, split = self.evaluation.metrics, self.evaluation.split_name
        low, high = (metrics.get(f"{split}/{name}_{end}") for end in ("low", "high"))
        if (low is None or high is None) and name in self.intervals:
            low, high = self.intervals[name].low, self.intervals[name].high
        if low is None or high is None:
            return ""
        return f"{format_value(low)} to {format_value(high)}"

    @property
    def headline(self) -> str:
        """Name of the metric that matters most, without the split."""
        return next(iter(self.evaluation.metrics)).partition("/")[2]

    @cached_property
    def rivals(self) -> list[Rival]:
        """The baselines that have the headline metric, the best first."""
        name = f"{self.evaluation.split_name}/{self.headline}"
        rows = [row for row in self.evaluation.baselines if name in row["metrics"]]
        metric = self.metrics.get(self.headline)
        sign = -1 if metric and metric.lower_is_better else 1
        rows.sort(key=lambda row: -sign * row["metrics"][name])
        return [Rival(r["name"], r["metrics"][name], self._compare(r, metric)) for r in rows]

    @cached_property
    def slices(self) -> list[Slice]:
        """Metrics of the slices that the domain knows, and of those that were asked for."""
        evaluation, split = self.evaluation, self.evaluation.split
        task, preprocessing = evaluation.model.task, evaluation.model.preprocessing
        columns = {**task.slices(split, preprocessing), **self._read_columns()}
        return measure_slices(self.metrics, columns, split.groups)

    def _read_columns(self) -> dict[str, Any]:
        evaluation = self.evaluation
        configured = evaluation.config.data.slice_columns.split(",")
        names = [name.strip() for name in (*self.by, *configured) if name.strip()]
        if not names:
            return {}
        return dict(evaluation.model.task.read_columns(evaluation.split, names, evaluation.config))

    @cached_property
    def _recorded(self) -> dict[str, tuple[float, float, float]]:
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
            known = self._recorded.get(row["name"])
            return None if known is None else Interval(*known)
        split = self.evaluation.split
        return compare(metric, self._weigh(row["outputs"])[self.headline], len(split), split.groups)
