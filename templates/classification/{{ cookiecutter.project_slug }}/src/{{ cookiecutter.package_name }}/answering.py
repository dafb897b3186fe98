"""What ``predict`` is asked, and how its answers are shown."""

import argparse
from typing import TYPE_CHECKING, Any

from .config import Config

if TYPE_CHECKING:
    from .artifact import Artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be predicted."""
    parser.add_argument("input", nargs="+", help="what to predict, or - for standard input")


def answer(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> list[dict[str, Any]]:
    """Answers for what the words name, each with ``id``, ``prediction`` and ``scores``.

    Raises:
        DataProblem: an input is not readable; nothing is predicted then.
    """
    from . import inputs, objective

    requests = inputs.read(arguments.input, config)
    outputs = model.predict_split(requests, arguments.batch_size)
    answers = objective.answers(outputs, model.preprocessing)
    return [{"id": str(key), **answer} for key, answer in zip(requests.ids, answers, strict=True)]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each answer, with the likeliest classes."""
    width = max(len(row["id"]) for row in rows)
    lines = []
    for row in rows:
        best = sorted(row["scores"].items(), key=lambda item: -item[1])[:3]
        scores = "  ".join(f"{name} {score:.3f}" for name, score in best)
        lines.append(f"{row['id']:<{width}}  {row['prediction'] or '(none)'}  ({scores})")
    return lines
