"""The rules that a model must pass to become the champion, and the comparison with the champion.

SciPy, which takes half a second to import, is imported where it is needed.

A comparison is decided on one end of an interval of the difference between two models on the same
examples, not on the difference itself. So a model that is no better passes the rule ``better`` with
a probability of 5 % at most, and so does one that is worse by ``not_worse_by`` the rule of this
name. By theory it is 2.5 %, the share beyond one end of a 95 % interval; but intervals of samples
are not exact, and 5 % is what is promised. If several metrics have such a rule, all of them must
pass, which makes the probability smaller, never larger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from ..bootstrap import TAIL, Interval, compare, count_units, is_binary
from ..errors import UsageProblem, unknown
from ..weighted_metrics import WeightedMetric
from .rules import Rules, read_rules

FILE = Path("configs") / "gate.yaml"
HEADLINE = "headline"  # stands for the metric that matters most
ERROR_RATE = 2 * TAIL  # that is promised, as the intervals of samples are not exact
CALIBRATION_ERRORS = ("expected_calibration_error", "ece")
CALIBRATION_SLOPE = "calibration_slope"
INCOMPARABLE = "cannot be compared: task.py has no weighted_metrics"


# === The rules ===


class MetricRule(Rules):
    """Rules for one metric of the test split."""

    at_least: float | None = None
    at_most: float | None = None
    not_worse_by: float | None = Field(None, gt=0)
    better: bool = False


class SliceRule(Rules):
    """The worst part of the test split."""

    metric: str = HEADLINE
    at_least: float | None = None
    at_most: float | None = None
    # Values of fewer are mostly chance, and in some domains confidential.
    min_examples: int = Field(50, ge=10)

    @model_validator(mode="after")
    def _has_one_limit(self) -> "SliceRule":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("it takes either at_least or at_most")
        return self


class CalibrationRule(Rules):
    """How far predicted probabilities are from frequencies."""

    max_error: float | None = Field(None, ge=0)
    min_slope: float | None = None
    max_slope: float | None = None


class Gate(Rules):
    """``configs/gate.yaml``; rules that are left out are not checked."""

    min_examples: int | None = Field(None, ge=1)
    metrics: dict[str, MetricRule] = Field(default_factory=dict)
    worst_slice: SliceRule | None = None
    calibration: CalibrationRule | None = None
    max_file_mb: float | None = Field(None, gt=0)
    max_latency_ms: float | None = Field(None, gt=0)
    max_age_days: float | None = Field(None, gt=0)


def read_gate(file: Path) -> Gate:
    """Read the rules.

    Raises:
        UsageProblem: there is no such file, a rule is unknown, or its value is not allowed.
    """
    gate: Gate = read_rules(file, FILE, Gate, "the rules of promote")
    return gate


# === The comparison of two models ===


@dataclass(frozen=True)
class Comparison:
    """By how much a model is ahead of another in one metric; above 0: it is better.

    Attributes:
        difference: with its two-sided 95 % interval.
        wins, losses: examples that this model alone has right or wrong; None: not 0 or 1 each, or
            examples of a group resemble each other.
        p_value: of McNemar's exact test, one-sided: of so many wins if both were equal.
    """

    difference: Interval
    wins: int | None = None
    losses: int | None = None
    p_value: float | None = None

    @property
    def bound(self) -> float:
        """The lower end of the interval, below which the true difference hardly is."""
        return self.difference.low

    @property
    def is_better(self) -> bool:
        """Return whether the model is better beyond chance."""
        return self.bound > 0 and (self.p_value is None or self.p_value <= TAIL)


def compare_models(
    first: WeightedMetric, second: WeightedMetric, size: int, groups: np.ndarray | None = None
) -> Comparison:
    """Compare two models on the same examples by the paired bootstrap.

    Where each example is right or wrong, McNemar's test stands beside it.

    Args:
        first: a metric of the model.
        second: the same metric of the other.
        size: number of examples.
        groups: (size,) see ``bootstrap.resample``.
    """
    difference = compare(first, second, size, groups)
    if count_units(size, groups) < size or first.values is None or second.values is None:
        return Comparison(difference)
    if not (is_binary(first.values) and is_binary(second.values)):
        return Comparison(difference)
    from scipy.stats import binomtest

    ahead = (first.values - second.values) * (-1 if first.lower_is_better else 1)
    wins, losses = int((ahead > 0).sum()), int((ahead < 0).sum())
    decided = wins + losses
    p_value = binomtest(wins, decided, alternative="greater").pvalue if decided else 1.0
    return Comparison(difference, wins, losses, float(p_value))


# === The table ===


@dataclass(frozen=True)
class MeasuredModel:
    """A model on the test split.

    Attributes:
        metrics: of ``Task.measure``.
        weighted: of ``Task.weighted_metrics``.
    """

    metrics: Mapping[str, float]
    weighted: Mapping[str, WeightedMetric]

    @property
    def headline(self) -> str:
        return next(iter(self.weighted or self.metrics))

    def values(self, size: int) -> dict[str, float]:
        """Return all metrics by name, the headline metric first."""
        every = np.ones((1, size))
        weighted = {name: float(metric.compute(every)[0]) for name, metric in self.weighted.items()}
        return weighted | {k: v for k, v in self.metrics.items() if k not in weighted}


@dataclass(frozen=True)
class Facts:
    """What else the rules need to know.

    Attributes:
        size: examples of the test split.
        groups: (size,) see ``Split.groups``.
        columns: name -> (size,), by whose values the test split is divided.
        file_mb: size of the model's file.
        latency_ms: of one example.
        age_days: since the model was trained, and the data is at least as old; None: nobody knows.
    """

    size: int
    groups: np.ndarray | None
    columns: Mapping[str, np.ndarray]
    file_mb: float
    latency_ms: float
    age_days: float | None


@dataclass(frozen=True)
class MetricLimit:
    """A limit of a metric, of which MLflow can say in a sentence that it is not kept."""

    name: str
    value: float
    limit: float
    greater_is_better: bool


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        passed: None: it only informs.
        reason: why it did not pass.
        limit: of a metric, if it is that what the rule is about.
    """

    rule: str
    candidate: str
    reference: str
    passed: bool | None = None
    reason: str = ""
    limit: MetricLimit | None = None


