"""What ``predict`` is asked, and how its answers are shown."""

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.tables import iterate_parts

if TYPE_CHECKING:
    from .engine.artifact import Artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be predicted."""
    parser.add_argument("input", nargs="+", help="what to predict, or - for standard input")


def answer(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Answers for what the words name, each with ``id``, ``prediction`` and ``scores``.

    Raises:
        DataProblem: an input is not readable; nothing is predicted then.
    """
    from . import inputs, objective

    for requests in inputs.read(arguments.input, config, arguments.batch_size):
        outputs = model.predict_split(requests, arguments.batch_size)
        answers = objective.answers(outputs, model.preprocessing)
        for key, answer in zip(requests.ids, answers, strict=True):
            yield {"id": str(key), **answer}


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each answer, with the likeliest classes."""
    for part in iterate_parts(rows):
        width = max(len(row["id"]) for row in part)
        for row in part:
            best = sorted(row["scores"].items(), key=lambda item: -item[1])[:3]
            scores = "  ".join(f"{name} {score:.3f}" for name, score in best)
            yield f"{row['id']:<{width}}  {row['prediction'] or '(none)'}  ({scores})"
