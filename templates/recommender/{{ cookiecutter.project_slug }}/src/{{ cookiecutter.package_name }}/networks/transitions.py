"""How often each item came right after another: Rendle, Freudenthaler & Schmidt-Thieme, WWW 2010,
without the user.
"""

from dataclasses import dataclass

import numpy as np

PRIOR = 5.0  # events by popularity that are added to those that followed an item
MOST = 100  # of an item's followers that are kept


@dataclass(frozen=True)
class Transitions:
    """Pairs of items of which the second came right after the first.

    Attributes:
        size: items of the catalogue.
        pairs: (pairs,) int64, ``size`` times the first's place and the second's, sorted.
        counts: (pairs,) how often.
    """

    size: int
    pairs: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray, size: int) -> "Transitions":
        """From places (events,) in the catalogue."""
        pairs, counts = np.unique(first.astype("int64") * size + second, return_counts=True)
        return cls(size, pairs, counts)

    @property
    def totals(self) -> np.ndarray:
        """How often anything came after each item (items,)."""
        return np.bincount(self.pairs // self.size, self.counts, self.size).astype("int64")

    def table(self) -> np.ndarray:
        """The likeliest followers of each item (items, kept, 2): place and probability, 0 where
        there are no more. What is left of 1 belongs to all items as they are popular."""
        first, second = np.divmod(self.pairs, self.size)
        order = np.lexsort((second, -self.counts, first))
        first, second, counts = first[order], second[order], self.counts[order]
        rank = np.arange(len(first)) - np.searchsorted(first, first)
        kept = rank < MOST
        table = np.zeros((self.size, int(rank[kept].max(initial=0)) + 1, 2), "float32")
        likely = counts / (self.totals[first] + PRIOR)
        table[first[kept], rank[kept]] = np.stack([second, likely], axis=-1)[kept]
        return table