def check(
    gate: Gate, candidate: MeasuredModel, champion: MeasuredModel | None, facts: Facts
) -> list[Row]:
    """Apply the rules to a candidate and return the table.

    Args:
        gate: the rules.
        candidate: the model that wants to become the champion.
        champion: the one that it is compared with, on the same examples; None: there is none yet.
        facts: about the candidate and the test split.

    Raises:
        UsageProblem: a rule names a metric that the project does not have.
    """
    return [
        *_check_comparison(gate, candidate, champion, facts),
        *_check_limits(gate, candidate, facts),
        *_check_worst_slice(gate, candidate, facts),
        *_check_calibration(gate, candidate, facts),
        *_check_cost(gate, facts),
    ]


def _check_comparison(
    gate: Gate, candidate: MeasuredModel, champion: MeasuredModel | None, facts: Facts
) -> list[Row]:
    rules = {
        _resolve(name, candidate, list(candidate.weighted) or [candidate.headline]): rule
        for name, rule in gate.metrics.items()
        if rule.better or rule.not_worse_by is not None
    }
    values = candidate.values(facts.size)
    if champion is None:
        return [Row(name, _format(values[name]), "no champion yet") for name in candidate.weighted]
    if not candidate.weighted:
        return [Row("comparison", "", "champion", False, f"two models {INCOMPARABLE}")]
    rows = []
    theirs = champion.values(facts.size)
    for name, metric in candidate.weighted.items():
        found = compare_models(metric, champion.weighted[name], facts.size, facts.groups)
        pair = (name, values[name], theirs[name])
        rows += _describe_comparison(*pair, found)
        rows += _judge_comparison(*pair, found, rules.get(name, MetricRule()))
    return rows


def _describe_comparison(name: str, own: float, theirs: float, found: Comparison) -> list[Row]:
    difference = found.difference
    interval = f"{difference.value:+.4f}, 95 %: {difference.low:+.4f} to {difference.high:+.4f}"
    rows = [Row(name, _format(own), f"{_format(theirs)} ({interval})")]
    if found.p_value is not None and found.losses is not None:
        p_value = f"{found.losses} (McNemar, one-sided: p = {found.p_value:.3f})"
        rows.append(Row(f"{name}: only one is right", str(found.wins), p_value))
    return rows


def _judge_comparison(
    name: str, own: float, theirs: float, found: Comparison, rule: MetricRule
) -> list[Row]:
    known = np.isfinite(found.bound)
    against = f"{_format(own)} against {_format(theirs)}"
    rows = []
    if rule.better:
        title = f"{name}: better than the champion"
        reason = f"{name} is not better than the champion's beyond chance ({against})"
        rows.append((title, "more than 0", found.is_better, reason))
    if (margin := rule.not_worse_by) is not None:
        title = f"{name}: not worse by {margin:g}"
        reason = f"{name} may be worse than the champion's by {-found.bound:.4f} ({against})"
        if found.difference.value >= -margin:
            reason += "; a larger test split, or a model that differs less, leaves less doubt"
        rows.append((title, f"at least {-margin:g}", found.bound >= -margin, reason))
    unclear = f"{name} cannot be compared ({against}): it is undefined, or of too few examples"
    return [
        Row(
            title,
            f"ahead by {found.bound:+.4f} at least" if known else "undefined",
            f"{limit} (error rate {100 * ERROR_RATE:g} % at most)",
            bool(known and passed),
            "" if known and passed else reason if known else unclear,
        )
        for title, limit, passed, reason in rows
    ]


