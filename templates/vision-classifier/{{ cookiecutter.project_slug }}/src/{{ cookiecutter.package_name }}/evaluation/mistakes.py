"""A figure of the most confident mistakes."""

from pathlib import Path

import numpy as np

from ..datasets.labels import Predictions
from ..engine.figures import figure
from ..engine.interfaces import Split
from ..preprocessing import Preprocessing

COLUMNS, ROWS = 5, 4


def draw_mistakes(
    folder: Path,
    name: str,
    split: Split,
    predictions: Predictions,
    preprocessing: Preprocessing,
) -> None:
    """Draw up to 20 mistakes to ``NAME_mistakes.png``, the most confident first.

    With fewer mistakes, the least confident correct predictions follow.

    Args:
        folder: the run's report.
        name: of the split.
        split: its images.
        predictions: the model's predictions for them.
        preprocessing: decodes and resizes the images.
    """
    wrong, confidence = ~predictions.correct, predictions.confidence
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[: COLUMNS * ROWS]
    images = np.asarray(preprocessing(split.fetch(order)))
    rows = -(-len(order) // COLUMNS)
    grid = {"nrows": rows, "ncols": COLUMNS, "squeeze": False}
    text = "Images with what the model said, its confidence and the true class; mistakes are first."
    with figure(
        folder / f"{name}_mistakes.png", 1.9 * COLUMNS, 2.2 * rows, description=text, **grid
    ) as axes:
        for axis in axes.flat:
            axis.set_axis_off()
        axes.flat[0].figure.suptitle(
            f"{wrong.sum()} mistakes of {len(wrong)}, the most confident first; then unsure answers"
        )
        for axis, i, image in zip(axes.flat, order, images, strict=False):
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            title = f"{predictions.predictions[i][:18]} ({confidence[i]:.2f})"
            title += f"\ntrue: {predictions.labels[i][:18]}" if wrong[i] else ""
            axis.set_title(title, fontsize=9, color="#b91c1c" if wrong[i] else "#15803d")
