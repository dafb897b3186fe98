"""Folders for what is not finished, which are gone afterwards however the program ends."""

import os
import re
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STAGE = re.compile(r"\.aistart-[0-9a-f]{16}")

# SIGHUP, where there is one, comes when the terminal is closed.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

_TRIES = 40
_PAUSE = 0.05  # seconds


class Ended(SystemExit):
    """A signal ends the program."""


@contextmanager
def staged(folder: Path | None = None) -> Iterator[Path]:
    """A new folder that is gone afterwards, also after Ctrl-C or SIGTERM at any moment. It is
    locked, so that ``sweep`` tells it from one that a killed program left.

    Args:
        folder: to make it in; None: among the temporary files.
    """
    stage = (folder or Path(tempfile.gettempdir())) / f".aistart-{secrets.token_hex(8)}"
    # One that is ignored, as by nohup, stays so.
    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: _on_signal(number, _leave) for number in heard}
    held = None
    try:
        try:
            held = _make_locked(stage)
            yield stage
        finally:
            _removed(stage)
    finally:
        # A signal that fell into the line above has ended it; the second one is complete.
        _removed(stage)
        if held is not None:
            os.close(held)
        for number, handler in before.items():
            _on_signal(number, handler)


def sweep(folder: Path) -> None:
    """Remove the user's stages in a folder that programs left when they were killed; those in use,
    and what cannot be removed, stay."""
    if fcntl is None:
        return
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if _STAGE.fullmatch(path.name):
                _remove_unused(path)


def _make_locked(stage: Path) -> int | None:
    """Make the folder and lock it.

    Returns:
        the descriptor that holds the lock, which the kernel frees however the program ends;
        None: there are no locks.
    """
    if fcntl is None:
        stage.mkdir()
        return None
    while True:
        stage.mkdir()
        with suppress(FileNotFoundError):  # swept before it was locked
            held = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # NFS, for one, locks no folders: nothing is swept there
                fcntl.flock(held, fcntl.LOCK_EX)
            if _is_at(stage, os.fstat(held)):
                return held
            os.close(held)


def _remove_unused(stage: Path) -> None:
    with suppress(OSError):
        held = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(held)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another sweeper may have removed it before, and its maker begun anew.
            if found.st_uid == os.geteuid() and _is_at(stage, found):
                shutil.rmtree(stage)
        finally:
            os.close(held)


@contextmanager
def made_in_place(folder: Path) -> Iterator[Callable[[], Path | None]]:
    """Within ``staged``: make a folder, or take one that is empty, and leave all as it was if what
    follows fails or is ended by a signal.

    Yields:
        where the folder is, which a program that runs in it may have renamed; None: it is gone.
    """
    mode = folder.stat().st_mode if folder.exists() else None
    if mode is None:
        folder.mkdir()
    made = folder.stat()
    is_done = False

    def find() -> Path | None:
        if folder.exists():
            return folder
        return next((path for path in folder.parent.iterdir() if _is_at(path, made)), None)

    def undo() -> None:
        found = None if is_done else find()
        if found is None:
            return
        _removed(found)
        if mode is not None:
            folder.mkdir()
            folder.chmod(mode)

    try:
        try:
            yield find
            is_done = True
        finally:
            undo()
    finally:
        if mode is None:
            undo()  # as in ``staged``


def _is_at(path: Path, made: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(path.lstat(), made)
    return False


def _removed(stage: Path) -> None:
    before = {number: _on_signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_ENDING)}
    for _ in range(_TRIES):
        shutil.rmtree(stage, ignore_errors=True)
        if not stage.exists():
            break
        time.sleep(_PAUSE)  # a signal may have come before git, say, was known to have started
    for number, handler in before.items():
        _on_signal(number, handler)


def _on_signal(number: signal.Signals, handler: Any) -> Any:
    """Set what a signal does, and return what it did; None, if nothing was set: only the main
    thread can."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    raise Ended(128 + number)
