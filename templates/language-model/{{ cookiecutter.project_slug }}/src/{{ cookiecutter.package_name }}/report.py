"""Evaluation of a language model: metrics, tables and figures, and what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from .engine.figures import figure
from .engine.tables import write_csv
from .engine.weighted_metrics import WeightedMetric
from .evaluation.positions import draw_positions
from .evaluation.scores import RowScores, score_margins, score_rows, shorten

if TYPE_CHECKING:
    from .config import Config
    from .datasets.store import TokenSplit
    from .engine.artifact import Artifact
    from .engine.interfaces import DatasetSplits, Split
    from .engine.runs import Summary
    from .preprocessing import Preprocessing

LOWER_IS_BETTER = ("bits_per_byte", "perplexity")
MAX_MISTAKES = 100  # rows of the table
MIN_BYTES = 16  # of a row in that table: of hardly any text, bits per byte say nothing


def measure(split: Split, outputs: np.ndarray, preprocessing: Preprocessing) -> dict[str, float]:
    """Return metrics of a split, the most important first.

    ``bits_per_byte`` compares models whatever their tokens are: how many bits a byte of the text
    would take if the model compressed it. ``perplexity`` and ``accuracy`` are per token, and can be
    compared between models with the same tokens alone.

    Args:
        split: rows of texts, chats or pairs.
        outputs: of ``model.infer``: (size, time, 2), or of pairs (size, 2).
        preprocessing: knows whether rows are pairs.

    Returns:
        ``bits_per_byte``, ``perplexity`` and ``accuracy``; of pairs ``preference_accuracy``, the
        share whose chosen answer has gained on the other, and ``margin``, by how much in nats.
    """
    metrics = weighted_metrics(split, outputs, preprocessing)
    every = np.ones((1, len(split)))
    return {name: float(metric.compute(every)[0]) for name, metric in metrics.items()}


def weighted_metrics(
    split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> dict[str, WeightedMetric]:
    """Return the metrics of weighted rows.

    Args:
        split: rows of texts, chats or pairs.
        outputs: of ``model.infer``: (size, time, 2), or of pairs (size, 2).
        preprocessing: knows whether rows are pairs.
    """
    split = cast("TokenSplit", split)
    if preprocessing.kind == "pairs":
        margins = score_margins(split, outputs)
        right = np.where(margins == 0, 0.5, margins > 0)  # without training nothing is preferred
        return {
            "preference_accuracy": WeightedMetric.mean(right),
            "margin": WeightedMetric.mean(margins),
        }
    scores = score_rows(split, outputs)
    bits_per_token = _ratio(scores.bits, scores.tokens)

    def perplexity(weights: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.exp2(bits_per_token(weights))

    return {
        "bits_per_byte": WeightedMetric(_ratio(scores.bits, scores.bytes), lower_is_better=True),
        "perplexity": WeightedMetric(perplexity, lower_is_better=True),
        "accuracy": WeightedMetric(_ratio(scores.hits, scores.tokens)),
    }


class _ratio:  # noqa: N801 - used as a function
    """A ratio of sums over rows, as a function of the weights of the rows (draws, size)."""

    def __init__(self, above: np.ndarray, below: np.ndarray) -> None:
        self.above, self.below = above, below

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ self.above) / (weights @ self.below)


def draw(
    folder: Path, name: str, split: Split, outputs: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Write the figures and tables of a split, ``NAME_*.svg`` and ``NAME_*.csv``.

    Args:
        folder: the run's report.
        name: of the split.
        split: rows of texts, chats or pairs.
        outputs: of ``model.infer``: (size, time, 2), or of pairs (size, 2).
        preprocessing: knows whether rows are pairs.
    """
    split = cast("TokenSplit", split)
    if preprocessing.kind == "pairs":
        margins = score_margins(split, outputs)
        _draw_margins(folder / f"{name}_margins.svg", margins)
        _write_pairs(folder / f"{name}_mistakes.csv", split, margins)
        return
    draw_positions(folder, name, split, outputs)
    scores = score_rows(split, outputs)
    _draw_rows(folder / f"{name}_rows.svg", scores)
    _write_surprising(folder / f"{name}_mistakes.csv", split, scores)


def write(
    folder: Path, model: Artifact, data: DatasetSplits, summary: Summary, config: Config
) -> None:
    """Write what the model writes for held-out prompts; see ``evaluation/samples.py``.

    ``samples.json``, ``samples.md`` and ``test_examples.csv`` have the texts. Of chats, how near
    the answers are to the reference answers is among the metrics of the summary.

    Args:
        folder: the run's report.
        model: the trained model.
        data: its splits.
        summary: of the run, to which metrics of the answers are added.
        config: of the run.
    """
    from .evaluation.samples import write_samples

    train, test = (cast("TokenSplit", split) for split in (data.train, data.test))
    metrics = write_samples(folder, model, train, test)
    answers = {f"test/{name}": metrics[name] for name in ("exact_match", "chrf") if name in metrics}
    summary["metrics"] = {**summary["metrics"], **answers}


def _write_surprising(path: Path, split: TokenSplit, scores: RowScores) -> None:
    """Write the rows that the model expected least."""
    ratio = np.where(scores.bytes >= MIN_BYTES, scores.bits_per_byte, -np.inf)
    order = np.argsort(-ratio, kind="stable")[:MAX_MISTAKES]
    order = order[np.isfinite(ratio[order])]
    texts = split.read_texts(order) if len(order) else []
    rows = (
        (split.ids[i], f"{ratio[i]:.4f}", int(scores.tokens[i]), shorten(text))
        for i, text in zip(order, texts, strict=True)
    )
    write_csv(path, ["id", "bits_per_byte", "tokens", "text"], rows)


def _write_pairs(path: Path, split: TokenSplit, margins: np.ndarray) -> None:
    """Write the pairs whose rejected answer has gained on the chosen one, the worst first."""
    order = np.argsort(margins, kind="stable")[:MAX_MISTAKES]
    order = order[margins[order] < 0]
    texts = split.read_texts(order) if len(order) else []
    rows = (
        (split.ids[i], f"{margins[i]:.4f}", shorten(text))
        for i, text in zip(order, texts, strict=True)
    )
    write_csv(path, ["id", "margin", "text"], rows)


def _draw_rows(path: Path, scores: RowScores) -> None:
    values = scores.bits_per_byte[scores.bytes >= MIN_BYTES]
    values = values[np.isfinite(values)]
    if not len(values):
        return
    text = (
        "How many rows of the split have how many bits per byte; to the right are those that the "
        "model expected least."
    )
    with figure(path, 6.4, 3.6, description=text) as axis:
        axis.hist(values, bins=min(40, max(5, len(values) // 4)), color="#1d4ed8", alpha=0.8)
        axis.set(
            xlabel="bits per byte", ylabel="rows", title="Rows by bits per byte", xlim=(0, None)
        )


def _draw_margins(path: Path, margins: np.ndarray) -> None:
    if not len(margins):
        return
    text = (
        "By how much the chosen answer of each pair has gained on the rejected one since the "
        "reference. To the left of 0 the model has learnt the opposite of what was preferred."
    )
    with figure(path, 6.4, 3.6, description=text) as axis:
        axis.hist(margins, bins=min(40, max(5, len(margins) // 4)), color="#1d4ed8", alpha=0.8)
        axis.axvline(0, color="#7a8ba3", linewidth=1)
        axis.set(xlabel="margin (nats)", ylabel="pairs", title="Margins of pairs")
