"""What is known of users and items besides their events: columns of a table, as numbers.

Numbers are scaled by mean and spread, everything else is a category; a list in a field, separated
by ``|``, is several of them. What is missing counts as nothing.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

SEPARATOR = "|"
MOST_CATEGORIES = 1_000  # of a column; rarer ones count as missing


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
        """Numbers of a user or item."""
        return 2 * len(self.numbers) + sum(map(len, self.categories.values()))

    def __call__(self, columns: dict[str, np.ndarray], size: int) -> np.ndarray:
        """Columns (size,) of text -> (size, width) float32; missing columns are missing values."""
        table = np.zeros((size, self.width), "float32")
        place = 0
        for name, (mean, spread) in self.numbers.items():
            for row, value in enumerate(columns.get(name, ())):
                number = _numbers([value]) if value else None
                if number is not None:
                    table[row, place : place + 2] = (number[0] - mean) / spread, 1.0
            place += 2
        for name, known in self.categories.items():
            index = {value: place + i for i, value in enumerate(known)}
            for row, value in enumerate(columns.get(name, ())):
                chosen = [index[part] for part in _parts(value) if part in index]
                if chosen:
                    table[row, chosen] = 1 / len(chosen) ** 0.5
            place += len(known)
        return table

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


def _parts(value: str) -> list[str]:
    return [part for part in map(str.strip, value.split(SEPARATOR)) if part]


def _numbers(values: list[str]) -> np.ndarray | None:
    try:
        parsed = np.array([float(value) for value in values])
    except ValueError:
        return None
    return parsed if np.isfinite(parsed).all() else None
