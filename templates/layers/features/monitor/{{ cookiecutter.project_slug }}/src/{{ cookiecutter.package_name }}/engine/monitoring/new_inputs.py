"""New inputs from a file, with what the model answers to them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import Artifact
from ..config_fields import BaseConfig
from ..errors import DataProblem
from ..interfaces import Requests, Split
from ..requests import decode_bytes, name_row
from .bins import add_counts
from .features import describe_answers, describe_split
from .profile import INPUTS, PREDICTIONS, Profile
from .samples import Sample

AT_ONCE = 512  # rows of JSON


@dataclass(frozen=True)
class AnsweredPart:
    """Some of the inputs, and the outputs (size, …) of the model for them; none, if it writes."""

    split: Split
    outputs: np.ndarray


def answer_file(
    path: Path, model: Artifact, profile: Profile, config: BaseConfig
) -> tuple[Sample, list[AnsweredPart]]:
    """Read what ``predict`` reads from a file or folder, and predict it.

    Args:
        path: the file or folder.
        model: predicts.
        profile: of the model.
        config: of the model's run.

    Returns:
        The counts that are compared with the profile, and what is needed to measure the answers.

    Raises:
        DataProblem: the file cannot be read, or no row of it is right.
    """
    counts: dict[str, dict[str, list[np.ndarray]]] = {INPUTS: {}, PREDICTIONS: {}}
    parts, rejected, problem = list[AnsweredPart](), 0, ""
    for requests in read_requests(path, model, config):
        rejected += len(requests.problems)
        problem = problem or next(iter(requests.problems.values()), "")
        split = requests.split
        if not len(split):
            continue
        task, outputs, answers = model.task, np.zeros((len(split), 0)), list[dict[str, Any]]()
        if task.respond is None:  # what a model writes is not watched, so that it need not write
            outputs = model.predict_split(split, config.data.batch_size)
            answers = task.decode_predictions(outputs, model.preprocessing)
        columns = {
            INPUTS: describe_split(task, split, model.preprocessing),
            PREDICTIONS: describe_answers(task, answers),
        }
        for part, values in columns.items():
            for name, column_counts in profile.count(part, values).items():
                counts[part].setdefault(name, []).append(column_counts)
        parts.append(AnsweredPart(split, outputs))
    rows = sum(len(part.split) for part in parts)
    if not rows:
        more = f": {problem.rstrip('.')}" if problem else ""
        raise DataProblem(f"FILE: no row of {str(path)!r} can be predicted{more}.")
    return Sample(_add(counts, profile), rows, rejected, path.name), parts


def _add(
    counts: dict[str, dict[str, list[np.ndarray]]], profile: Profile
) -> dict[str, dict[str, np.ndarray]]:
    return {
        part: {
            name: add_counts(column_counts, profile.parts[part][name].bins.size)
            for name, column_counts in columns.items()
        }
        for part, columns in counts.items()
    }


def read_requests(path: Path, model: Artifact, config: BaseConfig) -> Iterator[Requests]:
    """Yield what ``predict`` reads from a file, or rows as a service takes them, a line each.

    Args:
        path: the file or folder.
        model: says how rows are read.
        config: of the model's run.

    Raises:
        DataProblem: it cannot be read.
    """
    if model.task.read_file is not None:
        yield from model.task.read_file(path, model.preprocessing, config)
        return
    schema = model.task.request_schema(model.preprocessing)
    try:
        with path.open(encoding="utf-8") as file:
            lines = enumerate(filter(str.strip, file))
            while part := list(islice(lines, AT_ONCE)):
                rows = [decode_bytes(_parse(text, place), schema) for place, text in part]
                yield _number(model.task.read_requests(rows, model.preprocessing, config), part)
    except UnicodeDecodeError:
        raise DataProblem(f"FILE: {str(path)!r} is not UTF-8.") from None


def _parse(text: str, place: int) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise DataProblem(f"FILE: row {name_row(place)} is no JSON object.")
    return row


def _number(requests: Requests, part: Sequence[tuple[int, str]]) -> Requests:
    """Return requests whose ids are the numbers of their rows in the file."""
    right = [row for place, (row, _) in enumerate(part) if place not in requests.problems]
    ids = np.array([name_row(row) for row in right], dtype=object)
    return replace(requests, split=replace(requests.split, ids=ids))
