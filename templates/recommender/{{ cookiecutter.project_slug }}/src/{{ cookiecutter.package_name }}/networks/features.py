"""Encode features of users and items as sparse numbers.

Numbers are standardised, everything else is a category; ``|`` separates several categories in a
field. Missing values contribute nothing.
"""

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

SEPARATOR = "|"
MAX_CATEGORIES = 1_000  # of a column; rarer ones count as missing
MAX_VALUES = 32  # categories of a field; rarer ones are ignored


@dataclass(frozen=True)
class FeatureEncoder:
    """Encoder of text columns, fitted on the users or items of the training interactions.

    Attributes:
        numbers: column -> (mean, standard deviation).
        categories: column -> its values, the most frequent first.
    """

    numbers: dict[str, tuple[float, float]]
    categories: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, columns: dict[str, np.ndarray]) -> "FeatureEncoder":
        """Fit on columns (size,) of text, '' where a value is missing."""
        numbers, categories = {}, {}
        for name, values in columns.items():
            present = [value for value in values if value]
            parsed = _parse_numbers(present)
            if present and parsed is not None:
                deviation = float(parsed.std())
                numbers[name] = (float(parsed.mean()), deviation if deviation > 0 else 1.0)
            else:
                counts = Counter(part for value in present for part in _split_values(value))
                ordered = sorted(counts, key=lambda part: (-counts[part], part))
                categories[name] = tuple(ordered[:MAX_CATEGORIES])
        return cls(numbers, categories)

    @property
    def num_columns(self) -> int:
        """Columns of the encoded matrix: two for a number, one for each category."""
        return 2 * len(self.numbers) + sum(map(len, self.categories.values()))

    def __call__(self, columns: dict[str, np.ndarray], size: int) -> np.ndarray:
        """Encode columns as the entries of a sparse matrix.

        A number fills two columns: its standardised value, and 1 as it is present. The categories
        of a field share a unit vector, so that long lists do not dominate.

        Args:
            columns: (size,) text by name; a missing column has missing values.
            size: number of rows.

        Returns:
            (size, entries, 2) float32: column and value of the entries of each row, zeros behind
            them; ``entries`` is the number that the fullest row needs.
        """
        # A row has a few of a thousand categories: a dense matrix would be gigabytes of zeros.
        rows, places, values = array("q"), array("q"), array("f")
        offset = 0
        for name, (mean, deviation) in self.numbers.items():
            for row, value in enumerate(columns.get(name, ())):
                number = _parse_numbers([value]) if value else None
                if number is not None:
                    rows.extend((row, row))
                    places.extend((offset, offset + 1))
                    values.extend(((number[0] - mean) / deviation, 1.0))
            offset += 2
        for name, categories in self.categories.items():
            index = {value: offset + i for i, value in enumerate(categories)}
            for row, value in enumerate(columns.get(name, ())):
                found = sorted({index[part] for part in _split_values(value) if part in index})
                found = found[:MAX_VALUES]
                rows.extend([row] * len(found))
                places.extend(found)
                values.extend([1 / len(found) ** 0.5 for _ in found])
            offset += len(categories)
        return _pack_entries(np.array(rows), np.array(places), np.array(values), size)

    def to_config(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {
            "numbers": {name: list(pair) for name, pair in self.numbers.items()},
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FeatureEncoder":
        """Restore an encoder from ``to_config``."""
        return cls(
            {name: tuple(pair) for name, pair in config["numbers"].items()},
            {name: tuple(values) for name, values in config["categories"].items()},
        )


def _pack_entries(
    rows: np.ndarray, places: np.ndarray, values: np.ndarray, size: int
) -> np.ndarray:
    """Pack entries (total,) of a sparse matrix row by row: (size, entries, 2)."""
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of the entry in its row
    table = np.zeros((size, int(rank.max(initial=0)) + 1, 2), "float32")
    table[rows, rank] = np.stack([places[order], values[order]], axis=-1)
    return table


def _split_values(value: str) -> list[str]:
    return [part for part in map(str.strip, value.split(SEPARATOR)) if part]


def _parse_numbers(values: list[str]) -> np.ndarray | None:
    try:
        parsed = np.array([float(value) for value in values])
    except ValueError:
        return None
    return parsed if np.isfinite(parsed).all() else None
