"""Metrics and figures of recommendations, ranked over the whole catalogue."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .config import Config
from .data import Histories, as_histories
from .datasets.events import read_features
from .engine.bootstrap import estimate
from .engine.columns import align_columns
from .engine.errors import UsageProblem
from .engine.figures import figure
from .engine.interfaces import Split
from .engine.tables import write_csv
from .engine.weighted_metrics import WeightedMetric
from .preprocessing import Preprocessing
from .ranking import recall_curve, target_indices, user_metrics

SHOWN_USERS = 20
SHOWN_ITEMS = 10  # recommendations and interactions of each of them
BASELINE_METRICS = ("ndcg_at_10", "recall_at_20", "mrr")


def measure(split: Split, outputs: np.ndarray, preprocessing: Preprocessing) -> dict[str, float]:
    """Measure recommendations against the targets.

    ``ndcg_at_10`` (Järvelin & Kekäläinen 2002) and ``recall_at_k`` are normalised by the best that
    k recommendations can reach; ``mrr`` looks at the first 100. ``coverage_at_10`` is the share of
    the catalogue that is recommended to anyone; ``novelty_at_10`` the mean of -log2 of the share of
    training interactions of recommended items; ``popularity_bias_at_10`` the mean share of
    recommended items over that of interactions. ``ndcg_at_10_low`` and ``ndcg_at_10_high`` bound a
    95 % bootstrap interval over users.

    Args:
        outputs: (size, 100, 2) recommendations, see ``ranking.top_k``.
    """
    per_user = user_metrics(split.targets, outputs, preprocessing)
    metrics = {name: float(values.mean()) for name, values in per_user.items()}
    top = outputs[:, :10, 0].astype(int)
    counts = preprocessing.item_counts
    shares = (np.array(counts) + 0.5) / (sum(counts) + 1)
    shown = top[top >= 0]
    metrics["coverage_at_10"] = float(len(np.unique(shown)) / len(preprocessing.items))
    metrics["novelty_at_10"] = float(-np.log2(shares[shown]).mean()) if len(shown) else 0.0
    expected = float((shares * shares).sum() / shares.sum())  # share of a random interaction's item
    metrics["popularity_bias_at_10"] = float(shares[shown].mean() / expected) if len(shown) else 0.0
    interval = estimate(WeightedMetric.mean(per_user["ndcg_at_10"]), len(split.targets))
    if np.isfinite(interval.low):  # not of a single user
        metrics |= {"ndcg_at_10_low": interval.low, "ndcg_at_10_high": interval.high}
    return metrics


def weighted_metrics(
    split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, WeightedMetric]:
    """Return the metrics of ``ranking.user_metrics`` for weighted users.

    Args:
        split: users with targets.
        outputs: (size, 100, 2) recommendations, see ``ranking.top_k``.
        preprocessing: knows the catalogue.
    """
    per_user = user_metrics(split.targets, outputs, preprocessing)
    return {name: WeightedMetric.mean(values) for name, values in per_user.items()}


def baseline_row(
    name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Measure a baseline on the test split.

    Args:
        name: of the baseline.
        outputs: (size, 100, 2) recommendations, see ``ranking.top_k``.

    Returns:
        ``name``, ``metrics`` with the prefix ``test/``, and ``outputs``.
    """
    per_user = user_metrics(split.targets, outputs, preprocessing)
    metrics = {f"test/{metric}": float(per_user[metric].mean()) for metric in BASELINE_METRICS}
    return {"name": name, "metrics": metrics, "outputs": outputs}


