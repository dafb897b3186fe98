"""Columns that a split of images is sliced by."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import Config
from ..engine.columns import align_columns
from ..engine.data_path import require_path
from ..engine.errors import UsageProblem
from ..engine.interfaces import Split
from ..preprocessing import Preprocessing, read_inputs


def describe(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return brightness, contrast and, where they differ, the sizes of the images of a split.

    Args:
        split: its images.
        preprocessing: decodes and resizes them.

    Returns:
        Columns (size,) float64: mean and standard deviation of the pixels in [0, 1]; pixels.
    """
    parts = []
    for inputs in read_inputs(split, np.arange(len(split)), preprocessing):
        pixels = inputs.reshape(len(inputs), -1)
        parts.append(np.stack([pixels.mean(axis=1), pixels.std(axis=1)]))
    brightness, contrast = np.concatenate(parts, axis=1).astype("float64")
    columns = {"brightness": brightness, "contrast": contrast}
    shapes = getattr(split, "shapes", None)
    if shapes is not None and len(np.unique(shapes[:, :2], axis=0)) > 1:
        columns["pixels of the file"] = np.prod(shapes[:, :2], axis=1).astype("float64")
    return columns


def read_columns(split: Split, names: Sequence[str], config: Config) -> dict[str, np.ndarray]:
    """Read further columns of the manifest for the images of a split.

    Args:
        split: its images; their ids are the paths in the manifest.
        names: of the columns.
        config: says where the manifest is.

    Raises:
        UsageProblem: the source has no manifest, or the manifest no such column.
    """
    if config.data.source != "csv":
        raise UsageProblem(
            f"data.slice_columns: {names[0]!r}: only the source 'csv' has further columns, and not "
            f"{config.data.source!r}."
        )
    file, key = require_path(config.data, Path.is_file, "file"), config.data.path_column
    with file.open(newline="", encoding="utf-8-sig") as opened:
        records = ((row[key].strip(), row) for row in csv.DictReader(opened))
        return align_columns(records, split.ids, names)
