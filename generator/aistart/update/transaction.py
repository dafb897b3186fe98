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

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from aistart.errors import AistartError
from aistart.staging import ignore_signals
from aistart.update.disk import (
    find_free_path,
    find_nearest_folder,
    flush,
    is_folder,
    put,
    read_permissions,
    remove_empty_folders,
    store,
    write_flushed,
)
from aistart.update.plan import Change, OpenConflict, Plan
from aistart.update.trees import LINK, STATE_FOLDER, Entry, read_entry, read_files

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_RECORD_FOLDER = ".aistart"
BACKUP = f"{STATE_FOLDER}/last/backup"  # of the last update, from the project's folder
_FORMAT = 1

Stage = Literal["applying", "undecided", "aborting"]


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
            flush([state, project / _RECORD_FOLDER])
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
        """Whether somebody has taken back all changes, as ``git checkout`` does, which leaves new
        files; where all are conflicts, that is how they were decided.
        """
        open_paths = {conflict.path for conflict in self.conflicts}
        changes = [
            change
            for change in self._plan["changes"]
            if change["before"] is not None
            and not _has_same_content(change["before"], change["after"])
        ]
        present = read_files(self.project, (change["path"] for change in changes))
        return any(change["path"] not in open_paths for change in changes) and all(
            _has_same_content(_describe(present.get(change["path"])), change["before"])
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
            flush([state])
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
                put(file, self.project / change["path"], change[wanted]["mode"], self._folder)
        flush({find_nearest_folder((self.project / change["path"]).parent) for change in changes})

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
        if is_folder(target):
            if change[wanted] is None:
                return False
            remove_empty_folders(target)
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
        kept = find_free_path(self._folder / "yours" / path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.project / path, kept)

    def _move_yours(self) -> list[str]:
        """Move what the user changed out of the folder that is removed, and return its paths."""
        yours, kept = self._folder / "yours", []
        for file in [path for path in yours.rglob("*") if path.is_symlink() or path.is_file()]:
            target = find_free_path(self._folder.parent / "yours" / file.relative_to(yours))
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
        write_flushed(self._folder / "stage.new", stage.encode())
        (self._folder / "stage.new").replace(self._folder / "stage")
        flush([self._folder])


def _write_down(project: Path, folder: Path, plan: Plan) -> None:
    files: list[Path] = []
    for change in [*plan.changes, *plan.record]:
        present = read_entry(project / change.path)
        if not _has_same_content(_describe(present), _describe(change.before)):
            raise AistartError(f"{change.path}: it changed while it was read; run it again.")
        permissions = read_permissions(project / change.path)
        if change.before is not None:
            files.append(store(folder / "backup" / change.path, change.before, permissions))
        if change.after is not None:
            if change.origin is not None:
                permissions = read_permissions(project / change.origin)
            files.append(store(folder / "new" / change.path, change.after, permissions))
    files += [store(folder / "theirs" / path, entry) for path, entry in plan.theirs.items()]
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
    flush([*files, *folders])


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
