"""Trees: the files of a render and of a project, by path, in git's terms."""

import os
import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aistart.errors import AistartError
from aistart.update.moves import find_moves, list_folders, list_parents, move_path
from aistart.update.scratch import run_git, scratch_repository

if TYPE_CHECKING:
    from aistart.project import Request
    from aistart.update.record import Record

FILE, EXECUTABLE, LINK = "100644", "100755", "120000"
# What stands in the way of the template's files and is never read or changed.
SUBMODULE, FOLDER = "160000", "040000"

RECORD_PATHS = (".aistart/answers.toml", ".aistart/pristine.xz")
STATE_FOLDER = ".aistart/update"  # of an update that is not complete
_MAX_SIZE = 1_000_000  # bytes; larger files of the user's are left where they are


@dataclass(frozen=True)
class Entry:
    """A file of a tree.

    Attributes:
        mode: ``100644``, ``100755`` or ``120000``; in the tree of a project also ``160000``, a
            submodule, and ``040000``, a folder that stands where the template has a file. The
            content of both is empty, and a merge never changes them.
        content: the bytes of the file, or the target of the link.
    """

    mode: str
    content: bytes

    @property
    def is_opaque(self) -> bool:
        """Whether it is a submodule or a folder, which are never read."""
        return self.mode in (SUBMODULE, FOLDER)


Tree = dict[str, Entry]  # by path in the project, with /; bytes that are no UTF-8 as in os.fsdecode


@dataclass(frozen=True)
class Conflict:
    """A file that a person has to look at.

    Attributes:
        path: in the merged tree, or where the template has a file that could not be placed.
        kind: ``content`` (the file has conflict markers); else the user's file stays as it is:
            ``binary``, ``lock``, ``link``, ``removed by the template``,
            ``renamed by the template``, ``in the way``.
        message: one line, for people.
        theirs: the template's file, if it has one.
    """

    path: str
    kind: str
    message: str
    theirs: Entry | None = None

    @property
    def has_markers(self) -> bool:
        """Whether the file has conflict markers; else the user's stays as it is."""
        return self.kind == "content"


@dataclass(frozen=True)
class MergeResult:
    """What a merge makes of a project's tree.

    Attributes:
        tree: what ``ours`` becomes, complete: a path that is only in ``ours`` is removed.
        conflicts: files with markers, and what stays as it is until a person decides.
        updated: unedited files that become the template's; those that it moved by their new path.
        merged: files with changes of both sides.
        new: files that only the template has.
        removed: unedited files that the template no longer has.
        kept: the template's files that the user edited and that stay as they are, or that the
            user deleted although the template changed them.
        moves: new paths of files of ``ours`` by their old ones.
    """

    tree: Tree
    conflicts: list[Conflict] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    moves: dict[str, str] = field(default_factory=dict)


def render_tree(request: "Request") -> Tree:
    """Render a project in a temporary folder, as ``create`` makes it, without its record.

    Args:
        request: the project. Nothing is written to its output folder.

    Raises:
        AistartError: the template does not render, or a hook of it fails.
    """
    from aistart.project import render_in_stage

    with render_in_stage(request) as project:
        tree = read_pristine(project, has_hooks=bool(request.hooks))
        if not request.hooks:
            return tree
        # Hooks may write down where the project lies.
        here, there = os.fsencode(project.resolve()), os.fsencode(request.target.resolve())
        return {
            path: replace(entry, content=entry.content.replace(here, there))
            for path, entry in tree.items()
        }


def read_pristine(project: Path, *, has_hooks: bool) -> Tree:
    """Read a project that was just rendered, without its record.

    Args:
        project: its folder.
        has_hooks: whether hooks took part: they may have made an environment or built something,
            which git ignores.
    """
    if has_hooks:
        with suppress(AistartError):  # without git, all files count
            tree = _read_paths(project, list_files(project))
            return {path: entry for path, entry in tree.items() if not entry.is_opaque}
    return _read_paths(project, walk_files(project))


def read_ours(
    project: Path, record: "Record", theirs: Tree, moves: Mapping[str, str] | None = None
) -> Tree:
    """Read the files of a project that take part in an update.

    These are the files at the paths of the template's old and new render. Of the user's others,
    those in folders that move or that the template no longer has, and those that may be a file of
    the template under a new name. Files that git ignores are not read, unless the template has the
    same path.

    Args:
        project: its folder.
        record: what it was made from.
        theirs: the new render.
        moves: as for ``merge``; files in folders that move are read whatever their size.

    Raises:
        AistartError: a file cannot be read, or git is not installed.
    """
    known = dict.fromkeys([*record.files, *theirs])
    tree: Tree = {}
    folders = _Folders(project)
    for path in known:
        obstacle = folders.find_obstacle(path)
        tree |= _read_paths(project, [obstacle or path])
        if obstacle is None and path in theirs and folders.holds_more(path, record.files):
            tree[path] = Entry(FOLDER, b"")
    others = [
        path
        for path in list_files(project)  # of which git may still know some behind a new link
        if path not in tree and folders.find_obstacle(path) is None
    ]
    folder_moves = find_moves(record.files, theirs, moves or {})
    gone_folders = list_folders(record.files) - list_folders(theirs)
    missing = [file.size for path, file in record.files.items() if path not in tree]

    def takes_part(path: str) -> bool:
        if move_path(path, folder_moves) != path:
            return True
        size = _size(project / path)
        if size > _MAX_SIZE:
            return False
        # Git takes files for the same if half of them is.
        may_be_renamed = any(size <= 2.5 * other and other <= 2.5 * size for other in missing)
        return may_be_renamed or not gone_folders.isdisjoint(list_parents(path))

    tree |= _read_paths(project, filter(takes_part, others))
    if all(entry.mode != FILE for entry in tree.values()):
        return {path: _with_known_mode(entry, record, path) for path, entry in tree.items()}
    return tree


