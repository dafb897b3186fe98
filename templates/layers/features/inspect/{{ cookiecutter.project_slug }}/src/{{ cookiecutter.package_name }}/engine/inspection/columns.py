"""Statistics that tell the columns of a table apart, and counts in words."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ..findings import MIN_ROWS

GIVEAWAY_SHARE = 0.98  # share of rows whose label another column determines


def format_counts(counts: dict[str, int], most: int = 12) -> str:
    """Return ``a 12, b 7, …`` with the largest counts first.

    Args:
        counts: by name.
        most: names that are shown; the others are counted.
    """
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = [f"{name or '(empty)'} {count}" for name, count in ordered[:most]]
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(shown) + more


def find_named(columns: Sequence[str], *names: str) -> list[str]:
    """Return columns with these names, then those that hold such a word, in the names' order."""
    found = [c for name in names for c in columns if c.lower() == name]
    found += [c for name in names for c in columns if name in re.split(r"[^a-z]+", c.lower())]
    return list(dict.fromkeys(found))


def predictability(values: Sequence[str], labels: Sequence[str]) -> float:
    """Return how well a column predicts the label.

    That is the share of rows whose label is the most frequent one of the other rows with the same
    value. A value that occurs once predicts nothing.

    Args:
        values: (size,) of the column.
        labels: (size,) of the same rows.
    """
    by_value: dict[str, Counter[str]] = defaultdict(Counter)
    for value, label in zip(values, labels, strict=True):
        by_value[value][label] += 1
    right = 0
    for counts in by_value.values():
        for label, count in counts.items():
            others = {**counts, label: count - 1}
            if count > 1 and others[label] == max(others.values()):
                right += count
    return right / max(len(labels), 1)


def find_giveaways(table: dict[str, list[str]], label: str, text: str = "") -> list[str]:
    """Return columns that nearly always determine the label, so that new examples will lack them.

    Args:
        table: column -> a text for each row.
        label: the column to be predicted.
        text: a column that is not looked at.
    """
    labels = table[label]
    if len(labels) < MIN_ROWS:
        return []
    # Where one class prevails, any column seems to predict it.
    least = max(GIVEAWAY_SHARE, max(Counter(labels).values()) / len(labels) + 0.005)
    others = (name for name in table if name not in (label, text))
    return [name for name in others if predictability(table[name], labels) >= least]
