"""How good the answers were, where labels have come since."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import Artifact
from ..bootstrap import Interval, estimate
from ..errors import DataProblem, UsageProblem
from ..interfaces import Metrics, Split
from ..weighted_metrics import WeightedMetric
from .new_inputs import AnsweredPart
from .profile import Profile
from .rules import PerformanceRule

ID, LABEL = "id", "label"  # columns of the file


@dataclass(frozen=True)
class Performance:
    """Metrics of the rows whose label is known.

    Attributes:
        rows: the number of these rows.
        unused: labels of rows that are not there.
        metrics: of ``Task.measure``.
        intervals: those of them that have one.
        reference: metrics of the test split.
        headline: the one that matters most.
        behind: by how much it is worse than on the test split, with the interval.
        limit: of ``configs/monitor.yaml``; None: it only informs, or there are too few labels.
    """

    rows: int
    unused: int
    metrics: Metrics
    intervals: Mapping[str, Interval]
    reference: Metrics
    headline: str
    behind: Interval
    limit: float | None

    @property
    def is_past(self) -> bool:
        """Whether it is worse by more than the limit, beyond what chance explains."""
        return self.limit is not None and self.behind.low > self.limit


def read_labels(file: Path) -> dict[str, str]:
    """Read labels by id: a table or JSON lines with columns ``id`` and ``label``.

    Any other column is the label where it is the only one.

    Raises:
        DataProblem: it cannot be read, or lacks the columns.
    """
    import pandas as pd

    try:
        if file.suffix in (".jsonl", ".json"):
            lines = file.read_text(encoding="utf-8").splitlines()
            frame = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        else:
            separator = "\t" if file.suffix == ".tsv" else ","
            frame = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    except OSError as error:
        raise DataProblem(f"--labels: {str(file)!r}: {error.strerror}.") from None
    except ValueError:  # of many types, some with a row's values in their text
        raise DataProblem(f"--labels: {str(file)!r} is neither a table nor JSON lines.") from None
    names = [str(name) for name in frame.columns]
    others = [name for name in names if name != ID]
    column = LABEL if LABEL in others else others[0] if len(others) == 1 else None
    if ID not in names or column is None:
        raise DataProblem(f"--labels: {str(file)!r} needs the columns {ID!r} and {LABEL!r}.")
    return dict(zip(frame[ID].astype(str), frame[column].astype(str), strict=True))


def measure_performance(
    model: Artifact,
    parts: Sequence[AnsweredPart],
    labels: Mapping[str, str],
    profile: Profile,
    rule: PerformanceRule,
) -> Performance:
    """Measure the answers to rows whose label is known.

    Args:
        model: that has answered.
        parts: inputs and outputs.
        labels: by the ids of the inputs.
        profile: knows the metrics of the test split.
        rule: how much worse they may be.

    Raises:
        DataProblem: no input has a label, or a label is unknown.
        UsageProblem: the model writes, and no label says whether a text is right.
    """
    if model.task.respond is not None:
        raise UsageProblem("--labels: there are none for a model that writes; leave it out.")
    labelled_parts = [_take_labelled(part, labels) for part in parts]
    labelled_parts = [part for part in labelled_parts if len(part.split)]
    rows = sum(len(part.split) for part in labelled_parts)
    if not rows:
        raise DataProblem("--labels: none of the ids is that of an input.")
    ids = np.concatenate([part.split.ids for part in labelled_parts]).astype(str)
    texts = np.array([labels[name] for name in ids], dtype=object)
    targets = model.task.parse_labels(texts, model.preprocessing)
    metrics, weighted = _measure(model, labelled_parts, targets)
    intervals = {name: estimate(metric, rows) for name, metric in weighted.items()}
    headline = next(iter(weighted or metrics))
    task = model.task
    is_loss = (
        weighted[headline].lower_is_better
        if headline in weighted
        else headline in task.lower_is_better
    )
    behind = _subtract(profile, headline, metrics, intervals, is_loss)
    limit = rule.not_worse_by if rows >= rule.min_labels else None
    unused = len(labels.keys() - set(ids.tolist()))
    reference = profile.metrics
    return Performance(rows, unused, metrics, intervals, reference, headline, behind, limit)


def _take_labelled(part: AnsweredPart, labels: Mapping[str, str]) -> AnsweredPart:
    places = np.flatnonzero([str(name) in labels for name in part.split.ids])
    return AnsweredPart(part.split.take(places), part.outputs[places])


def _measure(
    model: Artifact, parts: Sequence[AnsweredPart], targets: np.ndarray
) -> tuple[Metrics, Mapping[str, WeightedMetric]]:
    split = replace(_join([part.split for part in parts]), targets=targets)
    outputs = np.concatenate([part.outputs for part in parts])
    arguments = (split, outputs, model.preprocessing)
    return model.task.measure(*arguments), model.task.weighted_metrics(*arguments)


def _join(splits: Sequence[Split]) -> Split:
    """Return splits as one, of which metrics read arrays alone."""
    first = splits[0]
    if len(splits) == 1:
        return first
    parts: dict[str, Any] = {}
    for name, value in vars(first).items():
        if isinstance(value, np.ndarray) and value.shape[:1] == (len(first),):
            parts[name] = np.concatenate([getattr(split, name) for split in splits])
    return replace(first, **parts)


def _subtract(
    profile: Profile,
    headline: str,
    metrics: Metrics,
    intervals: Mapping[str, Interval],
    is_loss: bool,
) -> Interval:
    """Return by how much a metric is behind the test split's, with the interval.

    Of two independent samples: Zou & Donner, Construction of confidence limits about effect
    measures, 2008, which needs no more than an interval of each.
    """
    own = intervals.get(headline) or _point(metrics.get(headline, math.nan))
    test = profile.intervals.get(headline) or _point(profile.metrics.get(headline, math.nan))
    first, second = (own, test) if is_loss else (test, own)
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, low, high)


def _point(value: float) -> Interval:
    return Interval(value, value, value)
