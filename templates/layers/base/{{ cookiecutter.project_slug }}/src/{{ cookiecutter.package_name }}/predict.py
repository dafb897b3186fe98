"""Predict with a trained model: a table, or one JSON object a line."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import answering, distribution
from .config import Parser, load_config, positive
from .errors import command
from .evaluate import find_artifact, is_uri
from .files import written_whole
from .runs import find_run


@command
def main(argv: list[str]) -> None:
    """``predict [--run …] [--json] [--output FILE] …``."""
    parser = Parser(prog="predict", description="Predict with a trained model.", allow_abbrev=False)
    answering.add_arguments(parser)
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
    model, config_file = find_artifact(arguments.run)
    rows = answering.answer(model, arguments, load_config(base=config_file))
    # Row by row: the input may be larger than the memory.
    if arguments.output:
        print(f"{_write(arguments.output, rows)} predictions: {arguments.output}")
        return
    lines = map(_as_json, rows) if arguments.json else answering.table(rows)
    for line in lines:
        print(line)


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write JSON lines in one step; the file is there whole or not at all.

    Returns:
        How many there are.
    """
    count = 0
    with written_whole(path) as beside, beside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(f"{_as_json(row)}\n")
            count += 1
    return count


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
