"""A figure of the images that the model is surest of, wrongly."""

from pathlib import Path

import numpy as np

from ..datasets.labels import Judged
from ..engine.figures import figure
from ..engine.interfaces import Split
from ..preprocessing import Preprocessing

COLUMNS, ROWS = 5, 4


def draw_mistakes(
    folder: Path,
    name: str,
    split: Split,
    judged: Judged,
    preprocessing: Preprocessing,
) -> None:
    """Draw up to 20 mistakes to ``NAME_mistakes.png``, the most confident first; with fewer, the
    least sure answers too."""
    wrong, confidence = ~judged.right, judged.confidence
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[: COLUMNS * ROWS]
    images = np.asarray(preprocessing(split.fetch(order)))
    rows = -(-len(order) // COLUMNS)
    grid = {"nrows": rows, "ncols": COLUMNS, "squeeze": False}
    with figure(folder / f"{name}_mistakes.png", 1.9 * COLUMNS, 2.2 * rows, **grid) as axes:
        for axis in axes.flat:
            axis.set_axis_off()
        axes.flat[0].figure.suptitle(
            f"{wrong.sum()} mistakes of {len(wrong)}, the most confident first; then the least sure"
        )
        for axis, place, image in zip(axes.flat, order, images, strict=False):
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            said, true = judged.predictions[place][:18], judged.labels[place][:18]
            text = f"{said} ({confidence[place]:.2f})" + (f"\ntrue: {true}" if wrong[place] else "")
            axis.set_title(text, fontsize=9, color="#b91c1c" if wrong[place] else "#15803d")
