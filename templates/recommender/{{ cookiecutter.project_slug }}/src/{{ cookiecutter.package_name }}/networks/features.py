"""What is known of users and items besides their events: columns of a table, as numbers.

Numbers are scaled by mean and spread, everything else is a category; a list in a field, separated
by ``|``, is several of them. What is missing counts as nothing.
"""

from array import array
from collections import Counter
from dataclasses import dataclass

import numpy as np

SEPARATOR = "|"
MOST_CATEGORIES = 1_000  # of a column; rarer ones count as missing
MOST_PARTS = 32  # of a field; rarer ones do not count


@dataclass(frozen=True)
class Features:
    """How columns become numbers: learnt from the users or items of the training events.

    Attributes:
        numbers: column -> (mean, spread).
        categories: column -> its values, the most frequent first.
    """

    numbers: dict[str, tuple[float, float]]
    categories: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, columns: dict[str, np.ndarray]) -> "Features":
        """Learn from columns (size,) of text, '' where a value is missing."""
        numbers, categories = {}, {}
        for name, values in columns.items():
            there = [value for value in values if value]
            parsed = _numbers(there)
            if there and parsed is not None:
                spread = float(parsed.std())
                numbers[name] = (float(parsed.mean()), spread if spread > 0 else 1.0)
            else:
                counts = Counter(part for value in there for part in _parts(value))
                known = sorted(counts, key=lambda part: (-counts[part], part))
                categories[name] = tuple(known[:MOST_CATEGORIES])
        return cls(numbers, categories)

    @property
    def width(self) -> int:
        """Columns of numbers that a user or item could have."""
        return 2 * len(self.numbers) + sum(map(len, self.categories.values()))

    def __call__(self, columns: dict[str, np.ndarray], size: int) -> np.ndarray:
        """Columns (size,) of text -> (size, kept, 2) float32: the places in ``width`` where a row
        has a number other than 0, and these numbers; behind them zeros. ``kept`` is what the row
        with the most of them needs. Missing columns are missing values."""
        # Of a thousand categories a row has a few: whole rows would be gigabytes of zeros.
        rows, places, values = array("q"), array("q"), array("f")
        place = 0
        for name, (mean, spread) in self.numbers.items():
            for row, value in enumerate(columns.get(name, ())):
                number = _numbers([value]) if value else None
                if number is not None:
                    rows.extend((row, row))
                    places.extend((place, place + 1))
                    values.extend(((number[0] - mean) / spread, 1.0))
            place += 2
        for name, known in self.categories.items():
            index = {value: place + i for i, value in enumerate(known)}
            for row, value in enumerate(columns.get(name, ())):
                found = sorted({index[part] for part in _parts(value) if part in index})
                found = found[:MOST_PARTS]
                rows.extend([row] * len(found))
                places.extend(found)
                values.extend([1 / len(found) ** 0.5 for _ in found])
            place += len(known)
        return _packed(np.array(rows), np.array(places), np.array(values), size)

    def to_config(self) -> dict:
        """As JSON."""
        return {
            "numbers": {name: list(pair) for name, pair in self.numbers.items()},
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_config(cls, config: dict) -> "Features":
        """The inverse of ``to_config``."""
        return cls(
            {name: tuple(pair) for name, pair in config["numbers"].items()},
            {name: tuple(values) for name, values in config["categories"].items()},
        )


def _packed(rows: np.ndarray, places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Entries (entries,) of a sparse matrix -> (size, kept, 2), see ``Features``."""
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    table = np.zeros((size, int(rank.max(initial=0)) + 1, 2), "float32")
    table[rows, rank] = np.stack([places[order], values[order]], axis=-1)
    return table


def _parts(value: str) -> list[str]:
    return [part for part in map(str.strip, value.split(SEPARATOR)) if part]


def _numbers(values: list[str]) -> np.ndarray | None:
    try:
        parsed = np.array([float(value) for value in values])
    except ValueError:
        return None
    return parsed if np.isfinite(parsed).all() else None