def slices(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return what a split of users is sliced by.

    Args:
        split: users with targets.
        preprocessing: knows the catalogue and the users of the training split.

    Returns:
        Columns (size,): length of the history, mean popularity of the targets as its rank among the
        items (0: the least popular, 1: the most), and whether user or targets are new.
    """
    histories = as_histories(split)
    length = histories.target_starts - histories.history_starts
    counts = np.array(preprocessing.item_counts)
    rank = np.empty(len(counts))
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts)) / max(len(counts) - 1, 1)
    rows, indices = target_indices(split.targets, preprocessing)
    inside = indices >= 0
    number = np.bincount(rows[inside], minlength=len(length))
    total = np.bincount(rows[inside], rank[indices[inside]], minlength=len(length))
    cold = ~inside | (indices >= preprocessing.num_warm_items)
    has_cold = np.isin(np.arange(len(length)), rows[cold])
    columns = {
        "history length": length.astype("float64"),
        "popularity of targets": np.where(number > 0, total / np.maximum(number, 1), np.nan),
    }
    flags = {"user": ~np.isin(split.ids, preprocessing.users), "targets": has_cold}
    for name, is_new in flags.items():
        if is_new.any():
            columns[name] = np.where(is_new, "new", "known")
    return columns


def read_columns(split: Split, names: Sequence[str], config: Config) -> dict[str, np.ndarray]:
    """Read features of users for a split.

    Args:
        split: users.
        names: columns of the file ``data.user_features``.
        config: says where it is.

    Raises:
        UsageProblem: there is no such file or column.
    """
    file = config.data.user_features
    if file is None:
        raise UsageProblem(
            f"data.slice_columns: {names[0]!r}: users have no columns without data.user_features."
        )
    ids, columns = read_features(file, config.data.user_column, "user_features")
    rows = (
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    )
    return align_columns(zip(map(str, ids), rows, strict=True), split.ids, names)


def draw(
    folder: Path, name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write ``NAME_*.svg`` and ``NAME_*.csv`` about a split.

    Args:
        folder: where to write.
        name: of the split.
        outputs: (size, 100, 2) recommendations, see ``ranking.top_k``.
    """
    histories = as_histories(split)
    per_user = user_metrics(split.targets, outputs, preprocessing)
    length = histories.target_starts - histories.history_starts
    header = ["id", "history_length", *per_user]
    columns = [[f"{value:.6f}" for value in values] for values in per_user.values()]
    write_csv(folder / f"{name}_users.csv", header, zip(split.ids, length, *columns, strict=True))
    _write_examples(folder / f"{name}_examples.csv", histories, outputs, preprocessing)
    _draw_cutoffs(folder / f"{name}_cutoffs.svg", split, outputs, preprocessing)
    _draw_popularity(folder / f"{name}_popularity.svg", split, outputs, preprocessing)


def _write_examples(
    path: Path, split: Histories, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write the history, the recommendations and the targets of some users side by side."""
    log, examples = split.interactions, []
    for row in range(0, len(split), max(1, len(split) // SHOWN_USERS)):
        start, end = split.history_starts[row], split.target_starts[row]
        history = log.item_ids[log.items[max(start, end - SHOWN_ITEMS) : end]]
        indices = outputs[row, :SHOWN_ITEMS, 0].astype(int)
        recommended = [preprocessing.items[index] for index in indices if index >= 0]
        targets = split.targets[row][:SHOWN_ITEMS]
        texts = (" ".join(map(str, part)) for part in (history, recommended, targets))
        examples.append((split.ids[row], *texts))
    write_csv(path, ["id", "history", "recommended", "targets"], examples)


def _draw_cutoffs(
    path: Path, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Draw recall and coverage of the catalogue against the number of recommendations."""
    recall = recall_curve(split.targets, outputs, preprocessing)
    top = outputs[:, :, 0].astype(int)
    cutoffs = np.arange(1, top.shape[1] + 1)
    first: dict[int, int] = {}  # item -> the fewest recommendations with which anyone gets it
    for k in cutoffs[::-1]:
        first |= dict.fromkeys(top[:, k - 1][top[:, k - 1] >= 0].tolist(), int(k))
    counts = np.bincount(list(first.values()), minlength=len(cutoffs) + 1)[1:]
    text = "How many of the targets are among the first k, and how much of the catalogue is shown."
    with figure(path, 9.2, 3.8, description=text, ncols=2) as (recall_axis, coverage_axis):
        recall_axis.plot(cutoffs, recall, color="#1d4ed8")
        recall_axis.set(xlabel="k", ylabel="recall at k", title="Recall", ylim=(0, None))
        coverage = counts.cumsum() / len(preprocessing.items)
        coverage_axis.plot(cutoffs, coverage, color="#1d4ed8")
        coverage_axis.set(xlabel="k", ylabel="share of the catalogue", title="Coverage")
        coverage_axis.set_ylim(0, 1)


def _draw_popularity(
    path: Path, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Draw the shares of ten popularity deciles of the catalogue in recommendations and targets."""
    order = np.argsort(-np.array(preprocessing.item_counts), kind="stable")
    decile = np.empty(len(order), dtype=int)
    decile[order] = np.arange(len(order)) * 10 // len(order)
    top = outputs[:, :10, 0].astype(int)
    indices = target_indices(split.targets, preprocessing)[1]
    text = (
        "Shares of recommendations and of targets that fall to each tenth of the catalogue, from "
        "the most to the least popular."
    )
    with figure(path, 6.4, 3.8, description=text) as axis:
        for number, (label, items, color) in enumerate(
            (
                ("recommended, first ten", top[top >= 0], "#1d4ed8"),
                ("targets", indices[indices >= 0], "#7a8ba3"),
            )
        ):
            shares = np.bincount(decile[items], minlength=10) / max(len(items), 1)
            axis.bar(np.arange(10) + 0.4 * number - 0.2, shares, 0.4, label=label, color=color)
        ticks = [f"{10 * i} to {10 * i + 10} %" for i in range(10)]
        axis.set_xticks(range(10), ticks, rotation=45, ha="right")
        axis.set(xlabel="items, the most popular first", ylabel="share", title="Popularity")
        axis.legend(frameon=False)
