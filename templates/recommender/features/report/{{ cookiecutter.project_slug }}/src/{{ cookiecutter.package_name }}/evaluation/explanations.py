"""Because of which items of a history an item is recommended: Shapley values.

Items are left out of the history, as if the user had never had them, so that any network can be
explained, with or without attention, and transitions too.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from ..engine.artifact import Artifact
from ..engine.errors import DataProblem
from ..engine.explanations import Contributions, Part, get_probe, shapley_values
from ..engine.interfaces import Split
from ..preprocessing import PADDING, START, Preprocessing
from ..ranking import rows_at_once

METHOD = (
    "Shapley values: what an item of the history adds to the logarithm of the probability that the "
    "recommended one comes next, compared with no history"
)
MAX_ROWS = 64  # histories scored at a time
SEPARATOR = " \u00b7 "
NO_HISTORY = "there is no history"
NOT_READ = "this model does not read the history: it knows users by their id"
NOTHING_LEFT = "no items are left to recommend"


def explain(
    model: Artifact, split: Split, positions: np.ndarray, names: Sequence[str] | None = None
) -> list[Contributions]:
    """Explain recommendations.

    Args:
        model: the trained model.
        split: users with histories.
        positions: (batch,) of the users to explain; one may occur several times.
        names: (batch,) of items; None: the best one of each user.

    Raises:
        DataProblem: an item is not in the catalogue.
    """
    positions = np.asarray(positions)
    users, rows = np.unique(positions, return_inverse=True)
    raw = {name: np.asarray(part) for name, part in split.fetch(users).items()}
    prepared = {name: np.asarray(part) for name, part in model.preprocessing(raw).items()}
    prepared["items"] = _pad(prepared["items"], model.preprocessing)
    scores = get_probe(model).outputs(prepared)  # (users, catalogue)
    if names is None:
        best = model.task.postprocess(raw, scores, model.preprocessing)[:, 0, 0]
        items = best[rows].astype("int64")  # -1 where none is left
    else:
        items = _find_items(names, model.preprocessing)
    found: dict[int, Contributions] = {}
    for user in range(len(users)):
        own = np.flatnonzero(rows == user)
        explained = _explain_user(model, raw, prepared, user, items[own], scores[user])
        found |= dict(zip(own.tolist(), explained, strict=True))
    return [found[place] for place in range(len(positions))]


def attribute(
    model: Artifact, user: int, history: np.ndarray, items: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute the log-probabilities of items to what a history consists of.

    Args:
        model: scores the catalogue.
        user: number of the user.
        history: (length,) item numbers, the oldest first.
        items: (items,) catalogue indices of those that are explained.
        groups: (length,) the part, from 0 on, that each position belongs to.

    Returns:
        Values (parts, items), and differences to no history (items,), which they add up to.
    """
    parts = int(groups.max(initial=-1)) + 1
    probe = get_probe(model)

    def log_prob(kept: np.ndarray) -> np.ndarray:
        rows = np.full((len(kept), 1 + len(history)), PADDING, "int32")
        rows[:, 0] = START
        for row, own in zip(rows, kept[:, groups], strict=True):
            row[1 : 1 + own.sum()] = history[own]
        size = min(MAX_ROWS, rows_at_once(len(model.preprocessing.items)))
        # Whole batches, so that all have the same shape; the rows behind the last one do not count.
        rows = np.pad(rows, [(0, -len(rows) % size), (0, 0)], constant_values=START)
        rows = _pad(rows, model.preprocessing)
        chunks = (rows[start : start + size] for start in range(0, len(rows), size))
        outputs = (
            probe.outputs({"user": np.full(size, user, "int32"), "items": chunk})
            for chunk in chunks
        )
        parts = [log_softmax(scores.astype("float64"), axis=-1)[:, items] for scores in outputs]
        return np.concatenate(parts)[: len(kept)]

    values = shapley_values(log_prob, parts)
    return values, values.sum(axis=0)


def _pad(items: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Pad item numbers (batch, length) to one of few lengths, as each may compile the network anew.

    They are two at least, see ``Preprocessing``.
    """
    length = min(2 ** math.ceil(math.log2(items.shape[1])), 1 + preprocessing.max_history)
    return np.pad(items, [(0, 0), (0, max(2, length) - items.shape[1])], constant_values=PADDING)


def _find_items(names: Sequence[str], preprocessing: Preprocessing) -> np.ndarray:
    """Return catalogue indices (items,) of ids; refuse unknown ones."""
    items = preprocessing.catalogue_indices(np.array(names, dtype=object))
    for name, item in zip(names, items, strict=True):
        if item < 0:
            raise DataProblem(f"item: {name!r} is not in the catalogue.")
    return items


def _explain_user(
    model: Artifact,
    raw: dict[str, Any],
    prepared: dict[str, Any],
    row: int,
    items: np.ndarray,
    scores: np.ndarray,
) -> list[Contributions]:
    """Explain items (items,) that are recommended to one user.

    Args:
        row: of the user in ``raw`` and ``prepared``.
        scores: (catalogue,) of the user.
    """
    preprocessing: Preprocessing = model.preprocessing
    names = [name.decode("utf-8", "replace") for name in raw["history"][row] if name]
    names = names[-preprocessing.max_history :]
    history = prepared["items"][row, 1 : 1 + len(names)]
    # An item that occurs several times is one part.
    parts, groups = list(dict.fromkeys(names)), np.zeros(len(names), "int64")
    groups[:] = [parts.index(name) for name in names]
    values, differences = attribute(model, int(prepared["user"][row]), history, items, groups)
    note = "" if values.any() else NOT_READ if parts else NO_HISTORY
    return [
        Contributions(
            target=preprocessing.items[item] if item >= 0 else "",
            score=float(scores[item]) if item >= 0 else 0.0,
            method=METHOD,
            note=note if item >= 0 else NOTHING_LEFT,
            parts=tuple(map(Part, parts, map(float, values[:, place]))) if item >= 0 else (),
            difference=float(differences[place]) if item >= 0 else 0.0,
            separator=SEPARATOR,
        )
        for place, item in enumerate(items)
    ]
