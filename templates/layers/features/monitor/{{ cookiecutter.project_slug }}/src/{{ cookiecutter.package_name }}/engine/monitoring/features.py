"""What is watched: columns of numbers and text that describe inputs and answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..interfaces import Split, Task

Columns = dict[str, np.ndarray]

PREDICTION, SCORE = "prediction", "highest score"


def describe_split(task: Task, split: Split, preprocessing: Any) -> Columns:
    """Return what describes the inputs of a split, see ``Task.describe_inputs``.

    Args:
        task: the project's.
        split: any examples, with targets or without.
        preprocessing: of the model.
    """
    return {
        name: np.asarray(values)
        for name, values in task.describe_inputs(split, preprocessing).items()
    }


def describe_answers(task: Task, answers: Sequence[Mapping[str, Any]]) -> Columns:
    """Return what describes answers as ``Task.decode_predictions`` gives them.

    These are the prediction, the highest of its scores, and further numbers such as a risk. Of a
    model that writes there is nothing: its answers are texts, which nobody keeps.

    Args:
        task: the project's.
        answers: (size,) of one model.
    """
    if not answers or task.respond is not None:
        return {}
    columns: Columns = {}
    for name, example in answers[0].items():
        values = [answer.get(name) for answer in answers]
        if name == "scores":
            scores = [max(value.values()) if value else np.nan for value in values]
            columns[SCORE] = np.array(scores, "float64")
        elif _is_number(example):
            columns[name] = np.array([v if _is_number(v) else np.nan for v in values], "float64")
        elif name == PREDICTION:
            columns[name] = np.array([str(value) for value in values], dtype=object)
    return columns


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
