"""The profile of a model: what its training data and its answers look like, as counts of bins.

It is attached to the model's own file, so that it goes wherever the model goes and cannot be that
of another one. Monitoring then needs no training data.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bootstrap import Interval, estimate
from ..errors import DataProblem
from ..interfaces import Metrics, Split
from .bins import Bins, bins_from_json, bins_to_json, fit_bins, merge_small
from .features import Columns, describe_answers, describe_split

if TYPE_CHECKING:  # with it comes what draws figures, which a service lacks
    from ..evaluation import Evaluation

NAME = "profile"  # of the attachment
VERSION = 1
MAX_EXAMPLES = 5_000  # of a split that are looked at
INPUTS, PREDICTIONS = "inputs", "predictions"


@dataclass(frozen=True)
class Column:
    """A column as counts.

    Attributes:
        counts: (cells,) of the training data.
    """

    bins: Bins
    counts: np.ndarray


@dataclass(frozen=True)
class Profile:
    """What a sample is compared with.

    Attributes:
        parts: ``inputs`` of the training split and ``predictions`` for the validation split, each
            column -> counts.
        rows: the number of examples of each part.
        metrics: of the test split, the one that matters most first.
        intervals: of those metrics that have one.
        is_private: whether examples are of persons, so that small cells are merged.
        notice: what must stand wherever answers are shown.
    """

    parts: Mapping[str, Mapping[str, Column]]
    rows: Mapping[str, int]
    metrics: Metrics = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    is_private: bool = False
    notice: str = ""

    def count(self, part: str, columns: Columns) -> dict[str, np.ndarray]:
        """Return the counts (cells,) of the columns that the profile knows.

        Args:
            part: ``inputs`` or ``predictions``.
            columns: name -> values (size,).
        """
        return {
            name: column.bins.count(columns[name])
            for name, column in self.parts[part].items()
            if name in columns
        }

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        parts = {
            part: {
                name: {"bins": bins_to_json(column.bins), "counts": column.counts.tolist()}
                for name, column in columns.items()
            }
            for part, columns in self.parts.items()
        }
        return {
            "version": VERSION,
            "rows": dict(self.rows),
            "metrics": {k: v for k, v in self.metrics.items() if math.isfinite(v)},
            "intervals": {
                name: astuple(interval)
                for name, interval in self.intervals.items()
                if all(map(math.isfinite, astuple(interval)))
            },
            "is_private": self.is_private,
            "notice": self.notice,
            "parts": parts,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Profile":
        """Undo ``to_json``."""
        parts = {
            part: {
                name: Column(bins_from_json(fields["bins"]), np.array(fields["counts"], dtype=int))
                for name, fields in columns.items()
            }
            for part, columns in content["parts"].items()
        }
        names = ("rows", "metrics", "is_private", "notice")
        intervals = {name: Interval(*ends) for name, ends in content["intervals"].items()}
        return cls(parts, intervals=intervals, **{name: content[name] for name in names})


def make_profile(evaluation: "Evaluation") -> Profile:
    """Describe the training data of a model, and its answers for the validation split.

    Args:
        evaluation: the model, measured on its test split.
    """
    model, data, config = evaluation.model, evaluation.data, evaluation.config
    task, is_private = model.task, model.task.has_private_examples
    train = _sample(data.train)
    # Of examples that it was trained on, a model is surer than of others.
    validation = _sample(data.validation)
    inputs = describe_split(task, train, model.preprocessing) if len(train) else {}
    answers: list[dict[str, Any]] = []
    if len(validation) and task.respond is None:
        outputs = model.predict_split(validation, config.data.batch_size)
        answers = task.decode_predictions(outputs, model.preprocessing)
    predictions = {
        name: values
        for name, values in describe_answers(task, answers).items()
        if values.dtype.kind == "O" or len(np.unique(values)) > 1  # else it is of the model
    }
    return Profile(
        parts={
            INPUTS: describe_columns(inputs, is_private),
            PREDICTIONS: describe_columns(predictions, is_private),
        },
        rows={INPUTS: len(train), PREDICTIONS: len(validation)},
        metrics={name.split("/", 1)[1]: value for name, value in evaluation.metrics.items()},
        intervals=_estimate_headline(evaluation),
        is_private=is_private,
        notice=task.notice,
    )


def _estimate_headline(evaluation: "Evaluation") -> dict[str, Interval]:
    model, split = evaluation.model, evaluation.split
    metrics = model.task.weighted_metrics(split, evaluation.outputs, model.preprocessing)
    return {
        name: estimate(metric, len(split), split.groups)
        for name, metric in list(metrics.items())[:1]
    }


def _sample(split: Split) -> Split:
    if len(split) <= MAX_EXAMPLES:
        return split
    positions = np.random.default_rng(0).permutation(len(split))[:MAX_EXAMPLES]
    return split.take(np.sort(positions))


def describe_columns(columns: Columns, is_private: bool) -> dict[str, Column]:
    """Return columns as counts of bins of their own.

    Args:
        columns: name -> values (size,).
        is_private: whether examples are of persons, so that small cells are merged.
    """
    table = {}
    for name, values in columns.items():
        bins = fit_bins(values, is_private)
        counts = bins.count(values)
        table[name] = Column(bins, merge_small(bins, counts) if is_private else counts)
    return table


def read_profile(attachments: Mapping[str, Any]) -> Profile | None:
    """Return the profile among the attachments of a model; None if it has none.

    Raises:
        DataProblem: the profile is that of another version of this project.
    """
    content = attachments.get(NAME)
    if content is None:
        return None
    if content.get("version") != VERSION:
        raise DataProblem(
            f"model file: its profile is of version {content.get('version')!r}, not {VERSION}; "
            "train the model again."
        )
    return Profile.from_json(content)
