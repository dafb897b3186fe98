"""Arguments of ``predict`` and formatting of its output."""

import argparse
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.errors import UsageProblem

if TYPE_CHECKING:
    from .engine.artifact import Artifact
    from .engine.interfaces import Split
    from .preprocessing import Preprocessing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the series to forecast."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--series",
        action="append",
        metavar="NAME",
        help="the days after the end of this series of the source; may be repeated",
    )
    group.add_argument("--values", metavar="N,N,…", help="the days after these, the newest last")
    parser.add_argument("--first-day", metavar="DAY", help="of --values: the first day to forecast")


def predict(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Yield rows with ``id``, ``prediction`` (the sum) and ``scores`` by the day ahead.

    Args:
        model: the trained model.
        arguments: parsed arguments of ``add_arguments``, ``batch_size`` and ``explain``.
        config: of the model's run, which says where the series are.

    Raises:
        UsageProblem: there is no such series, or --first-day is missing.
        DataProblem: values or day are wrong.
    """
    from .objective import decode_predictions

    split = _read_split(arguments, model.preprocessing, config)
    outputs = model.predict_split(split, arguments.batch_size)
    answers = decode_predictions(outputs, model.preprocessing)
    if arguments.explain:
        model.add_explanations(split, answers)
    for name, row in zip(split.ids, answers, strict=True):
        yield {"id": str(name), **row}


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Format a line for each day ahead, below the id and the sum."""
    for row in rows:
        yield f"{row['id']}: {row['prediction']} in {len(row['scores'])} days"
        for ahead, value in row["scores"].items():
            yield f"  {ahead:>4}  {value:,.1f}"
        if "explanation" in row:
            yield f"  because of {row['explanation']['summary']}"


def _read_split(
    arguments: argparse.Namespace, preprocessing: "Preprocessing", config: Config
) -> "Split":
    import numpy as np

    from .data import load_series
    from .engine.requests import check_requests
    from .inputs import make_row, make_split, read_requests

    if arguments.values is not None:
        if arguments.first_day is None:
            raise UsageProblem("--first-day: it is needed beside --values.")
        row = {"first_day": arguments.first_day, "values": arguments.values}
        return check_requests(read_requests([row], preprocessing, config))
    source, rows = load_series(config.data), []
    first_day = source.first_day + timedelta(source.days)
    for name in arguments.series:
        if name not in source.names:
            known = ", ".join(source.names[:3])
            raise UsageProblem(f"--series: there is no {name!r} in the data, only {known}, ….")
        rows.append(make_row(first_day, source.values[source.names.index(name)], preprocessing))
    return make_split(np.array(arguments.series, dtype=object), rows)
