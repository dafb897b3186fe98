"""Classes by name, as the source gives them, and by number, as models count them.

An example has one class. Or it has any number of them: then its target is their names with a
separator between them, and an empty one stands for none.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..engine.errors import DataProblem
from ..engine.interfaces import Preprocessing

FEWEST = 3  # examples of a class, for one in each split


def parted(target: str, separator: str) -> list[str]:
    """Names of a target's classes; without a separator the target is the name."""
    if not separator:
        return [target]
    return [name for name in map(str.strip, target.split(separator)) if name]


def class_names(targets: np.ndarray, separator: str = "") -> tuple[str, ...]:
    """All classes of targets (size,), sorted."""
    return tuple(sorted({n for target in set(targets) for n in parted(str(target), separator)}))


def encoded(targets: np.ndarray, classes: tuple[str, ...], separator: str = "") -> np.ndarray:
    """Targets (size,) -> indices (size,) int32; with a separator (size, classes) float32, 1 for
    each class that an example has.

    Raises:
        DataProblem: a name is not among the classes.
    """
    index = {name: i for i, name in enumerate(classes)}
    rows = [parted(str(target), separator) for target in targets]
    unknown = sorted({name for row in rows for name in row} - set(index))
    if unknown:
        known = ", ".join(classes[:10])
        raise DataProblem(f"label: {unknown[0]!r} is not among the classes: {known}.")
    if not separator:
        return np.array([index[name] for (name,) in rows], dtype="int32")
    chosen = np.zeros((len(rows), len(classes)), dtype="float32")
    for place, row in enumerate(rows):
        chosen[place, [index[name] for name in row]] = 1
    return chosen


def strata(targets: np.ndarray, separator: str) -> np.ndarray:
    """Of each target (size,) the class that is rarest in all; splits are divided by it.

    Classes that are the rarest of few examples only go with the largest: they are rarest beside
    others that are divided evenly.
    """
    if not separator:
        return targets
    rows = [parted(str(target), separator) for target in targets]
    counts = Counter(name for row in rows for name in row)
    rarest = [min(row, key=lambda name: (counts[name], name), default="") for row in rows]
    sizes = Counter(rarest)
    largest = max(sizes, key=lambda name: (sizes[name], name))
    few = {name for name in rarest if sizes[name] < FEWEST <= counts.get(name, FEWEST)}
    return np.array([largest if name in few else name for name in rarest], dtype=object)


@dataclass(frozen=True)
class Judged:
    """What a classifier says of examples, beside the truth; each (size,).

    Attributes:
        labels: true classes, as the source gives them.
        predictions: the same of what it says.
        right: whether they are the same.
        confidence: probability of what it says; of several yeses and noes that of the least sure.
    """

    labels: list[str]
    predictions: list[str]
    right: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, scores: np.ndarray, preprocessing: Preprocessing) -> "Judged":
        """From probabilities (size, classes) and targets as ``encoded`` gives them."""
        predicted = chosen(scores, preprocessing.separator)
        if preprocessing.separator:
            right = np.all(predicted == truth, axis=-1)
            confidence = np.maximum(scores, 1 - scores).min(axis=-1)
        else:
            right, confidence = predicted == truth, scores.max(axis=-1)
        return cls(named(truth, preprocessing), named(predicted, preprocessing), right, confidence)


def chosen(scores: np.ndarray, separator: str) -> np.ndarray:
    """Probabilities (size, classes) -> what is likeliest, as ``encoded`` gives it."""
    if separator:
        return (scores >= 0.5).astype("float32")
    return scores.argmax(axis=-1)


def named(numbers: np.ndarray, preprocessing: Preprocessing) -> list[str]:
    """The inverse of ``encoded``."""
    classes, separator = preprocessing.classes, preprocessing.separator
    if not separator:
        return [classes[number] for number in numbers]
    return [separator.join(classes[i] for i in np.flatnonzero(row)) for row in numbers]
