"""Class labels: from names, as the source gives them, to numbers, as models need them, and back.

A target is the name of one class or, with a separator (multi-label), any number of names with the
separator between them; an empty target has no class.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import DataProblem

if TYPE_CHECKING:
    from ..preprocessing import Preprocessing

MIN_EXAMPLES = 3  # of a class: one for each split


def split_labels(target: str, separator: str) -> list[str]:
    """Split a target into names of classes; without a separator, the target is the name."""
    if not separator:
        return [target]
    return [name for name in map(str.strip, target.split(separator)) if name]


def class_names(targets: np.ndarray, separator: str = "") -> tuple[str, ...]:
    """Return the sorted classes of targets (size,)."""
    names = (split_labels(str(target), separator) for target in set(targets))
    return tuple(sorted(set().union(*names)))


def encode_labels(targets: np.ndarray, classes: tuple[str, ...], separator: str = "") -> np.ndarray:
    """Encode names as class indices or, for several labels, as a binary indicator matrix.

    Args:
        targets: (size,) names.
        classes: names in the order of their indices.
        separator: between the names of a multi-label target; '' if each target is one name.

    Returns:
        Indices (size,) int32; with a separator, 0 or 1 for each class (size, classes) float32.

    Raises:
        DataProblem: a name is not among the classes.
    """
    index = {name: i for i, name in enumerate(classes)}
    rows = [split_labels(str(target), separator) for target in targets]
    unknown = sorted({name for row in rows for name in row} - set(index))
    if unknown:
        known = ", ".join(classes[:10])
        raise DataProblem(f"label: {unknown[0]!r} is not among the classes: {known}.")
    if not separator:
        return np.array([index[name] for (name,) in rows], dtype="int32")
    indicators = np.zeros((len(rows), len(classes)), dtype="float32")
    for position, row in enumerate(rows):
        indicators[position, [index[name] for name in row]] = 1
    return indicators


def strata(targets: np.ndarray, separator: str) -> np.ndarray:
    """Return each target's rarest class (size,), by which splits are stratified.

    A stratum too small for every split joins the largest one, unless its class as a whole is that
    small: such a class is refused later, by name.
    """
    if not separator:
        return targets
    rows = [split_labels(str(target), separator) for target in targets]
    counts = Counter(name for row in rows for name in row)
    rarest = [min(row, key=lambda name: (counts[name], name), default="") for row in rows]
    sizes = Counter(rarest)
    largest = max(sizes, key=lambda name: (sizes[name], name))
    small = {n for n in sizes if sizes[n] < MIN_EXAMPLES <= counts.get(n, MIN_EXAMPLES)}
    return np.array([largest if name in small else name for name in rarest], dtype=object)


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions beside the true labels; each field (size,).

    Attributes:
        labels: names of the true classes.
        predictions: names of the predicted classes.
        correct: whether both are the same.
        confidence: probability of the prediction; for several labels, of the least certain one.
    """

    labels: list[str]
    predictions: list[str]
    correct: np.ndarray
    confidence: np.ndarray

    @classmethod
    def from_scores(
        cls, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing
    ) -> Predictions:
        """Compare probabilities (size, classes) with targets as ``encode_labels`` returns them."""
        predicted = predict_classes(scores, preprocessing.separator)
        if preprocessing.separator:
            correct = np.all(predicted == truth, axis=-1)
            confidence = np.maximum(scores, 1 - scores).min(axis=-1)
        else:
            correct, confidence = predicted == truth, scores.max(axis=-1)
        labels, predictions = (decode_labels(n, preprocessing) for n in (truth, predicted))
        return cls(labels, predictions, correct, confidence)


def predict_classes(scores: np.ndarray, separator: str) -> np.ndarray:
    """Return the likeliest classes of probabilities (size, classes), as ``encode_labels`` does."""
    if separator:
        return (scores >= 0.5).astype("float32")
    return scores.argmax(axis=-1)


def decode_labels(numbers: np.ndarray, preprocessing: Preprocessing) -> list[str]:
    """Decode class indices (size,) or indicators (size, classes) to names (size,)."""
    classes, separator = preprocessing.classes, preprocessing.separator
    if not separator:
        return [classes[number] for number in numbers]
    return [separator.join(classes[i] for i in np.flatnonzero(row)) for row in numbers]
