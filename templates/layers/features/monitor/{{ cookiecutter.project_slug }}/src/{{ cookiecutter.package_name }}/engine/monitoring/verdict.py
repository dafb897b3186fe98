"""What has changed beyond its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import unknown
from .drift import ERROR_RATE, NUM_MEASURES, TITLES, ColumnDrift, compare_column
from .performance import Performance
from .profile import Profile
from .rules import FILE, MonitorRules
from .samples import Sample


@dataclass(frozen=True)
class Verdict:
    """A sample beside the profile of a model.

    Attributes:
        columns: those that both have, the largest effects first.
        lacking: inputs that the sample does not have, such as the size of a file.
        performance: None: no labels are known.
    """

    profile: Profile
    sample: Sample
    rules: MonitorRules
    columns: tuple[ColumnDrift, ...]
    lacking: tuple[str, ...]
    performance: Performance | None = None

    @property
    def is_judged(self) -> bool:
        """Whether there are enough right rows for a verdict on drift."""
        return self.sample.rows >= self.rules.min_rows

    @property
    def rejected_share(self) -> float:
        """The share of the rows that are wrong."""
        return self.sample.rejected / max(self.sample.rows + self.sample.rejected, 1)

    @cached_property
    def reasons(self) -> list[str]:
        """What is past its limit, in words; empty: nothing has changed."""
        reasons = []
        if self.is_judged:
            for column in self.columns:
                past = [m for m in column.measures if m.is_past]
                sizes = (f"{TITLES[m.name]} {m.value:.3f} (limit {m.limit:g})" for m in past)
                reasons += [f"{column.name}: {', '.join(sizes)}"] if past else []
        limit, sent = self.rules.rejected, self.sample.rows + self.sample.rejected
        if limit is not None and sent >= self.rules.min_rows and self.rejected_share > limit:
            reasons.append(f"wrong rows: {self.rejected_share:.1%} (limit {limit:.1%})")
        if self.performance and self.performance.is_past:
            behind, rule = self.performance.behind, self.performance.limit
            reasons.append(
                f"{self.performance.headline}: worse by {behind.value:.4f} "
                f"({behind.low:.4f} to {behind.high:.4f}; limit {rule:g})"
            )
        return reasons

    @property
    def outcome(self) -> str:
        """``changed``, ``unchanged`` or ``too few rows``."""
        if self.reasons:
            return "changed"
        return "unchanged" if self.is_judged else "too few rows"


def judge(
    profile: Profile, sample: Sample, rules: MonitorRules, performance: Performance | None = None
) -> Verdict:
    """Compare a sample with a profile.

    Args:
        profile: of the model.
        sample: new inputs, and the answers to them.
        rules: limits.
        performance: where labels are known.

    Raises:
        UsageProblem: a rule is about a column that the model does not have.
    """
    names = {name for columns in profile.parts.values() for name in columns}
    for name in rules.columns:
        if name not in names:
            raise unknown(f"{FILE}: columns", name, names)
    pairs = [
        (part, name, column)
        for part, columns in profile.parts.items()
        for name, column in columns.items()
        if name in sample.counts.get(part, {})
    ]
    error_rate = ERROR_RATE / max(NUM_MEASURES * len(pairs), 1)
    drifts = [
        compare_column(
            part,
            name,
            column.bins,
            column.counts,
            sample.counts[part][name],
            rules.limits_of(part, name),
            error_rate,
            profile.is_private,
        )
        for part, name, column in pairs
    ]
    drifts.sort(key=lambda column: -column.effect)
    present = {name for _, name, _ in pairs}
    lacking = tuple(name for name in names if name not in present)
    return Verdict(profile, sample, rules, tuple(drifts), tuple(sorted(lacking)), performance)


def to_json(verdict: Verdict, title: str) -> dict[str, Any]:
    """Return what scripts may want to read.

    Args:
        verdict: of a sample.
        title: of the model.
    """
    sample, performance = verdict.sample, verdict.performance
    return {
        "outcome": verdict.outcome,
        "reasons": verdict.reasons,
        "model": title,
        "source": sample.source,
        "rows": sample.rows,
        "rejected": sample.rejected,
        "columns": [_column_to_json(column) for column in verdict.columns],
        "lacking": list(verdict.lacking),
        "performance": performance and _performance_to_json(performance),
    }


def _column_to_json(column: ColumnDrift) -> dict[str, Any]:
    measures = {
        measure.name: {
            "value": round(measure.value, 6),
            "noise": round(measure.noise, 6),
            "limit": measure.limit,
            "is_past": measure.is_past,
        }
        for measure in column.measures
    }
    return {"part": column.part, "name": column.name, **measures}


def _performance_to_json(performance: Performance) -> Mapping[str, Any]:
    behind = performance.behind
    return {
        "rows": performance.rows,
        "unused_labels": performance.unused,
        "metrics": performance.metrics,
        "intervals": {n: [i.value, i.low, i.high] for n, i in performance.intervals.items()},
        "headline": performance.headline,
        "behind": [behind.value, behind.low, behind.high],
        "limit": performance.limit,
        "is_past": performance.is_past,
    }
