"""Atomic writes, and the root folder of the project."""

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ProjectError
from .locks import try_lock


def project_root() -> Path:
    """Return the nearest folder upwards that holds a ``pyproject.toml``, else the current one."""
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "pyproject.toml").is_file()), here)


def make_untracked_folder(path: Path) -> None:
    """Make a folder whose files git ignores; one that holds something already stays as it is."""
    path.mkdir(parents=True, exist_ok=True)
    if not any(path.iterdir()):
        (path / ".gitignore").write_text("*\n", encoding="utf-8")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a file to write to, which takes the place of ``path`` once it is safely on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: Keras chooses a format by it.
    handle, name = tempfile.mkstemp(prefix=".", suffix=f"-new{path.suffix}", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to write to, which takes the place of ``path`` once it is complete.

    Whatever interrupts it, ``path`` is the old folder or the new one; what a killed process has
    left beside it is removed by the next one.

    Args:
        path: of the folder; one that is there is replaced.

    Raises:
        ProjectError: another process is writing it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = try_lock(path.parent / f".{path.name}.lock")
    if lock is None:
        raise ProjectError(f"{path}: another process is writing it.")
    old = path.parent / f".{path.name}.old"
    with lock:
        for left in path.parent.glob(f".{glob.escape(path.name)}.new-*"):
            shutil.rmtree(left)
        if old.exists() and not path.exists():  # a process was killed between the two renames
            old.rename(path)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.new-", dir=path.parent))
        try:
            yield beside
            beside.chmod(0o777 & ~_umask())
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                path.rename(old)
            beside.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
