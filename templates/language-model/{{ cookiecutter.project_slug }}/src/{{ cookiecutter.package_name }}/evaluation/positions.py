"""Loss by position: what a model gains from the text that it has already seen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..engine.figures import figure
from ..engine.tables import write_csv
from .scores import score_tokens

if TYPE_CHECKING:
    from ..datasets.store import TokenSplit

MAX_BANDS = 24
MIN_TOKENS = 20  # of a band that is shown


def measure_positions(
    split: TokenSplit, outputs: np.ndarray
) -> list[tuple[int, int, int, float, float]]:
    """Return bands of positions with their loss.

    Args:
        split: rows of texts or chats.
        outputs: (size, time, 2) of ``model.infer``.

    Returns:
        First and last position of each band, from 1 on; its tokens; their mean bits; the mean's
        standard error. Bands grow with the position; those of few tokens are left out.
    """
    longest = outputs.shape[1] + 1
    counts, sums, squares = (np.zeros(longest) for _ in range(3))
    for part in score_tokens(split, outputs):
        counted = part.weights > 0
        places, bits = part.places[counted], part.bits[counted]
        counts += np.bincount(places, minlength=longest)[:longest]
        sums += np.bincount(places, bits, minlength=longest)[:longest]
        squares += np.bincount(places, bits**2, minlength=longest)[:longest]
    bands = []
    edges = np.unique(np.geomspace(1, longest, MAX_BANDS + 1).round().astype(int))
    for low, high in pairwise(edges):
        tokens, total, square = (float(a[low:high].sum()) for a in (counts, sums, squares))
        if tokens >= MIN_TOKENS:
            variance = max(square / tokens - (total / tokens) ** 2, 0.0)
            error = (variance / tokens) ** 0.5
            bands.append((int(low), int(high) - 1, int(tokens), total / tokens, error))
    return bands


def draw_positions(folder: Path, name: str, split: TokenSplit, outputs: np.ndarray) -> None:
    """Write ``NAME_positions.csv`` and ``NAME_positions.svg``.

    Args:
        folder: the run's report.
        name: of the split.
        split: rows of texts or chats.
        outputs: (size, time, 2) of ``model.infer``.
    """
    bands = measure_positions(split, outputs)
    header = ["first", "last", "tokens", "bits_per_token", "standard_error"]
    rows = ((*band[:3], f"{band[3]:.4f}", f"{band[4]:.4f}") for band in bands)
    write_csv(folder / f"{name}_positions.csv", header, rows)
    if len(bands) < 2:
        return
    middles = [(low * high) ** 0.5 for low, high, *_ in bands]
    means, errors = (np.array([band[i] for band in bands]) for i in (3, 4))
    text = (
        "Bits per token against how many tokens of its text the model has seen before it. A line "
        "that falls: the model makes use of what it has read. The band is two standard errors."
    )
    with figure(folder / f"{name}_positions.svg", 6.4, 4.0, description=text) as axis:
        axis.plot(middles, means, color="#1d4ed8", marker=".")
        axis.fill_between(
            middles, means - 2 * errors, means + 2 * errors, color="#1d4ed8", alpha=0.15
        )
        axis.set(
            xscale="log", xlabel="position in the text (tokens)", ylabel="bits per token", ylim=0
        )
        axis.set(title="Loss by position")
        # Plain numbers: figures show formulas as they are written.
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
