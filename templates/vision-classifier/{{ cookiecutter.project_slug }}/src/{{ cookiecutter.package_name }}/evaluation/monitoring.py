"""What of images is watched once the model is in use, in requests as in the training data."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..config import Config
from ..data import ImageSplit
from ..datasets.images import find_images, scan
from ..engine.errors import DataProblem
from ..engine.interfaces import Requests, Split
from ..engine.tables import iterate_parts
from ..inputs import make_file_split
from ..preprocessing import Preprocessing, read_inputs

AT_ONCE = 256  # images in memory


def describe_inputs(split: Split, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Return columns (size,) that describe images.

    Args:
        split: its images.
        preprocessing: decodes and resizes them.

    Returns:
        Of the pixels in [0, 1]: mean, standard deviation, mean difference of neighbours, and
        difference of the channels. Height and width of the files, where known.
    """
    parts = [_describe(inputs) for inputs in _read(split, preprocessing)]
    rows = np.concatenate([np.zeros((0, 4)), *parts])
    columns = dict(zip(("brightness", "contrast", "sharpness", "colour"), rows.T, strict=True))
    if preprocessing.channels == 1:
        del columns["colour"]
    if isinstance(split, ImageSplit) and split.shapes is not None:
        height, width = split.shapes.astype("float64").T[:2]
        columns |= {"file height": height, "file width": width}
    return columns


def read_file(path: Path, preprocessing: Preprocessing, config: Config) -> Iterator[Requests]:
    """Yield the images of a folder, or one image, in parts.

    Args:
        path: the folder or image.
        preprocessing: part of the engine's interface.
        config: part of the engine's interface.

    Raises:
        DataProblem: there are no images.
    """
    paths = [str(file) for file in find_images(path)] if path.is_dir() else [str(path)]
    if not paths:
        raise DataProblem(f"FILE: there are no images in {str(path)!r}.")
    for part in iterate_parts(zip(paths, scan(paths), strict=True), AT_ONCE):
        problems = {place: found.error for place, (_, found) in enumerate(part) if found.error}
        right = [(file, found) for file, found in part if not found.error]
        shapes = np.array([(s.height, s.width, s.channels) for _, s in right]).reshape(-1, 3)
        yield Requests(make_file_split([file for file, _ in right], shapes), problems)


def _read(split: Split, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    if not split.in_memory:
        yield from read_inputs(split, np.arange(len(split)), preprocessing)
        return
    for raw in split.batches(AT_ONCE):
        yield np.asarray(preprocessing(raw))


def _describe(inputs: np.ndarray) -> np.ndarray:
    """Return numbers (batch, 4) of images (batch, height, width, channels) in [0, 1]."""
    pixels = inputs.reshape(len(inputs), -1)
    grey = inputs.mean(axis=-1)
    steps = [np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2)]
    colour = (inputs.max(axis=-1) - inputs.min(axis=-1)).mean(axis=(1, 2))
    columns = (pixels.mean(axis=1), pixels.std(axis=1), np.mean(steps, axis=0), colour)
    return np.stack(columns, axis=1).astype("float64")
