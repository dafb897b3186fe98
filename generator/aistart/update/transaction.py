"""Changes of a project's files, all of them or none, whatever interrupts them.

Everything lies below ``.aistart/update/`` in the project, which git ignores:

``preparing/``
    An update that is being written down; swept by the next run.
``current/``
    One that has begun and is not finished. ``preparing/`` becomes it with one rename: before,
    nothing of the project has changed; after, the next run goes on, or back with ``abort``.
``last/``
    The last one that was finished, kept until the next one is.
``yours/``
    What the user changed while an update was interrupted, or before its ``abort``. Nothing removes
    it.

Each of the first three has ``plan.json``, ``stage``, and folders of files by path: ``new/``,
``backup/`` (the project's files before), ``theirs/`` (the template's side of a conflict that has no
markers) and ``yours/``.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from aistart.errors import AistartError
from aistart.staging import ignore_signals
from aistart.update.trees import EXECUTABLE, LINK, STATE_FOLDER, Entry, read_entry

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_RECORD_FOLDER = ".aistart"
BACKUP = f"{STATE_FOLDER}/last/backup"  # of the last update, from the project's folder
_FORMAT = 1
_FLUSHING_THREADS = 32  # the file system commits what waits together at once

Stage = Literal["applying", "undecided", "aborting"]


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


@contextmanager
def lock(project: Path) -> Iterator[None]:
    """Let one update at a time work on a project.

    Raises:
        AistartError: another one does.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(project / _RECORD_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AistartError(
                "another aistart changes this project right now; try again when it is done."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def sweep(project: Path) -> None:
    """Remove what killed runs left before they began to change the project."""
    for name in ("preparing", "replaced"):
        shutil.rmtree(project / STATE_FOLDER / name, ignore_errors=True)


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
    if change.before is None and os.path.lexists(target) and not _is_folder(target):
        return "a file of yours is there"
    if change.after is not None and _is_folder(target):
        below = (
            Path(folder, name).relative_to(project).as_posix()
            for folder, folders, names in os.walk(target)
            for name in [*names, *(name for name in folders if Path(folder, name).is_symlink())]
        )
        if any(name not in removed for name in below):
            return "a folder with files of yours is there"
    return None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def check_permissions(project: Path, changes: Iterable[Change]) -> None:
    """Check that the folders of all changes can be written.

    Raises:
        AistartError: one cannot.
    """
    folders = {(project / change.path).parent for change in changes}
    for folder in sorted({_nearest_folder(folder) for folder in folders} | {project}):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise AistartError(f"{folder}: the folder cannot be written; nothing was changed.")


def _nearest_folder(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


class Transaction:
    """An update that has begun, in ``current/``.

    Attributes:
        project: the project's folder.
        kept: where files lie now that the user changed while the update was interrupted, from the
            project's folder.
    """

    def __init__(self, project: Path, folder: Path) -> None:
        self.project = project
        self.kept: list[str] = []
        self._folder = folder
        self._plan: dict[str, Any] = _read_json(folder / "plan.json")

    @classmethod
    def begin(cls, project: Path, plan: Plan) -> "Transaction":
        """Write an update down, with a backup of all that it changes. No file changes yet.

        Raises:
            AistartError: the disk or a permission prevents it, or a file changed meanwhile.
        """
        state = project / STATE_FOLDER
        preparing, current = state / "preparing", state / "current"
        try:
            sweep(project)
            state.mkdir(parents=True, exist_ok=True)
            (state / ".gitignore").write_text("*\n", encoding="utf-8")
            preparing.mkdir()
            _write_down(project, preparing, plan)
            preparing.rename(current)
            _flush([state, project / _RECORD_FOLDER])
        except OSError as error:
            reason = f"{error.filename or project}: {error.strerror}; nothing was changed."
            raise AistartError(reason) from error
        finally:
            shutil.rmtree(preparing, ignore_errors=True)
        return cls(project, current)

    @classmethod
    def find(cls, project: Path) -> "Transaction | None":
        """Return the project's update that has begun and is not finished, if there is one."""
        current = project / STATE_FOLDER / "current"
        return cls(project, current) if current.is_dir() else None

    @property
    def title(self) -> str:
        """What it does."""
        return str(self._plan["title"])

    @property
    def notes(self) -> list[str]:
        """Lines to show when it is finished."""
        return list(self._plan["notes"])

    @property
    def conflicts(self) -> list[OpenConflict]:
        """What a person has to decide on."""
        return [OpenConflict(**conflict) for conflict in self._plan["conflicts"]]

    @property
    def changes_files(self) -> bool:
        """Whether files of the project change, the record apart."""
        return bool(self._plan["changes"])

    @property
    def is_finished(self) -> bool:
        """Whether it is complete, with its record."""
        return not self._folder.exists()

    @property
    def stage(self) -> Stage:
        """How far it is."""
        try:
            return (self._folder / "stage").read_text(encoding="utf-8").strip()  # type: ignore[return-value]
        except OSError as error:
            raise _broken_state_error(self._folder / "stage", str(error.strerror)) from None

    @property
    def is_undone(self) -> bool:
        """Whether somebody has taken back all changes of files that no conflict is about, as
        ``git checkout`` does, which leaves new files.
        """
        open_paths = {conflict.path for conflict in self.conflicts}
        changes = [
            change
            for change in self._plan["changes"]
            if change["path"] not in open_paths
            and change["before"] is not None
            and not _has_same_content(change["before"], change["after"])
        ]
        return bool(changes) and all(
            _has_same_content(
                _describe(read_entry(self.project / change["path"])), change["before"]
            )
            for change in changes
        )

    def theirs(self, path: str) -> str:
        """Return where the template's file of a conflict lies, from the project's folder."""
        return f"{STATE_FOLDER}/current/theirs/{path}"

    def apply(self) -> None:
        """Change the project's files; the record follows if no conflict is open.

        Raises:
            AistartError: a file cannot be written; then everything is as it was before.
        """
        self._carry_out_or_undo(self._plan["changes"])
        if self._plan["conflicts"]:
            self.kept += self._move_yours()
            self._set_stage("undecided")
        else:
            self.finish()

    def finish(self) -> None:
        """Let the record follow, and keep the backup until the next update is finished."""
        self._carry_out_or_undo(self._plan["record"])
        state = self._folder.parent
        with ignore_signals():
            self.kept += self._move_yours()
            if (state / "last").exists():
                (state / "last").rename(state / "replaced")
            self._folder.rename(state / "last")
            _flush([state])
            shutil.rmtree(state / "replaced", ignore_errors=True)

    def abort(self) -> list[str]:
        """Restore every file as it was before the update.

        Returns:
            where files that changed since lie now, from the project's folder.

        Raises:
            AistartError: a file cannot be written; ``abort`` again goes on.
        """
        self._set_stage("aborting")
        changes = [*self._plan["record"], *self._plan["changes"]]
        try:
            with ignore_signals():
                self._carry_out(changes, "backup", wanted="before", expected="after")
                kept = self._move_yours()
                replaced = self._folder.with_name("replaced")
                if replaced.exists():  # the last update, if ``finish`` was killed in the middle
                    replaced.rename(self._folder.with_name("last"))
                self._folder.rename(replaced)
                sweep(self.project)
        except OSError as error:
            raise AistartError(
                f"{error.filename}: {error.strerror}; `aistart update --abort` goes on when that "
                "is solved."
            ) from error
        return kept

    def _carry_out_or_undo(self, changes: list[dict[str, Any]]) -> None:
        try:
            with ignore_signals():
                self._carry_out(changes, "new", wanted="after", expected="before")
        except OSError as error:
            kept = self.abort()
            reason = f"{error.filename}: {error.strerror}; the project is as it was."
            if kept:
                reason += f" What you changed since is kept in {', '.join(kept)}."
            raise AistartError(reason) from error

    def _carry_out(
        self, changes: list[dict[str, Any]], source: str, wanted: str, expected: str
    ) -> None:
        """Bring each path to its wanted state. What is neither that nor the expected one is the
        user's own change of the meantime, and is moved to ``yours/``."""
        removals = [change for change in changes if change[wanted] is None]
        writes = [change for change in changes if change[wanted] is not None]
        for change in sorted(removals, key=lambda change: str(change["path"]), reverse=True):
            if self._make_way(change, wanted, expected):
                target = self.project / change["path"]
                target.unlink(missing_ok=True)
            self._remove_empty_folders(PurePosixPath(change["path"]).parent)
        for change in writes:
            file = self._folder / source / change["path"]
            if file.exists() and self._make_way(change, wanted, expected):
                _put(file, self.project / change["path"], change[wanted]["mode"], self._folder)
        _flush({_nearest_folder((self.project / change["path"]).parent) for change in changes})

    def _make_way(self, change: dict[str, Any], wanted: str, expected: str) -> bool:
        """Move what the user changed meanwhile away, and return whether there is work left."""
        path = PurePosixPath(change["path"])
        for parent in [*path.parents][-2::-1]:
            folder = self.project / parent
            if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
                if change[wanted] is None:
                    return False
                self._keep(parent)
        target = self.project / path
        if _is_folder(target):
            if change[wanted] is None:
                return False
            _remove_empty_tree(target)
            if target.exists():
                self._keep(path)
            return True
        present = _describe(read_entry(target))
        if present == change[wanted]:
            return False
        is_known = any(_has_same_content(present, change[side]) for side in (wanted, expected))
        if present is not None and not is_known:
            self._keep(path)
        return True

    def _keep(self, path: PurePosixPath) -> None:
        kept = _free_path(self._folder / "yours" / path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.project / path, kept)

    def _move_yours(self) -> list[str]:
        """Move what the user changed out of the folder that is removed, and return its paths."""
        yours, kept = self._folder / "yours", []
        for file in [path for path in yours.rglob("*") if path.is_symlink() or path.is_file()]:
            target = _free_path(self._folder.parent / "yours" / file.relative_to(yours))
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
            kept.append(target.relative_to(self.project).as_posix())
        return sorted(kept)

    def _remove_empty_folders(self, folder: PurePosixPath) -> None:
        """Remove a folder and those above it as long as they are empty."""
        for parent in (folder, *folder.parents):
            if str(parent) == "." or (self.project / parent).is_symlink():
                return
            try:
                (self.project / parent).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return

    def _set_stage(self, stage: Stage) -> None:
        _write_flushed(self._folder / "stage.new", stage.encode())
        (self._folder / "stage.new").replace(self._folder / "stage")
        _flush([self._folder])


def _write_down(project: Path, folder: Path, plan: Plan) -> None:
    files: list[Path] = []
    for change in [*plan.changes, *plan.record]:
        present = read_entry(project / change.path)
        if not _has_same_content(_describe(present), _describe(change.before)):
            raise AistartError(f"{change.path}: it changed while it was read; run it again.")
        permissions = _read_permissions(project / change.path)
        if change.before is not None:
            files.append(_store(folder / "backup" / change.path, change.before, permissions))
        if change.after is not None:
            if change.origin is not None:
                permissions = _read_permissions(project / change.origin)
            files.append(_store(folder / "new" / change.path, change.after, permissions))
    files += [_store(folder / "theirs" / path, entry) for path, entry in plan.theirs.items()]
    content = {
        "format": _FORMAT,
        "title": plan.title,
        "changes": [_describe_change(change) for change in plan.changes],
        "record": [_describe_change(change) for change in plan.record],
        "conflicts": [vars(conflict) for conflict in plan.conflicts],
        "notes": plan.notes,
    }
    for name, text in (("plan.json", json.dumps(content, indent=1)), ("stage", "applying")):
        (folder / name).write_text(text, encoding="utf-8")
        files.append(folder / name)
    folders = {parent for file in files for parent in file.parents if parent.is_relative_to(folder)}
    _flush([*files, *folders])


def _read_permissions(path: Path) -> int | None:
    """Return the permissions of a file; None if there is none, or a link, which has no own ones."""
    if path.is_symlink() or not path.is_file():
        return None
    return stat.S_IMODE(path.stat().st_mode)


def _store(file: Path, entry: Entry, permissions: int | None = None) -> Path:
    """Write an entry to a file of the state folder; a link as a file that holds its target.

    Args:
        file: where to.
        entry: what.
        permissions: those of the file that it replaces or saves; default: those of a new file.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(entry.content)
    if entry.mode != LINK:
        present = stat.S_IMODE(file.stat().st_mode) if permissions is None else permissions
        executable = (present & 0o444) >> 2  # whoever may read it may run it
        is_executable = bool(present & 0o111)
        if is_executable != (entry.mode == EXECUTABLE):
            present = present | executable if not is_executable else present & ~0o111
        file.chmod(present)
    return file


def _put(file: Path, target: Path, mode: str, folder: Path) -> None:
    """Move a file of the state folder to its place in one step, also across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if mode == LINK:
        link = folder / "link.new"
        link.unlink(missing_ok=True)
        link.symlink_to(os.fsdecode(file.read_bytes()))
        link.replace(target)
        file.unlink()
        return
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f"{target.name}.aistart-new")
        shutil.copy2(file, beside)
        beside.replace(target)
        file.unlink()


def _describe(entry: Entry | None) -> dict[str, str] | None:
    if entry is None:
        return None
    return {"mode": entry.mode, "sha256": hashlib.sha256(entry.content).hexdigest()}


def _has_same_content(one: dict[str, str] | None, other: dict[str, str] | None) -> bool:
    """Whether both are the same but for the executable bit, which some file systems do not have."""
    if one is None or other is None:
        return one is other
    is_same_kind = (one["mode"] == LINK) == (other["mode"] == LINK)
    return is_same_kind and one["sha256"] == other["sha256"]


def _describe_change(change: Change) -> dict[str, Any]:
    before, after = _describe(change.before), _describe(change.after)
    return {"path": change.path, "before": before, "after": after}


def _free_path(path: Path) -> Path:
    """Return the path, or a numbered one beside it if something is there."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _remove_empty_tree(folder: Path) -> None:
    for current, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(current).rmdir()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_other = content.get("format") != _FORMAT
        missing = {"title", "changes", "record", "conflicts", "notes"} - content.keys()
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _broken_state_error(path, str(reason)) from None
    if is_other and "format" in content:
        raise AistartError(f"{path}: it was written by another version of aistart; use that one.")
    if is_other or missing:
        raise _broken_state_error(path, "it is not complete")
    return content


def _broken_state_error(path: Path, reason: str) -> AistartError:
    return AistartError(
        f"{path}: it cannot be read ({reason}); the files before the update are in "
        f"{path.with_name('backup')}: copy back what you need, then remove {path.parent}."
    )


def _write_flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(paths: Iterable[Path]) -> None:
    """Have files and folders on the disk, not only in memory, when this returns."""

    def flush(path: Path) -> None:
        with suppress(OSError):  # some file systems cannot flush folders
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    with ThreadPoolExecutor(_FLUSHING_THREADS) as pool:
        list(pool.map(flush, paths))