def _check_limits(gate: Gate, candidate: MeasuredModel, facts: Facts) -> list[Row]:
    values = candidate.values(facts.size)
    rows = []
    if gate.min_examples is not None:
        reason = f"the test split has {facts.size} examples, fewer than {gate.min_examples}"
        rows.append(_limit("test examples", facts.size, gate.min_examples, True, reason, "d"))
    for name in candidate.weighted:
        if not np.isfinite(values[name]):
            reason = f"{name} of the candidate is {values[name]}"
            rows.append(Row(f"{name}: a number", str(values[name]), "", False, reason))
    for name, rule in gate.metrics.items():
        metric = _resolve(name, candidate, values)
        for bound, greater in ((rule.at_least, True), (rule.at_most, False)):
            if bound is not None:
                rows.append(_limit_metric(metric, values[metric], bound, greater))
    return rows


def _check_worst_slice(gate: Gate, candidate: MeasuredModel, facts: Facts) -> list[Row]:
    rule = gate.worst_slice
    if rule is None:
        return []
    from .slices import measure_slices

    if not candidate.weighted:
        return [Row("worst slice", "unknown", "", False, f"slices {INCOMPARABLE}")]
    name = _resolve(rule.metric, candidate, candidate.weighted)
    metric = candidate.weighted[name]
    greater = rule.at_least is not None
    if greater == metric.lower_is_better:
        usable = "at_most" if metric.lower_is_better else "at_least"
        raise UsageProblem(f"{FILE}: worst_slice: {name!r} takes {usable}.")
    # A slice that the report does not show has no metrics: the table and its tag name none either.
    measured = {
        _printable(f"{part.column} = {part.value}"): part.metrics[name]
        for part in measure_slices({name: metric}, facts.columns, facts.groups)
        if name in part.metrics and part.count >= rule.min_examples
    }
    title = f"{name} of the worst slice"
    if not measured:
        reason = f"no slice that the report shows has {rule.min_examples} examples"
        return [Row(title, "none", "", False, reason)]
    # A NaN is the worst of all.
    sign = 1 if greater else -1
    worst = min(measured, key=lambda s: (not np.isnan(measured[s]), sign * measured[s]))
    limit = rule.at_least if rule.at_least is not None else rule.at_most
    row = _limit_metric(f"{name} of {worst}", measured[worst], limit or 0.0, greater)
    return [replace(row, limit=None)]


def _check_calibration(gate: Gate, candidate: MeasuredModel, facts: Facts) -> list[Row]:
    rule = gate.calibration or CalibrationRule()
    error = next((n for n in CALIBRATION_ERRORS if n in candidate.metrics), CALIBRATION_ERRORS[0])
    limits = [
        (error, rule.max_error, False),
        (CALIBRATION_SLOPE, rule.min_slope, True),
        (CALIBRATION_SLOPE, rule.max_slope, False),
    ]
    for name, limit, _ in limits:
        if limit is not None and name not in candidate.metrics:
            raise unknown(f"{FILE}: calibration: metric", name, candidate.metrics)
    return [
        _limit_metric(name, candidate.metrics[name], limit, greater)
        for name, limit, greater in limits
        if limit is not None
    ]


def _check_cost(gate: Gate, facts: Facts) -> list[Row]:
    rows = []
    if (most := gate.max_file_mb) is not None:
        reason = f"the model's file has {facts.file_mb:.1f} MB, more than {most:g}"
        rows.append(_limit("file, MB", facts.file_mb, most, False, reason, ".1f"))
    if (most := gate.max_latency_ms) is not None:
        reason = f"one example takes {facts.latency_ms:.2f} ms, more than {most:g}"
        rows.append(_limit("one example, ms", facts.latency_ms, most, False, reason, ".2f"))
    if (most := gate.max_age_days) is not None:
        title = "days since training (the data is at least as old)"
        if facts.age_days is None:
            rows.append(
                Row(title, "unknown", f"{most:g}", False, "nobody knows when it was trained")
            )
        else:
            reason = f"it was trained {facts.age_days:.0f} days ago, more than {most:g}"
            rows.append(_limit(title, facts.age_days, most, False, reason, ".0f"))
    return rows


def _limit_metric(name: str, value: float, limit: float, greater: bool) -> Row:
    reason = f"{name} is {_format(value)}, {'less' if greater else 'more'} than {limit:g}"
    row = _limit(name, value, limit, greater, reason, ".4f")
    return replace(row, limit=MetricLimit(name, round(value, 6), limit, greater))


def _limit(title: str, value: float, limit: float, greater: bool, reason: str, digits: str) -> Row:
    # Of a NaN neither holds.
    passed = bool(value >= limit if greater else value <= limit)
    reference = f"at {'least' if greater else 'most'} {limit:g}"
    return Row(title, f"{value:{digits}}", reference, passed, "" if passed else reason)


def _resolve(name: str, candidate: MeasuredModel, allowed: Any) -> str:
    resolved = candidate.headline if name == HEADLINE else name
    if resolved not in allowed:
        raise unknown(f"{FILE}: metric", name, [HEADLINE, *allowed])
    return resolved


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _format(value: float) -> str:
    return f"{value:.4f}"
