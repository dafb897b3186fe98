"""How far a sample is from the training data, and how far chance alone would bring it.

Effect sizes, not p-values: of many rows every difference is significant, and few of them matter.

- PSI, the population stability index: the sum over bins of (q - p) ln(q / p).
- Wasserstein: how far numbers must move on average to turn one sample into the other (Kantorovich's
  distance), in standard deviations of the training data.
- Total variation: the share of the rows whose category must change.

All of them are above 0 for two samples of the same distribution, the more so the smaller these are.
So the noise of each is simulated: pairs of samples of these sizes are drawn from the training
data's own counts. Only what is past its limit *and* its noise counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .bins import SMALL, Bins, CategoryBins, merge_small

DRAWS = 400  # pairs of samples, from whose mean and deviation the quantile of the noise follows
ERROR_RATE = 0.01  # of any alarm at all although nothing has changed
NUM_MEASURES = 4  # of a column
NUMBER_SHARE, CATEGORY_SHARE = 0.1, 0.02  # of the training data in a bin of PSI, at least
ROUND_OFF = 0.5  # added to the counts of bins, so that PSI is finite

PSI, WASSERSTEIN, TOTAL_VARIATION = "psi", "wasserstein", "total_variation"
MISSING, OUT_OF_RANGE, OTHER_VALUES = "missing", "out_of_range", "other_values"
TITLES = {
    PSI: "PSI",
    WASSERSTEIN: "Wasserstein",
    TOTAL_VARIATION: "total variation",
    MISSING: "missing",
    OUT_OF_RANGE: "out of range",
    OTHER_VALUES: "other values",
}

# counts (draws, cells) of the training data and of the sample -> (draws,)
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Measure:
    """One effect size of a column.

    Attributes:
        name: a key of ``TITLES``.
        value: of the sample.
        noise: what chance exceeds hardly ever, see ``ERROR_RATE``.
        limit: of ``configs/monitor.yaml``; None: it only informs.
    """

    name: str
    value: float
    noise: float
    limit: float | None

    @property
    def is_past(self) -> bool:
        """Whether it is past its limit, and more than noise."""
        return self.limit is not None and self.value > max(self.limit, self.noise)


@dataclass(frozen=True)
class ColumnDrift:
    """A column of the training data beside that of a sample.

    Attributes:
        part: ``inputs`` or ``predictions``.
        name: of the column.
        reference: counts (cells,) of the training data.
        counts: (cells,) of the sample.
        measures: its effect sizes.
    """

    part: str
    name: str
    bins: Bins
    reference: np.ndarray
    counts: np.ndarray
    measures: tuple[Measure, ...]

    @property
    def is_past(self) -> bool:
        """Whether any effect is past its limit, and more than noise."""
        return any(measure.is_past for measure in self.measures)

    @property
    def effect(self) -> float:
        """The largest effect, each in units of its limit or, without one, of its noise."""
        sizes = (m.value / max(m.limit or m.noise, m.noise, 1e-9) for m in self.measures)
        return max(sizes, default=0.0)


def compare_column(
    part: str,
    name: str,
    bins: Bins,
    reference: np.ndarray,
    counts: np.ndarray,
    limits: Mapping[str, float | None],
    error_rate: float,
    is_private: bool = False,
) -> ColumnDrift:
    """Compare a column of a sample with that of the training data.

    Args:
        part: ``inputs`` or ``predictions``.
        name: of the column.
        bins: of the column.
        reference: counts (cells,) of the training data.
        counts: (cells,) of the sample.
        limits: by keys of ``TITLES``.
        error_rate: of each effect being past its noise although nothing has changed.
        is_private: whether rows are of persons: no share, and no count that is kept, is of a few.
    """
    safe_counts = merge_small(bins, counts) if is_private else counts
    values: dict[str, tuple[float, float]] = {}
    is_present = reference[:-1].sum() > 0 and counts[:-1].sum() > 0
    for key, statistic in list_statistics(bins, reference).items() if is_present else ():
        pair = (reference[None, :-1], counts[None, :-1])
        noise = estimate_noise(statistic, reference[:-1], counts[:-1].sum(), error_rate)
        values[key] = (float(statistic(*pair)[0]), noise)
    for key, cells in list_shares(bins).items():
        part_count = counts[cells].sum()
        part_count = 0 if is_private and part_count < SMALL else part_count
        sums = (reference[cells].sum(), reference.sum(), part_count, counts.sum())
        values[key] = _compare_shares(*sums, error_rate)
    if MISSING in values:  # fewer missing values are a change, too
        values[MISSING] = (abs(values[MISSING][0]), values[MISSING][1])
    measures = (Measure(key, *pair, limits.get(key)) for key, pair in values.items())
    return ColumnDrift(part, name, bins, reference, safe_counts, tuple(measures))


def list_statistics(bins: Bins, reference: np.ndarray) -> dict[str, Statistic]:
    """Return the effect sizes of the values that are present, by name.

    Args:
        bins: of the column.
        reference: counts (cells,) of the training data, which say what PSI takes together.
    """
    if isinstance(bins, CategoryBins):
        groups = _merge_rare(reference[:-1])
        return {
            PSI: lambda own, new: _psi(own @ groups, new @ groups),
            TOTAL_VARIATION: _total_variation,
        }
    groups = _merge_neighbours(reference[:-1])
    steps = np.diff(bins.edges) / bins.scale
    return {
        PSI: lambda own, new: _psi(own @ groups, new @ groups),
        WASSERSTEIN: lambda own, new: _wasserstein(own, new, steps),
    }


def list_shares(bins: Bins) -> dict[str, np.ndarray]:
    """Return the cells (cells,) bool whose share is compared as such, by name."""
    cells = np.zeros(bins.size, dtype=bool)
    missing = cells.copy()
    missing[-1] = True
    if isinstance(bins, CategoryBins):
        cells[-2] = True
        return {MISSING: missing, OTHER_VALUES: cells}
    cells[:-1] = True
    cells[bins.inside] = False
    return {MISSING: missing, OUT_OF_RANGE: cells}


def estimate_noise(
    statistic: Statistic, reference: np.ndarray, size: int, error_rate: float, seed: int = 0
) -> float:
    """Return what an effect size of two samples of one distribution exceeds hardly ever.

    The quantile is that of the gamma distribution with the mean and deviation of the draws: PSI is
    nearly chi-squared, and the distances have a lighter tail.

    Args:
        statistic: the effect size.
        reference: counts (cells,) of the training data.
        size: rows of the sample.
        error_rate: probability of exceeding it.
        seed: of the random numbers.
    """
    from scipy import stats  # takes half a second to import

    random = np.random.default_rng(seed)
    total = int(reference.sum())
    shares = reference / total
    own = random.multinomial(total, shares, size=DRAWS)
    new = random.multinomial(int(size), shares, size=DRAWS)
    values = statistic(own, new)
    mean, variance = values.mean(), values.var()
    if variance <= 0:
        return float(mean)
    return float(stats.gamma.isf(error_rate, mean**2 / variance, scale=variance / mean))


def _psi(own: np.ndarray, new: np.ndarray) -> np.ndarray:
    first, second = own + ROUND_OFF, new + ROUND_OFF
    first = first / first.sum(axis=-1, keepdims=True)
    second = second / second.sum(axis=-1, keepdims=True)
    return ((second - first) * np.log(second / first)).sum(axis=-1)


def _total_variation(own: np.ndarray, new: np.ndarray) -> np.ndarray:
    first = own / own.sum(axis=-1, keepdims=True)
    second = new / new.sum(axis=-1, keepdims=True)
    return np.abs(first - second).sum(axis=-1) / 2


def _wasserstein(own: np.ndarray, new: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Integrate the difference of the distribution functions over the edges.

    What is beyond the outermost edges counts as if it were there.

    Args:
        own: counts (draws, cells) of the training data.
        new: counts (draws, cells) of the sample.
        steps: (cells - 2,) widths of the bins in standard deviations.
    """
    first = np.cumsum(own, axis=-1) / own.sum(axis=-1, keepdims=True)
    second = np.cumsum(new, axis=-1) / new.sum(axis=-1, keepdims=True)
    gaps = np.abs(first - second)[..., :-1]  # at the edges
    return ((gaps[..., 1:] + gaps[..., :-1]) / 2) @ steps