def read_files(project: Path, paths: Iterable[str]) -> Tree:
    """Read the files and links at some paths; what lies behind a link or in another repository is
    not the project's.

    Raises:
        AistartError: one cannot be read.
    """
    folders = _Folders(project)
    tree = _read_paths(project, (path for path in paths if folders.find_obstacle(path) is None))
    return {path: entry for path, entry in tree.items() if not entry.is_opaque}


def _with_known_mode(entry: Entry, record: "Record", path: str) -> Entry:
    """Return the entry with its recorded mode: some file systems have no executable bit, and show
    all files as executable.
    """
    if entry.mode != EXECUTABLE:
        return entry
    mode = record.files[path].mode if path in record.files else FILE
    return replace(entry, mode=mode if mode in (FILE, EXECUTABLE) else FILE)


def list_files(project: Path) -> list[str]:
    """List the paths of the files that git does not ignore, whether it is a repository or not.

    Submodules and other repositories within the project are listed as one path.

    Raises:
        AistartError: git is not installed.
    """
    command = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    output = b""
    # A repository around the project may ignore the whole of it, or belong to somebody else.
    with suppress(AistartError):
        output = run_git(*command, folder=project)
    if not output:
        no_excludes = ("-c", f"core.excludesFile={os.devnull}")
        with scratch_repository() as git_dir:
            output = run_git(
                *(*no_excludes, *command), git_dir=git_dir, folder=project, work_tree=project
            )
    paths = (os.fsdecode(path).rstrip("/") for path in output.split(b"\0") if path)
    return [path for path in dict.fromkeys(paths) if not _is_of_record(path)]


class _Folders:
    """The folders of a project, each of which is looked at once."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._obstacles: dict[str, str | None] = {"": None}

    def find_obstacle(self, path: str) -> str | None:
        """Return what prevents that files lie at a path: a file, link or submodule where a folder
        should be. None if nothing does.
        """
        parent = path.rpartition("/")[0]
        if parent not in self._obstacles:
            outer = self.find_obstacle(parent)
            folder = self._project / parent
            is_obstacle = os.path.lexists(folder) and (
                folder.is_symlink() or not folder.is_dir() or os.path.lexists(folder / ".git")
            )
            self._obstacles[parent] = outer or (parent if is_obstacle else None)
        return self._obstacles[parent]

    def holds_more(self, path: str, known: Container[str]) -> bool:
        """Whether a folder stands at a path, and holds files other than the known ones."""
        folder = self._project / path
        if folder.is_symlink() or not folder.is_dir():
            return False
        return any(f"{path}/{name}" not in known for name in walk_files(folder))


def walk_files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files and links, except those of ``.git`` and of the record."""
    for root, folders, files in os.walk(folder):
        prefix = Path(root).relative_to(folder).as_posix()
        links = [name for name in folders if Path(root, name).is_symlink()]
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted([*files, *links]):
            path = name if prefix == "." else f"{prefix}/{name}"
            if not _is_of_record(path):
                yield path


def _is_of_record(path: str) -> bool:
    return path in RECORD_PATHS or path.startswith((f"{STATE_FOLDER}/", ".git/"))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _read_paths(folder: Path, paths: Iterable[str]) -> Tree:
    """Read files, links and submodules; other paths, and those that do not exist, are left out.

    Raises:
        AistartError: one cannot be read.
    """
    tree: Tree = {}
    for path in paths:
        try:
            entry = read_entry(folder / path)
        except OSError as error:
            raise AistartError(f"{path}: it cannot be read: {error.strerror}.") from None
        if entry is not None:
            tree[path] = entry
        elif os.path.lexists(folder / path / ".git"):
            tree[path] = Entry(SUBMODULE, b"")
    return tree


def read_entry(path: Path) -> Entry | None:
    """Read a file or a link; None if there is neither.

    Raises:
        OSError: it cannot be read.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        target = os.readlink(path)  # noqa: PTH115 - Path.readlink changes it: ./x becomes x
        return Entry(LINK, os.fsencode(target))
    if not stat.S_ISREG(mode):
        return None
    return Entry(EXECUTABLE if mode & stat.S_IXUSR else FILE, path.read_bytes())
