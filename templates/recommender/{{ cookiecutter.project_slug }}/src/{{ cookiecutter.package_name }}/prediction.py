"""Arguments of ``predict`` and formatting of its output."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .engine.config_loader import positive
from .engine.errors import DataProblem, UsageProblem

MAX_REASONS = 3  # items of the history that are named beside a recommendation

if TYPE_CHECKING:
    import numpy as np

    from .engine.artifact import Artifact
    from .engine.interfaces import Split
    from .preprocessing import Preprocessing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the users, history or item to recommend for."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--user", action="append", metavar="ID", help="recommend to this user; may be repeated"
    )
    group.add_argument(
        "--history", metavar="ITEM,…", help="recommend to a new user with this history"
    )
    group.add_argument("--similar-to", metavar="ITEM", help="find items similar to this one")
    parser.add_argument(
        "--top-k", type=positive, default=10, metavar="N", help="number of recommendations (10)"
    )
    parser.add_argument(
        "--only",
        metavar="ITEM,…|FILE",
        help="recommend these items only, or those of a file with one a line",
    )
    parser.add_argument(
        "--include-seen", action="store_true", help="also recommend items of the history"
    )


def predict(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> Iterator[dict[str, Any]]:
    """Yield rows with ``id``, ``prediction`` (the best item) and ``scores`` by item; with
    ``--explain`` also ``explanation``, a list in the order of the scores.

    Args:
        arguments: parsed arguments of ``add_arguments``, ``batch_size`` and ``explain``.
        config: of the model's run, which says where the histories of users are.

    Raises:
        UsageProblem: an item is not in the catalogue, or similar items are to be explained.
        DataProblem: the source of histories, or the file of ``--only``, cannot be read.
    """
    from . import objective, ranking

    preprocessing = model.preprocessing
    if arguments.explain and arguments.similar_to:
        raise UsageProblem("--explain: similar items come from no history; leave --similar-to out.")
    allowed = _parse_allowed(arguments.only, preprocessing)
    score = _score_similar if arguments.similar_to else _score_users
    for requests, scores in score(model, arguments, config):
        if allowed is not None:
            scores[:, ~allowed] = -float("inf")
        answers = objective.decode_predictions(
            ranking.top_k(scores, arguments.top_k), preprocessing
        )
        if arguments.explain:
            model.add_explanations(requests, answers)
        for name, row in zip(requests.ids, answers, strict=True):
            yield {"id": name, **row}


def format_predictions(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Format a line for each recommendation, below the id."""
    for row in rows:
        yield row["id"]
        if not row["scores"]:
            yield "  (no items left to recommend)"
        width = max(map(len, row["scores"]), default=0)
        told = row.get("explanation", [])
        reasons = [_name_reasons(one) for one in told] or [""] * len(row["scores"])
        for number, (item, score) in enumerate(row["scores"].items(), start=1):
            yield f"  {number:>3}  {item:<{width}}  {score:.3f}{reasons[number - 1]}"
        for note in dict.fromkeys(one["note"] for one in told if "note" in one):
            yield f"  ({note})"


def _name_reasons(explanation: dict[str, Any]) -> str:
    """Name the items of the history that speak most for a recommendation, '' if none does."""
    reasons = sorted(explanation["parts"], key=lambda part: -part["value"])[:MAX_REASONS]
    named = [f"{part['text']} {part['value']:+.2f}" for part in reasons if part["value"] > 0]
    return f"  because of {', '.join(named)}" if named else ""


def _score_similar(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> "Iterator[tuple[Split, np.ndarray]]":
    """Yield the item of ``--similar-to`` and the cosine similarity of all others (1, items)."""
    import numpy as np

    from .inputs import make_split

    (index,) = _find_items([arguments.similar_to], model.preprocessing, "--similar-to")
    embeddings = np.asarray(model.network.get_layer("scorer").index)
    norms = np.maximum(np.linalg.norm(embeddings, axis=1), 1e-9)
    scores = (embeddings @ embeddings[index] / (norms * norms[index]))[None]
    scores[:, index] = -np.inf
    yield make_split([arguments.similar_to], [[]]), scores


def _score_users(
    model: "Artifact", arguments: argparse.Namespace, config: Config
) -> "Iterator[tuple[Split, np.ndarray]]":
    """Yield users, ``--batch-size`` at a time, and the scores of all items (batch, items)."""
    import numpy as np

    from . import inputs, ranking

    preprocessing, size = model.preprocessing, arguments.batch_size
    users, histories = _read_histories(arguments, preprocessing, config)
    for start in range(0, len(users), size):
        part = slice(start, start + size)
        requests = inputs.make_split(users[part], histories[part])
        raw = requests.fetch(np.arange(len(requests)))
        scores = np.array(model(raw))
        if preprocessing.exclude_seen and not arguments.include_seen:
            seen = preprocessing.catalogue_indices(np.asarray(raw["history"]))
            scores = ranking.mask_items(scores, seen)
        yield requests, scores


def _read_histories(
    arguments: argparse.Namespace, preprocessing: "Preprocessing", config: Config
) -> tuple[list[str], list[list[str]]]:
    if arguments.history is not None:
        history = [part.strip() for part in arguments.history.split(",") if part.strip()]
        _find_items(history, preprocessing, "--history")
        return ["(history)"], [history]
    from .data import load_histories

    histories = load_histories(config)
    return arguments.user, [histories.find(user) for user in arguments.user]


def _parse_allowed(only: str | None, preprocessing: "Preprocessing") -> "np.ndarray | None":
    """Parse ``--only`` to a mask (items,), or None where all are allowed."""
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
    allowed[_find_items(names, preprocessing, "--only")] = True
    return allowed


def _find_items(names: list[str], preprocessing: "Preprocessing", flag: str) -> list[int]:
    """Look up catalogue indices of ids; refuse an empty list and unknown ids."""
    import numpy as np

    if not names:
        raise UsageProblem(f"{flag}: name at least one item.")
    indices = preprocessing.catalogue_indices(np.array(names, dtype=object))
    for name, index in zip(names, indices, strict=True):
        if index < 0:
            raise UsageProblem(f"{flag}: {name!r} is not in the catalogue.")
    return [int(index) for index in indices]
