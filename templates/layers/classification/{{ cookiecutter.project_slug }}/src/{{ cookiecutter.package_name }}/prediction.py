"""Arguments of ``predict`` and formatting of its output."""

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.tables import iterate_parts

if TYPE_CHECKING:
    from .engine.artifact import Artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the inputs to predict."""
    parser.add_argument("input", nargs="+", help="what to predict, or - for standard input")


def predict(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Yield a row with ``id``, ``prediction`` and ``scores`` for each input, with ``--explain``
    also ``explanation``.

    Args:
        model: predicts.
        arguments: as ``add_arguments`` defines them.
        config: that of the model's run.

    Raises:
        DataProblem: an input is unreadable; raised before the first prediction.
    """
    from . import inputs, objective

    for requests in inputs.read(arguments.input, config, arguments.batch_size):
        outputs = model.predict_split(requests, arguments.batch_size)
        answers = objective.decode_predictions(outputs, model.preprocessing)
        if arguments.explain:
            model.add_explanations(requests, answers)
        for key, answer in zip(requests.ids, answers, strict=True):
            yield {"id": str(key), **answer}


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Format a line for each row, with its three likeliest classes."""
    for part in iterate_parts(rows):
        width = max(len(row["id"]) for row in part)
        for row in part:
            best = sorted(row["scores"].items(), key=lambda item: -item[1])[:3]
            scores = "  ".join(f"{name} {score:.3f}" for name, score in best)
            yield f"{row['id']:<{width}}  {row['prediction'] or '(none)'}  ({scores})"
            if "explanation" in row:
                explained = row["explanation"]
                yield f"{'':<{width}}  {explained['target']}: {explained['summary']}"
