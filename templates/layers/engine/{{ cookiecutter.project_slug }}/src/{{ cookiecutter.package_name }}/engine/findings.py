"""What an inspection of a user's data has found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .interfaces import Task

MIN_ROWS = 20  # with fewer no column is suspected


@dataclass
class Findings:
    """Facts to print, warnings, and the ``data`` fields to train with.

    Attributes:
        beside: files that are written beside the configuration: ``data`` field -> (what their name
            ends with, text).
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add_fact(self, name: str, text: str) -> None:
        self.facts.append((name, text))

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def warn_of_guess(
        self, what: str, field: str, column: str, reason: str, others: Sequence[str]
    ) -> None:
        """Warn that a column may be the wrong one.

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


@dataclass(frozen=True)
class Inspection:
    """An inspection that has ended.

    Attributes:
        path: file or folder of the data.
        output: file of the configuration that was written.
        task: the project's task.
        config: the configuration that was written.
    """

    findings: Findings
    path: Path
    output: Path
    task: "Task"
    config: Any
