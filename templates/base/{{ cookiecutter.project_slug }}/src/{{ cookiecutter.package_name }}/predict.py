"""Predict with a trained model: a table, or one JSON object a line."""

import json
import sys
from pathlib import Path

from . import answering, distribution
from .config import Parser, load_config, positive
from .errors import command
from .evaluate import find_artifact, is_uri
from .files import write_text
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
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    if arguments.output:
        write_text(arguments.output, "".join(f"{line}\n" for line in lines))
        print(f"{len(rows)} predictions: {arguments.output}")
    elif arguments.json:
        print("\n".join(lines))
    else:
        print("\n".join(answering.table(rows)))


if __name__ == "__main__":
    sys.exit(main())
