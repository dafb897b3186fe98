"""What ``predict`` is asked, and how its answers are shown."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.config_loader import positive
from .engine.tables import iterate_parts

if TYPE_CHECKING:
    from .engine.artifact import Artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Rows that are to be predicted."""
    parser.add_argument("input", type=Path, metavar="FILE", help="a csv, tsv or parquet file")
    parser.add_argument(
        "--reasons",
        type=positive,
        default=0,
        metavar="N",
        help="also the N columns that change the risk of each row most",
    )


def predict(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Answers with ``id`` (the row's number), ``prediction``, ``risk`` and what they come from.

    Raises:
        DataProblem: a row breaks the schema; nothing is predicted then.
    """
    from . import inputs, objective

    # The whole file is read before the first row is predicted.
    for name in inputs.missing_columns(arguments.input, model.preprocessing):
        print(
            f"warning: column {name!r} is missing in every row, and hardly was in training; the "
            "model takes it for usual.",
            file=sys.stderr,
        )
    for asked in inputs.read(arguments.input, model.preprocessing):
        outputs = model.predict_split(asked, arguments.batch_size)
        rows = objective.decode_predictions(outputs, model.preprocessing)
        why = _reasons(model, asked, arguments.reasons) if arguments.reasons else [{}] * len(rows)
        for key, row, reason in zip(asked.ids, rows, why, strict=True):
            yield {"id": str(key), **row, **reason}


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each row, and what the answers are not."""
    row: dict[str, Any] = {}
    for number, part in enumerate(iterate_parts(rows)):
        width = max(len("row"), *(len(row["id"]) for row in part))
        names = max(len(row["prediction"]) for row in part)
        if number == 0:
            yield f"{'row':>{width}}  {'risk':>6}  at the operating point"
        for row in part:
            line = f"{row['id']:>{width}}  {row['risk']:>6.3f}  {row['prediction']:<{names}}"
            shown = (f"{name} {value:+.2f}" for name, value in row.get("reasons", {}).items())
            yield f"{line}  {', '.join(shown)}".rstrip()
    yield f"\nModel {row['model']}, schema {row['schema']}."
    if "reasons" in row:
        yield f"Reasons are {row['reasons_of']}."
    yield row["notice"]


def _reasons(model: "Artifact", asked: Any, most: int) -> list[dict[str, Any]]:
    import numpy as np

    from .evaluation import attributions as reasons

    names, found = reasons.columns(model), []
    told = "what a column adds to the log-odds of an unremarkable patient"
    if model.preprocessing.recalibration == "isotonic":
        told += ", before recalibration"
    for row in reasons.contributions(model, model.preprocessing.of(asked)):
        order = np.argsort(-np.abs(row), kind="stable")[:most]
        shown = {names[place]: float(row[place]) for place in order}
        found.append({"reasons": shown, "reasons_of": told})
    return found
