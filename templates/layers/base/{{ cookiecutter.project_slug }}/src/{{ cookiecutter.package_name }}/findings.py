"""What ``inspect_data`` finds, and how columns of a table are told apart."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

GIVEN_AWAY = 0.98  # share of rows whose label another column tells
FEWEST_ROWS = 20  # of which anything can be said


@dataclass
class Findings:
    """Facts to print, things to be warned of, and the ``data`` fields to train with.

    Attributes:
        beside: files that are written beside the configuration: ``data`` field -> (what their name
            ends with, text).
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, tuple[str, str]] = field(default_factory=dict)

    def fact(self, name: str, text: str) -> None:
        self.facts.append((name, text))

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def warn_of_guess(
        self, what: str, field: str, column: str, reason: str, others: Sequence[str]
    ) -> None:
        """Say that a column may be the wrong one.

        Args:
            what: what it is taken for, such as "labels".
            field: the ``data`` field that names another.
            others: columns that it may be instead.
        """
        instead = (
            f"it may be {' or '.join(map(repr, others))} instead" if others else "no other fits"
        )
        self.warn(
            f"column {column!r} is taken for the {what} by a guess, as {reason}; {instead}. "
            f"--data.{field} names another."
        )


def listed(counts: dict[str, int], most: int = 12) -> str:
    """``a 12, b 7, …`` with the largest first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = [f"{name or '(empty)'} {count}" for name, count in ordered[:most]]
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(shown) + more


def named_like(columns: Sequence[str], *names: str) -> list[str]:
    """Columns that are named so, or hold such a word, in the order of the names."""
    found = [c for name in names for c in columns if c.lower() == name]
    found += [c for name in names for c in columns if name in re.split(r"[^a-z]+", c.lower())]
    return list(dict.fromkeys(found))


def share_told(values: Sequence[str], labels: Sequence[str]) -> float:
    """How well a column tells the label: share of rows whose label is the most frequent one of the
    other rows with the same value; a value that stands alone tells nothing."""
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


def giving_away(table: dict[str, list[str]], label: str, text: str = "") -> list[str]:
    """Columns that tell the label nearly always, and would not be there for a new example.

    Args:
        table: column -> a text for each row.
        label: the column to be predicted.
        text: a column that is not looked at.
    """
    labels = table[label]
    if len(labels) < FEWEST_ROWS:
        return []
    # Where one class prevails, any column seems to tell it.
    least = max(GIVEN_AWAY, max(Counter(labels).values()) / len(labels) + 0.005)
    others = (name for name in table if name not in (label, text))
    return [name for name in others if share_told(table[name], labels) >= least]
