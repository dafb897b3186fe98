"""Columns as counts of bins, which is all that the comparison of two samples needs.

The bins of a column come from the training split. So a profile of the training data, and what a
service keeps of persons, are counts: nobody's value can be read from them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MAX_BINS = 20  # of the numbers of the training split, with about as many examples each
MAX_PRIVATE_BINS = 10  # the same of persons, of whom a bin must hold several in small samples, too
MIN_PER_BIN = 20  # examples of the training split, unless there are few values: each has its own
MAX_NAMES = 50  # of a category; the others are one
# Of the training split, of a value with a cell of its own. Of many rare values, those that are more
# frequent in one sample are so by chance, and would be rarer in any other.
MIN_SHARE = 0.005
MIN_PRIVATE_SHARE = 0.05  # the same of persons, whose small cells are merged
SMALL = 10  # cells with fewer examples are merged where examples are of persons
OUTER = (1.0, 3.0)  # standard deviations beyond the range, where bins end too
DIGITS = 3  # of the borders of bins that are quantiles of persons

MISSING, OTHER = "(missing)", "(other)"


@dataclass(frozen=True)
class NumberBins:
    """Bins of a column of numbers.

    Its cells are the numbers below the first edge, those from each edge to the next, those from the
    last edge on, and those that are missing.

    Attributes:
        edges: rising borders; the outermost two on each side lie beyond the range of the training
            split. Of few values each has a cell of its own.
        scale: standard deviation in the training split, the unit of distances.
    """

    edges: tuple[float, ...]
    scale: float

    @property
    def low(self) -> float:
        """The lower end of the range of the training split."""
        return self.edges[len(OUTER)]

    @property
    def high(self) -> float:
        """The upper end of the range of the training split."""
        return self.edges[-1 - len(OUTER)]

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.edges) + 2

    @property
    def inside(self) -> slice:
        """The cells within the range of the training split."""
        return slice(len(OUTER) + 1, len(self.edges) - len(OUTER))

    def count(self, values: np.ndarray) -> np.ndarray:
        """Return the counts (cells,) of values (size,)."""
        numbers = np.asarray(values, "float64")
        present = numbers[np.isfinite(numbers)]
        # The last bin within the range has both of its ends, as the largest value lies on it.
        place = np.searchsorted(self.edges, present, side="right")
        place = np.where(present == self.high, self.inside.stop - 1, place)
        counts = np.bincount(place, minlength=self.size)
        counts[-1] = len(numbers) - len(present)
        return counts


@dataclass(frozen=True)
class CategoryBins:
    """Bins of a column of text: the frequent values, all others, and missing ones.

    Attributes:
        names: values with a cell of their own, the most frequent first.
    """

    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.names) + 2

    def count(self, values: np.ndarray) -> np.ndarray:
        """Return the counts (cells,) of values (size,)."""
        place = {name: number for number, name in enumerate(self.names)} | {"": self.size - 1}
        other = self.size - 2
        cells = [place.get(str(value), other) for value in values]
        return np.bincount(np.array(cells, dtype=int), minlength=self.size)


Bins = NumberBins | CategoryBins


def fit_bins(values: np.ndarray, is_private: bool) -> Bins:
    """Return bins for a column of the training split.

    Args:
        values: (size,) numbers or text.
        is_private: whether examples are of persons: then no bin shows a value of few of them.
    """
    values = np.asarray(values)
    if values.dtype.kind in "fiub":
        return _fit_numbers(values.astype("float64"), is_private)
    names, counts = np.unique(values.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    least = max(MIN_PRIVATE_SHARE * len(values), SMALL) if is_private else MIN_SHARE * len(values)
    frequent = [str(names[i]) for i in order if names[i] != "" and counts[i] >= least]
    return CategoryBins(tuple(frequent[:MAX_NAMES]))


def _fit_numbers(numbers: np.ndarray, is_private: bool) -> NumberBins:
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        numbers = np.zeros(1)
    most = MAX_PRIVATE_BINS if is_private else MAX_BINS
    bins = int(np.clip(len(numbers) // MIN_PER_BIN, 1, most))
    values, sizes = np.unique(numbers, return_counts=True)
    is_shared = sizes >= (SMALL if is_private else 1)  # else it would show somebody's value
    if len(values) <= bins + 1 and is_shared.sum() > 1:
        return _make_bins(_surround(values[is_shared]), float(numbers.std()))
    shares = np.linspace(0, 1, bins + 1)
    if is_private:
        # The ends of the range are those of several persons.
        shares[[0, -1]] = [min(SMALL / len(numbers), 0.5), 1 - min(SMALL / len(numbers), 0.5)]
    edges = np.quantile(numbers, np.sort(shares))
    scale = float(numbers.std())
    if is_private:
        edges, scale = _round(edges), float(_round(np.array([scale]))[0])
    return _make_bins(edges, scale)


def _surround(values: np.ndarray) -> np.ndarray:
    """Return edges (size + 1,) between which each of the rising values (size,) is alone."""
    middles = (values[:-1] + values[1:]) / 2
    first, last = values[0] - (middles[0] - values[0]), values[-1] + (values[-1] - middles[-1])
    return np.array([first, *middles, last])


def _make_bins(edges: np.ndarray, scale: float) -> NumberBins:
    """Return bins with edges beyond the range.

    Args:
        edges: of the range, and within it.
        scale: standard deviation.
    """
    edges = np.unique(edges)
    # A column with one value has a range as well, and a unit.
    scale = scale if scale > 1e-12 * max(1.0, abs(edges).max()) else max(1.0, abs(edges).max())
    if len(edges) == 1:
        edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
    below = [edges[0] - factor * scale for factor in reversed(OUTER)]
    above = [edges[-1] + factor * scale for factor in OUTER]
    return NumberBins(tuple(map(float, (*below, *edges, *above))), scale)


def _round(numbers: np.ndarray) -> np.ndarray:
    """Return numbers with a few significant digits."""
    size = np.floor(np.log10(np.maximum(np.abs(numbers), 1e-300)))
    unit = 10.0 ** (size - DIGITS + 1)
    return np.where(numbers == 0, 0.0, np.round(numbers / unit) * unit)


def merge_small(bins: Bins, counts: np.ndarray) -> np.ndarray:
    """Return counts (cells,) of which none is of a few persons.

    Small cells of numbers are added to a neighbour, those of categories to the other values: to
    leave them out would shift the whole, and a single one could be had by subtraction. A small
    number of missing values is left out.

    Args:
        bins: of the column.
        counts: (cells,) of a sample.
    """
    cells = np.array(counts)
    if cells[-1] < SMALL:
        cells[-1] = 0
    present = cells[:-1]  # a view
    if present.sum() < SMALL:
        present[:] = 0
    while (small := np.flatnonzero((present > 0) & (present < SMALL))).size:
        place = int(small[np.argmin(present[small])])
        count, present[place] = present[place], 0
        present[_find_partner(bins, present, place)] += count
    return cells


def _find_partner(bins: Bins, present: np.ndarray, place: int) -> int:
    """Return the cell that takes the rows of a small one: the nearest with rows, or the others."""
    if isinstance(bins, CategoryBins) and place != len(present) - 1:
        return len(present) - 1
    partners = np.flatnonzero(present)
    if isinstance(bins, CategoryBins):
        return int(partners[np.argmin(present[partners])])
    distance = np.abs(partners - place)
    nearest = partners[distance == distance.min()]
    return int(nearest[np.argmax(present[nearest])])


def bins_to_json(bins: Bins) -> dict[str, Any]:
    """Return bins as JSON."""
    return asdict(bins)


def bins_from_json(fields: dict[str, Any]) -> Bins:
    """Undo ``bins_to_json``."""
    if "edges" in fields:
        return NumberBins(tuple(map(float, fields["edges"])), float(fields["scale"]))
    return CategoryBins(tuple(map(str, fields["names"])))


def add_counts(parts: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Return the sum of counts (size,)."""
    return np.sum([np.zeros(size, dtype=np.int64), *parts], axis=0)
