"""Classes by name, as the source gives them, and by number, as models count them."""

import numpy as np

from .errors import DataProblem


def encoded(targets: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Names (size,) -> indices (size,) int32.

    Raises:
        DataProblem: a name is not among the classes.
    """
    index = {name: i for i, name in enumerate(classes)}
    unknown = sorted(set(map(str, targets)) - set(index))
    if unknown:
        known = ", ".join(classes[:10])
        raise DataProblem(f"label: {unknown[0]!r} is not among the classes: {known}.")
    return np.array([index[str(target)] for target in targets], dtype="int32")
