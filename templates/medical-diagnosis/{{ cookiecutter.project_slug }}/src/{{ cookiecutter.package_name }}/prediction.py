"""Arguments of ``predict`` and formatting of its output."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.config_loader import positive
from .engine.tables import iterate_parts

if TYPE_CHECKING:
    from .data import Visits
    from .engine.artifact import Artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    parser.add_argument("input", type=Path, metavar="FILE", help="a csv, tsv or parquet file")
    parser.add_argument(
        "--reasons",
        type=positive,
        default=0,
        metavar="N",
        help="also show the N columns that change the risk of each row most",
    )


def predict(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Predict the rows of a file.

    Args:
        model: the trained model.
        arguments: see ``add_arguments``, and ``batch_size``.
        config: part of the engine's interface.

    Yields:
        For each row ``id`` (its number in the file) and the answer, see ``decode_predictions``;
        with ``--reasons`` also ``reasons``, column -> contribution, and ``reasons_unit``; with
        ``--explain`` also ``explanation``, whose texts show a row's values only on the screen.

    Raises:
        DataProblem: the file cannot be read, or a row breaks the schema; nothing is predicted then.
    """
    from . import inputs, objective

    # This reads the whole file, so an invalid row is found before the first answer is given.
    for name in inputs.find_missing_columns(arguments.input, model.preprocessing):
        print(
            f"warning: column {name!r} is empty in every row, but rarely was in training; the "
            "model assumes average values.",
            file=sys.stderr,
        )
    for rows in inputs.read_rows(arguments.input, model.preprocessing):
        outputs = model.predict_split(rows, arguments.batch_size)
        answers = objective.decode_predictions(outputs, model.preprocessing)
        reasons: list[dict[str, Any]] = [{} for _ in answers]
        if arguments.reasons:
            reasons = _explain(model, rows, arguments.reasons)
        if arguments.explain:
            _add_explanations(model, rows, answers, with_values=arguments.output is None)
        for key, answer, reason in zip(rows.ids, answers, reasons, strict=True):
            yield {"id": str(key), **answer, **reason}


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Format answers as a table with one line for each row, and the notice below."""
    row: dict[str, Any] = {}
    for number, part in enumerate(iterate_parts(rows)):
        id_width = max(len("row"), *(len(row["id"]) for row in part))
        prediction_width = max(len(row["prediction"]) for row in part)
        if number == 0:
            yield f"{'row':>{id_width}}  {'risk':>6}  at the operating point"
        for row in part:
            line = f"{row['id']:>{id_width}}  {row['risk']:>6.3f}  "
            line += f"{row['prediction']:<{prediction_width}}"
            reasons = (f"{name} {value:+.2f}" for name, value in row.get("reasons", {}).items())
            yield f"{line}  {', '.join(reasons)}".rstrip()
            if "explanation" in row:
                yield f"{'':>{id_width}}  {row['explanation']['summary']}"
    yield f"\nModel {row['model']}, schema {row['schema']}."
    if "reasons" in row:
        yield f"Reasons are {row['reasons_unit']}."
    if "explanation" in row:
        yield f"Explained by {row['explanation']['method']}."
    yield row["notice"]


def _explain(model: "Artifact", rows: "Visits", limit: int) -> list[dict[str, Any]]:
    """Return the ``limit`` largest contributions of columns to the risk of each row."""
    import numpy as np

    from .evaluation import attributions
    from .evaluation.explanations import describe_unit

    columns, unit = attributions.input_columns(model), describe_unit(model)
    reasons = []
    for row in attributions.contributions(model, model.preprocessing.transform(rows)):
        largest = np.argsort(-np.abs(row), kind="stable")[:limit]
        contributions = {columns[i]: float(row[i]) for i in largest}
        reasons.append({"reasons": contributions, "reasons_unit": unit})
    return reasons


def _add_explanations(
    model: "Artifact", rows: "Visits", answers: list[dict[str, Any]], with_values: bool
) -> None:
    """Add an explanation to each answer; without values, its texts are the columns alone."""
    from dataclasses import replace

    from .engine.explanations import Contributions, Part
    from .evaluation import attributions

    columns = attributions.input_columns(model)
    for answer, told in zip(answers, model.explain(rows), strict=True):
        if not with_values and isinstance(told, Contributions):
            values = (part.value for part in told.parts)
            told = replace(told, parts=tuple(map(Part, columns, values)))
        answer["explanation"] = told.to_json()
