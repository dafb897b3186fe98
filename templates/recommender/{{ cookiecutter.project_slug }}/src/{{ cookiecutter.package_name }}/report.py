"""How good recommendations are, over the whole catalogue, without what a user had."""

from pathlib import Path
from typing import Any

import numpy as np

from .data import Histories
from .engine.figures import figure
from .engine.interfaces import Preprocessing
from .engine.tables import write_csv
from .ranking import per_user, places_of

RESAMPLED = 200  # times that users are drawn anew, for intervals
SHOWN_USERS = 20
SHOWN = 10  # recommendations and events of them
OF_BASELINES = ("ndcg_10", "recall_20", "mrr")
SLICES = ((0, 0), (1, 4), (5, 19), (20, 10**9))  # events that are known of a user


def measure(
    split: Histories, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, float]:
    """Metrics of recommendations (size, 100, 2), see ``ranking.best``, against what came next.

    ``ndcg_10`` (Järvelin & Kekäläinen 2002) and ``recall_k`` divide by what can be reached with k;
    ``mrr`` looks at the first 100; ``coverage_10`` is the share of the catalogue that is
    recommended to anyone; ``novelty_10`` is the mean of -log2 of the share of training events of
    what is recommended; ``popularity_bias_10`` is how much more popular that is than what users
    had. Between ``…_low`` and ``…_high`` are 95 % of the means when users are drawn anew.
    """
    of_users = per_user(split.targets, outputs, preprocessing)
    measured = {name: float(values.mean()) for name, values in of_users.items()}
    top = outputs[:, :10, 0].astype(int)
    shares = (np.array(preprocessing.counts) + 0.5) / (sum(preprocessing.counts) + 1)
    shown = top[top >= 0]
    measured["coverage_10"] = float(len(np.unique(shown)) / len(preprocessing.items))
    measured["novelty_10"] = float(-np.log2(shares[shown]).mean()) if len(shown) else 0.0
    usual = float((shares * shares).sum() / shares.sum())
    measured["popularity_bias_10"] = float(shares[shown].mean() / usual) if len(shown) else 0.0
    random = np.random.default_rng(0)
    values = of_users["ndcg_10"]
    means = [
        values[random.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLED)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return measured | {"ndcg_10_low": float(low), "ndcg_10_high": float(high)}


def baseline_row(
    name: str, split: Histories, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """A baseline's name and test metrics."""
    metrics = per_user(split.targets, outputs, preprocessing)
    return {"name": name, "metrics": {f"test/{n}": float(metrics[n].mean()) for n in OF_BASELINES}}


def draw(
    folder: Path, name: str, split: Histories, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write ``NAME_*.png`` and ``NAME_*.csv`` about a split to the folder."""
    of_users = per_user(split.targets, outputs, preprocessing)
    known = split.knowns - split.begins
    header = ["id", "known_events", *of_users]
    columns = [[f"{value:.6f}" for value in values] for values in of_users.values()]
    write_csv(folder / f"{name}_users.csv", header, zip(split.ids, known, *columns, strict=True))
    _write_examples(folder / f"{name}_examples.csv", split, outputs, preprocessing)
    slices = _slices(split, known, of_users, preprocessing)
    write_csv(folder / f"{name}_slices.csv", ["slice", "users", *OF_BASELINES], slices)
    _draw_slices(folder / f"{name}_slices.png", slices)
    _draw_popularity(folder / f"{name}_popularity.png", split, outputs, preprocessing)


def _slices(
    split: Histories,
    known: np.ndarray,
    of_users: dict[str, np.ndarray],
    preprocessing: Preprocessing,
) -> list[tuple[Any, ...]]:
    masks = {
        f"{low} to {high} known events" if high < 10**9 else f"{low} known events and more": (
            (known >= low) & (known <= high)
        )
        for low, high in SLICES
    }
    masks["users without training events"] = ~np.isin(split.ids, preprocessing.users)
    rows, places = places_of(split.targets, preprocessing)
    new = (places < 0) | (places >= preprocessing.trained)
    masks["what came next was new"] = np.isin(np.arange(len(split)), rows[new])
    return [
        (name, int(mask.sum()), *(round(float(of_users[m][mask].mean()), 6) for m in OF_BASELINES))
        for name, mask in masks.items()
        if mask.any()
    ]


def _write_examples(
    path: Path, split: Histories, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """What some users did, what they got, and what they did next, side by side."""
    rows = []
    for row in range(0, len(split), max(1, len(split) // SHOWN_USERS)):
        begin, known = split.begins[row], split.knowns[row]
        had = split.log.item_ids[split.log.items[max(begin, known - SHOWN) : known]]
        places = outputs[row, :SHOWN, 0].astype(int)
        got = [preprocessing.items[place] for place in places if place >= 0]
        after = split.targets[row][:SHOWN]
        shown = (" ".join(map(str, part)) for part in (had, got, after))
        rows.append((split.ids[row], *shown))
    write_csv(path, ["id", "last_events", "recommended", "next"], rows)


def _draw_slices(path: Path, slices: list[tuple[Any, ...]]) -> None:
    with figure(path, 7.2, 0.6 * len(slices) + 1.2) as axis:
        names = [f"{name} ({users})" for name, users, *_ in slices][::-1]
        bars = axis.barh(names, [row[2] for row in slices][::-1], color="#1d4ed8", height=0.55)
        axis.bar_label(bars, fmt="%.3f", padding=3)
        axis.set(xlabel=OF_BASELINES[0], title="By what is known (number of users)")
        axis.margins(x=0.15)


def _draw_popularity(
    path: Path, split: Histories, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Shares of ten parts of the catalogue, the most popular first, in what is recommended and in
    what came next."""
    order = np.argsort(-np.array(preprocessing.counts), kind="stable")
    part_of = np.empty(len(order), dtype=int)
    part_of[order] = np.arange(len(order)) * 10 // len(order)
    top = outputs[:, :10, 0].astype(int)
    place = places_of(split.targets, preprocessing)[1]
    with figure(path, 6.4, 3.8) as axis:
        for number, (label, found, color) in enumerate(
            (
                ("recommended, first ten", top[top >= 0], "#1d4ed8"),
                ("what came next", place[place >= 0], "#7a8ba3"),
            )
        ):
            shares = np.bincount(part_of[found], minlength=10) / max(len(found), 1)
            axis.bar(np.arange(10) + 0.4 * number - 0.2, shares, 0.4, label=label, color=color)
        ticks = [f"{10 * i} to {10 * i + 10} %" for i in range(10)]
        axis.set_xticks(range(10), ticks, rotation=45, ha="right")
        axis.set(xlabel="items, the most popular first", ylabel="share", title="Popularity")
        axis.legend(frameon=False)
