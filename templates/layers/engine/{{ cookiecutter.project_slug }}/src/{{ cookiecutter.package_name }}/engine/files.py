"""Atomic writes, and the root folder of the project."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def project_root() -> Path:
    """Return the nearest folder upwards that holds a ``pyproject.toml``, else the current one."""
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "pyproject.toml").is_file()), here)


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
