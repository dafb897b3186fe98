"""Where an image speaks for a class: Grad-CAM, or integrated gradients of a network without
convolutions.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ..engine.artifact import Artifact
from ..engine.explanations import (
    Heatmap,
    class_weights,
    find_feature_map,
    get_probe,
    grad_cam,
    integrate_gradients,
    scale_to_one,
)
from ..engine.interfaces import Split
from ..objective import select_explained

GRAD_CAM = "Grad-CAM: places of the last feature map that speak for the class"
PIXELS = "integrated gradients: pixels that speak for the class, compared with a plain image"


def explain(
    model: Artifact, split: Split, positions: np.ndarray, names: Sequence[str] | None = None
) -> list[Heatmap]:
    """Explain predictions for images.

    Args:
        model: the trained model.
        split: its images.
        positions: (batch,) of the images to explain.
        names: (batch,) of classes; None: the likeliest ones.
    """
    preprocessing = model.preprocessing
    pixels = preprocessing.prepare(tf.convert_to_tensor(split.fetch(positions)))
    inputs = np.asarray(preprocessing.finish(pixels))
    classes, scores = select_explained(model.outputs(inputs), names, preprocessing)
    weights = class_weights(classes, len(preprocessing.classes), exclusive=True)
    layer = find_feature_map(model.network)
    if layer is None:
        method = PIXELS
        grids, errors = _attribute_pixels(model, inputs, weights)
    else:
        method, errors = GRAD_CAM, np.zeros(len(inputs))
        grids = grad_cam(get_probe(model, layer), inputs, weights)
    parts = (classes, scores, grids, np.asarray(pixels), errors)
    return [
        Heatmap(
            target=preprocessing.classes[index],
            score=float(score),
            method=method,
            error=float(error),
            grid=grid,
            pixels=image,
        )
        for index, score, grid, image, error in zip(*parts, strict=True)
    ]


def _attribute_pixels(
    model: Artifact, inputs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return heatmaps (batch, height, width) of pixels, and by how much they are rough (batch,)."""
    # An image without anything on it: the mean of each channel over the training split.
    plain = np.array(model.preprocessing.mean, "float32")
    found = integrate_gradients(get_probe(model), inputs, plain, inputs, weights)
    return scale_to_one(found.values.sum(axis=-1)), found.error
