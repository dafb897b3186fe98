"""What an update is to change in a project, and whether it can."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aistart.errors import AistartError
from aistart.update.disk import find_nearest_folder, is_folder
from aistart.update.trees import Entry


@dataclass(frozen=True)
class Change:
    """One path before and after; None: there is no file.

    Attributes:
        path: in the project.
        before: as it is.
        after: as it will be.
        origin: where a file was that moves to the path, whose permissions it keeps.
    """

    path: str
    before: Entry | None
    after: Entry | None
    origin: str | None = None


@dataclass(frozen=True)
class OpenConflict:
    """A path that a person has to decide on.

    Attributes:
        path: in the project.
        message: what both sides did.
        has_markers: whether the file has git's conflict markers.
        theirs: whether the template's file lies in the state folder.
    """

    path: str
    message: str
    has_markers: bool = False
    theirs: bool = False


@dataclass(frozen=True)
class Plan:
    """An update as it is written down before it begins.

    Attributes:
        title: what it does, for messages.
        changes: of the project's files.
        record: changes of the project's record, applied when no conflict is open.
        conflicts: what a person has to decide on.
        theirs: the template's files of conflicts without markers, by path.
        notes: lines to show when it is finished.
    """

    title: str
    changes: list[Change]
    record: list[Change]
    conflicts: list[OpenConflict]
    theirs: dict[str, Entry]
    notes: list[str]


def find_obstacles(project: Path, changes: Iterable[Change]) -> dict[str, str]:
    """Return why some changes cannot be made, by path.

    Args:
        project: the project's folder.
        changes: those that are planned.
    """
    changes = list(changes)
    removed = {change.path for change in changes if change.after is None}
    obstacles = {}
    for change in changes:
        if reason := _find_obstacle(project, change, removed):
            obstacles[change.path] = reason
    return obstacles


def _find_obstacle(project: Path, change: Change, removed: set[str]) -> str | None:
    path = PurePosixPath(change.path)
    if ".git" in path.parts or path.is_absolute() or ".." in path.parts:
        return "no update writes there"
    for parent in [*path.parents][-2::-1]:
        folder = project / parent
        if folder.is_symlink() and str(parent) not in removed:
            return f"{parent} is a symbolic link"
        if folder.is_file() and str(parent) not in removed:
            return f"{parent} is a file"
        if os.path.lexists(folder / ".git"):
            return f"{parent} is a repository of its own, such as a submodule"
    target = project / path
    if change.before is None and os.path.lexists(target) and not is_folder(target):
        return "a file of yours is there"
    if change.after is not None and is_folder(target):
        below = (
            Path(folder, name).relative_to(project).as_posix()
            for folder, folders, names in os.walk(target)
            for name in [*names, *(name for name in folders if Path(folder, name).is_symlink())]
        )
        if any(name not in removed for name in below):
            return "a folder with files of yours is there"
    return None


def check_permissions(project: Path, changes: Iterable[Change]) -> None:
    """Check that the folders of all changes can be written.

    Raises:
        AistartError: one cannot.
    """
    folders = {(project / change.path).parent for change in changes}
    for folder in sorted({find_nearest_folder(folder) for folder in folders} | {project}):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise AistartError(f"{folder}: the folder cannot be written; nothing was changed.")
