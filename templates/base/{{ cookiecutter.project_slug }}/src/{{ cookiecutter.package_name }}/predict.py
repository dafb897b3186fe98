"""Predict with a trained model: a table, or one JSON object a line."""

import json
import sys
from pathlib import Path
from typing import Any

from . import distribution
from .config import Parser, load_config, positive
from .errors import command
from .evaluate import find_artifact, is_uri
from .files import write_text
from .runs import find_run


def predict(words: list[str], run: str = "latest", batch_size: int = 128) -> list[dict[str, Any]]:
    """Answers for what the words name, each with ``id``, ``prediction`` and ``scores``.

    Args:
        words: files, folders or texts, as the domain reads them; ``-`` is standard input.
        run: ``latest``, a run's id or an MLflow model URI.

    Raises:
        DataProblem: an input is not readable; nothing is predicted then.
    """
    from . import inputs, objective

    model, config_file = find_artifact(run)
    requests = inputs.read(words, load_config(base=config_file))
    outputs = model.predict_split(requests, batch_size)
    answers = objective.answers(outputs, model.preprocessing)
    return [{"id": str(key), **answer} for key, answer in zip(requests.ids, answers, strict=True)]


@command
def main(argv: list[str]) -> None:
    """``predict [--run …] [--json] [--output FILE] INPUT …``."""
    parser = Parser(prog="predict", description="Predict with a trained model.", allow_abbrev=False)
    parser.add_argument("input", nargs="+", help="what to predict, or - for standard input")
    parser.add_argument("--run", default="latest", help="latest, a run's id or an MLflow model URI")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write JSON lines to this file")
    parser.add_argument(
        "--batch-size", type=positive, default=128, metavar="N", help="examples at once (128)"
    )
    arguments = parser.parse_args(argv)
    if not is_uri(arguments.run):
        find_run(arguments.run)  # fails before TensorFlow is imported
    distribution.prepare(load_config().runtime)
    rows = predict(arguments.input, arguments.run, arguments.batch_size)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    if arguments.output:
        write_text(arguments.output, "".join(f"{line}\n" for line in lines))
        print(f"{len(rows)} predictions: {arguments.output}")
    elif arguments.json:
        print("\n".join(lines))
    else:
        _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    width = max(len(row["id"]) for row in rows)
    for row in rows:
        best = sorted(row["scores"].items(), key=lambda item: -item[1])[:3]
        scores = "  ".join(f"{name} {score:.3f}" for name, score in best)
        print(f"{row['id']:<{width}}  {row['prediction'] or '(none)'}  ({scores})")


if __name__ == "__main__":
    sys.exit(main())
