"""First-order transitions between items: Rendle, Freudenthaler & Schmidt-Thieme, WWW 2010, without
the user factors.
"""

from dataclasses import dataclass

import numpy as np

PRIOR_COUNT = 5.0  # pseudo-counts, spread by popularity, added to the transitions from each item
MAX_FOLLOWERS = 100  # per item; the rarest beyond them are dropped


@dataclass(frozen=True)
class Transitions:
    """Counts of pairs of items of which the second directly follows the first.

    Attributes:
        num_items: size of the catalogue.
        pairs: (pairs,) int64, sorted: ``num_items * first + second``.
        counts: (pairs,) number of times that each pair occurs.
    """

    num_items: int
    pairs: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_pairs(cls, first: np.ndarray, second: np.ndarray, num_items: int) -> "Transitions":
        """Count pairs of items.

        Args:
            first, second: (occurrences,) catalogue indices of both items.
            num_items: size of the catalogue.
        """
        pairs, counts = np.unique(first.astype("int64") * num_items + second, return_counts=True)
        return cls(num_items, pairs, counts)

    @property
    def totals(self) -> np.ndarray:
        """Transitions from each item, to any other (items,)."""
        first = self.pairs // self.num_items
        return np.bincount(first, self.counts, self.num_items).astype("int64")

    def top_followers(self) -> np.ndarray:
        """Return the likeliest followers of each item, the likeliest first.

        Returns:
            (items, followers, 2) float32: catalogue index and probability, 0 as padding. The
            probabilities sum to less than 1; the rest is spread over all items by popularity.
        """
        first, second = np.divmod(self.pairs, self.num_items)
        order = np.lexsort((second, -self.counts, first))
        first, second, counts = first[order], second[order], self.counts[order]
        rank = np.arange(len(first)) - np.searchsorted(first, first)
        top = rank < MAX_FOLLOWERS
        table = np.zeros((self.num_items, int(rank[top].max(initial=0)) + 1, 2), "float32")
        probability = counts / (self.totals[first] + PRIOR_COUNT)
        table[first[top], rank[top]] = np.stack([second, probability], axis=-1)[top]
        return table
