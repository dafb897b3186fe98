"""Files and folders on the disk: written, moved in one step, and flushed."""

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from aistart.update.trees import EXECUTABLE, LINK, Entry

_FLUSHING_THREADS = 32  # the file system commits what waits together at once


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def find_nearest_folder(folder: Path) -> Path:
    """Return the folder, or the innermost one around it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def read_permissions(path: Path) -> int | None:
    """Return the permissions of a file; None if there is none, or a link, which has no own ones."""
    if path.is_symlink() or not path.is_file():
        return None
    return stat.S_IMODE(path.stat().st_mode)


def store(file: Path, entry: Entry, permissions: int | None = None) -> Path:
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


def put(file: Path, target: Path, mode: str, folder: Path) -> None:
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


def find_free_path(path: Path) -> Path:
    """Return the path, or a numbered one beside it if something is there."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder, or what is empty in it."""
    for current, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(current).rmdir()


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file and have it on the disk when this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush(paths: Iterable[Path]) -> None:
    """Have files and folders on the disk, not only in memory, when this returns."""

    def flush_one(path: Path) -> None:
        with suppress(OSError):  # some file systems cannot flush folders
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    with ThreadPoolExecutor(_FLUSHING_THREADS) as pool:
        list(pool.map(flush_one, paths))