def _merge_neighbours(reference: np.ndarray) -> np.ndarray:
    """Return which group (cells, groups) each cell of numbers belongs to: none is rare."""
    places, size, group = [], 0.0, 0
    least = NUMBER_SHARE * reference.sum() * 0.999
    left = float(reference.sum())
    for count in reference:
        places.append(group)
        size, left = size + count, left - count
        if size >= least and left >= least:
            group, size = group + 1, 0.0
    return np.eye(group + 1)[places]


def _merge_rare(reference: np.ndarray) -> np.ndarray:
    """Return which group (cells, groups) each category belongs to: the rare ones are one."""
    is_rare = reference < CATEGORY_SHARE * reference.sum()
    is_rare[-1] = True
    places = np.where(is_rare, 0, np.cumsum(~is_rare))
    return np.eye(int(places.max()) + 1)[places]


def _compare_shares(
    part: int, total: int, new_part: int, new_total: int, error_rate: float
) -> tuple[float, float]:
    """Return by how much a share has grown, and the noise of that."""
    from scipy import stats

    if not total or not new_total:
        return 0.0, 0.0
    value = new_part / new_total - part / total
    pooled = (part + new_part + 1) / (total + new_total + 2)
    deviation = (pooled * (1 - pooled) * (1 / total + 1 / new_total)) ** 0.5
    return float(value), float(stats.norm.isf(error_rate / 2) * deviation)
