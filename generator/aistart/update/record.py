"""The record of a project: what it was made from, in ``.aistart/``.

``answers.toml`` is for people, ``aistart new --answers`` and ``aistart doctor``. ``pristine.xz``
holds the same again, so that an edit is noticed, and the fingerprints of the files as rendered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aistart.errors import UsageProblem
from aistart.update.fingerprints import Pristine
from aistart.update.trees import Tree

if TYPE_CHECKING:
    from aistart.project import Request
    from aistart.sources import Source


class RecordProblem(UsageProblem):
    """The record of a project is missing, edited, broken, or of a newer aistart."""


class NoPristine(RecordProblem):
    """The project has an ``answers.toml``, but not its pristine files, as those made by 0.1.0."""


@dataclass(frozen=True)
class RecordSource:
    """Where a foreign template comes from.

    Attributes:
        reference: what the user typed, without a password; a folder relative to the project.
        directory: the template's folder in it.
        checkout: branch, tag or commit that the user named.
        commit: of the repository.
    """

    reference: str
    directory: str | None = None
    checkout: str | None = None
    commit: str | None = None

    def locate(self, project: Path) -> str:
        """Return the reference as ``open_source`` takes it from any current folder."""
        raise NotImplementedError


@dataclass(frozen=True)
class Record:
    """What a project was made from.

    Attributes:
        template: the template's name.
        aistart: the version that made or updated it.
        features: names.
        answers: by question.
        source: of a foreign template; None for one that comes with aistart.
        year: in which it was made, for the licence.
        files: the pristine files by path.
    """

    template: str
    aistart: str
    features: tuple[str, ...]
    answers: Mapping[str, str]
    year: int
    source: RecordSource | None = None
    files: Mapping[str, Pristine] = field(default_factory=dict)

    def with_tree(self, tree: Tree) -> "Record":
        """Return the record with the files of a tree as its pristine files."""
        raise NotImplementedError


def build_record(request: "Request", source: "Source | None", tree: Tree) -> Record:
    """Build the record of a project.

    Args:
        request: the project; its ``year`` is recorded.
        source: of its template; None: built in.
        tree: its files as rendered.
    """
    raise NotImplementedError


def record_files(record: Record) -> dict[str, bytes]:
    """Return the contents of the files of a record by their paths in the project."""
    raise NotImplementedError


def write_record(project: Path, record: Record) -> None:
    """Write the files of a record."""
    raise NotImplementedError


def read_record(project: Path) -> Record:
    """Read and verify a record.

    Raises:
        NoPristine: there is only ``answers.toml``.
        RecordProblem: it is missing, was edited, is broken, or of a newer aistart.
    """
    raise NotImplementedError


def read_answers_only(project: Path) -> Record:
    """Read ``answers.toml`` alone, to a record without files, whose year is that of today.

    Raises:
        RecordProblem: it is missing, broken, or of a newer aistart.
    """
    raise NotImplementedError
