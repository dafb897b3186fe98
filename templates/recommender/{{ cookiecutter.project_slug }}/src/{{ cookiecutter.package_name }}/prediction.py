"""What ``predict`` is asked, and how its answers are shown."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.config_loader import positive
from .engine.errors import DataProblem, UsageProblem

if TYPE_CHECKING:
    from .engine.artifact import Artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom to recommend something to, or an item to find others for."""
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--user", action="append", metavar="ID", help="recommend to this user; again"
    )
    asked.add_argument("--history", metavar="ITEM,…", help="recommend to somebody who had these")
    asked.add_argument("--similar-to", metavar="ITEM", help="items like this one")
    parser.add_argument("--top-k", type=positive, default=10, metavar="N", help="so many (10)")
    parser.add_argument(
        "--only", metavar="ITEM,…|FILE", help="of these items alone, or those of a file, one a line"
    )
    parser.add_argument("--include-seen", action="store_true", help="also what the user had")


def predict(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Answers, each with ``id``, ``prediction`` (the best item) and ``scores`` by item.

    Raises:
        UsageProblem: an item is unknown.
        DataProblem: the log cannot be read.
    """
    from . import objective, ranking

    preprocessing = model.preprocessing
    allowed = _allowed(arguments.only, preprocessing)
    score = _similar if arguments.similar_to else _recommended
    for ids, scores in score(model, arguments, config):
        if allowed is not None:
            scores[:, ~allowed] = -float("inf")
        answers = objective.decode_predictions(ranking.best(scores, arguments.top_k), preprocessing)
        for name, row in zip(ids, answers, strict=True):
            yield {"id": name, **row}


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each recommendation."""
    for row in rows:
        yield row["id"]
        if not row["scores"]:
            yield "  (nothing is left to recommend)"
        width = max(map(len, row["scores"]), default=0)
        for number, (item, score) in enumerate(row["scores"].items(), start=1):
            yield f"  {number:>3}  {item:<{width}}  {score:.3f}"


def _similar(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[tuple[list[str], Any]]:
    """The item that is asked about, and how near all others are (1, items)."""
    import numpy as np

    (place,) = _places([arguments.similar_to], model.preprocessing, "--similar-to")
    vectors = np.asarray(model.network.get_layer("scores").index)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
    scores = (vectors @ vectors[place] / (lengths * lengths[place]))[None]
    scores[:, place] = -np.inf
    yield [arguments.similar_to], scores


def _recommended(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[tuple[list[str], Any]]:
    """Users, ``--batch-size`` at a time, and the scores of all items (batch, items)."""
    import numpy as np

    from . import inputs, ranking

    preprocessing, size = model.preprocessing, arguments.batch_size
    users, histories = _asked(arguments, preprocessing, config)
    for start in range(0, len(users), size):
        ids = users[start : start + size]
        raw = inputs.raw(ids, histories[start : start + size])
        scores = np.array(model(raw))
        if preprocessing.unseen_only and not arguments.include_seen:
            had = preprocessing.catalogue_numbers(np.asarray(raw["known"]))
            scores = ranking.without(scores, had)
        yield ids, scores


def _asked(
    arguments: argparse.Namespace, preprocessing: Any, config: Config
) -> tuple[list[str], list[list[str]]]:
    if arguments.history is not None:
        history = [part.strip() for part in arguments.history.split(",") if part.strip()]
        _places(history, preprocessing, "--history")
        return ["(history)"], [history]
    from .data import histories_of

    return arguments.user, histories_of(arguments.user, config)


def _allowed(only: str | None, preprocessing: Any) -> Any:
    import numpy as np

    if only is None:
        return None
    names = only.split(",")
    if Path(only).is_file():
        try:
            names = Path(only).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise DataProblem(f"--only: {only!r} is not UTF-8.") from None
    names = [name.strip() for name in names if name.strip()]
    allowed = np.zeros(len(preprocessing.items), dtype=bool)
    allowed[_places(names, preprocessing, "--only")] = True
    return allowed


def _places(names: list[str], preprocessing: Any, flag: str) -> list[int]:
    import numpy as np

    if not names:
        raise UsageProblem(f"{flag}: there are no items.")
    places = preprocessing.catalogue_numbers(np.array(names, dtype=object))
    for name, place in zip(names, places, strict=True):
        if place < 0:
            raise UsageProblem(f"{flag}: {name!r} is not in the catalogue.")
    return [int(place) for place in places]
