"""Figures as files, in one style: SVG, or PNG where the suffix says so.

A figure carries its description, which the report reads aloud to those who cannot see it.
Matplotlib is imported with the first figure: a service loads this module and draws none.
"""

import html
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from .files import atomic_write

log = logging.getLogger(__name__)

# Fonts that have what the first one lacks, such as Chinese; those that are installed are used.
FONTS = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC"),
    *(
        "WenQuanYi Zen Hei",
        "WenQuanYi Micro Hei",
        "PingFang SC",
        "Hiragino Sans",
        "Microsoft YaHei",
    ),
    *(
        "Yu Gothic",
        "Malgun Gothic",
        "Apple SD Gothic Neo",
        "Noto Sans Thai",
        "Noto Sans Devanagari",
    ),
    *("Arial Unicode MS", "Unifont"),
)
COLORS = {"train": "#7a8ba3", "validation": "#c2410c"}


@contextmanager
def figure(
    path: Path, width: float = 6.4, height: float = 4.8, *, description: str = "", **grid: Any
) -> Iterator[Any]:
    """Yield the axes of a figure (one, or an array of them); the file is written at the end.

    Args:
        path: ``.svg``, or ``.png`` where there are images or thousands of points.
        width: in inches.
        height: in inches.
        description: what the figure shows and how to read it, kept in the file.
        grid: further arguments of ``matplotlib.pyplot.subplots``.
    """
    import matplotlib

    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

    style: dict[str, Any] = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}
    style["text.parse_math"] = False  # a class may be called $1
    style["font.family"] = _fonts()
    style |= {"svg.fonttype": "none", "svg.hashsalt": "figure"}  # text as text; the same each time
    metadata = {"Title": path.stem, "Description": description}
    if path.suffix == ".svg":
        metadata["Date"] = None  # type: ignore[assignment]
    with plt.rc_context(style):  # type: ignore[arg-type]
        drawing, axes = plt.subplots(figsize=(width, height), layout="constrained", **grid)
        try:
            yield axes
            with atomic_write(path) as beside, warnings.catch_warnings(record=True) as caught:
                drawing.savefig(beside, dpi=150, metadata=metadata)
            if any("missing from font" in str(warning.message) for warning in caught):
                _warn_of_fonts()
        finally:
            plt.close(drawing)


def read_description(path: Path) -> str:
    """Return the description that ``figure`` put into a file; '' if there is none."""
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return str(image.info.get("Description", ""))
    match = re.search(r"<dc:description>(.*?)</dc:description>", path.read_text("utf-8"), re.DOTALL)
    return html.unescape(match[1]).strip() if match else ""


@cache
def _fonts() -> list[str]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in FONTS if name in installed]


@cache
def _warn_of_fonts() -> None:
    """Warn once that the installed fonts lack glyphs."""
    log.warning(
        "Some characters of the figures have no glyph in the installed fonts; install e.g. Noto "
        "Sans CJK. The tables are complete."
    )


def draw_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw each metric over the epochs, training beside validation.

    Args:
        lines: those of ``metrics.jsonl``; the last one of each epoch is drawn.
    """
    epochs = {line["epoch"]: line["metrics"] for line in lines}
    if not epochs:
        return
    every = {name for metrics in epochs.values() for name in metrics}
    kinds = sorted({name.split("/")[1] for name in every}, key=lambda kind: (kind != "loss", kind))
    text = "Loss and metrics after each epoch, of the training and of the validation split."
    size = {"ncols": len(kinds), "squeeze": False}
    with figure(path, 4.2 * len(kinds), 3.4, description=text, **size) as axes:
        for axis, kind in zip(axes[0], kinds, strict=True):
            for split, color in COLORS.items():
                name = f"{split}/{kind}"
                points = [(e, metrics[name]) for e, metrics in epochs.items() if name in metrics]
                if points:
                    axis.plot(*zip(*points, strict=True), color=color, label=split, marker=".")
            axis.set(title=kind.replace("_", " "), xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend(frameon=False)
