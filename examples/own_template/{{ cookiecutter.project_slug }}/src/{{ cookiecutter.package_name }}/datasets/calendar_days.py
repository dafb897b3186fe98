"""Holidays: what is known of days that are still to come."""

from datetime import date, timedelta

import numpy as np

# Month and day. A country whose holidays move needs a table by year in their place.
HOLIDAYS = frozenset(
    {
        *((1, 1), (1, 6), (2, 17), (3, 19), (4, 25), (5, 1), (5, 30), (6, 2)),
        *((7, 14), (8, 15), (9, 21), (10, 3), (11, 1), (12, 8), (12, 25), (12, 26)),
    }
)


def find_holidays(first: date, count: int) -> np.ndarray:
    """Return (count,) float32, 1 for each day from ``first`` on that is a holiday."""
    days = (first + timedelta(n) for n in range(count))
    return np.array([(day.month, day.day) in HOLIDAYS for day in days], "float32")
