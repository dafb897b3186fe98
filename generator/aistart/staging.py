"""Temporary folders for unfinished work, removed however the program ends."""

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

_STAGE_NAME = re.compile(r"\.aistart-[0-9a-f]{16}")

# SIGHUP, where it exists, is sent when the terminal is closed.
_TERMINATION_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
]

_REMOVAL_ATTEMPTS = 40
_REMOVAL_PAUSE = 0.05  # seconds


class SignalExit(SystemExit):
    """A termination signal ends the program, with exit code 128 + its number."""


@contextmanager
def staging_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a new folder and remove it at the end, also after Ctrl-C or SIGTERM at any moment.

    The folder is locked while it is in use. Folders beside it that killed programs left behind
    are removed first.

    Args:
        parent: folder to make it in; default: the system's temporary folder.

    Yields:
        the new folder.
    """
    parent = parent or Path(tempfile.gettempdir())
    remove_stale_stages(parent)
    stage = parent / f".aistart-{secrets.token_hex(8)}"
    # A signal that is ignored, for example under nohup, stays ignored.
    handled = [
        number for number in _TERMINATION_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
    ]
    handlers = {number: _set_handler(number, _exit_on_signal) for number in handled}
    lock = None
    try:
        try:
            lock = _make_locked_folder(stage)
            yield stage
        finally:
            _remove_tree(stage)
    finally:
        # A signal during the removal above interrupts it; this second removal is complete.
        _remove_tree(stage)
        if lock is not None:
            os.close(lock)
        for number, handler in handlers.items():
            _set_handler(number, handler)


def remove_stale_stages(parent: Path) -> None:
    """Remove the user's staging folders in ``parent`` that no running program has locked.

    Killed programs leave them behind. Whatever cannot be removed is skipped without an error.
    """
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(parent) as entries:
        for stage in [Path(entry.path) for entry in entries if _STAGE_NAME.fullmatch(entry.name)]:
            _remove_unless_locked(stage)


def _make_locked_folder(stage: Path) -> int | None:
    """Make the folder and lock it.

    Returns:
        the descriptor that holds the lock, which the kernel releases however the program ends;
        None where there are no locks.
    """
    if fcntl is None:
        stage.mkdir()
        return None
    while True:
        stage.mkdir()
        with suppress(FileNotFoundError):  # another program removed it before it was locked
            descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # NFS, for one, cannot lock folders: nothing is removed there
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_same_folder(stage, os.fstat(descriptor)):
                return descriptor
            os.close(descriptor)


def _remove_unless_locked(stage: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            status = os.fstat(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another program may have removed it meanwhile, and its owner made it again.
            if status.st_uid == os.geteuid() and _is_same_folder(stage, status):
                shutil.rmtree(stage)
        finally:
            os.close(descriptor)


@contextmanager
def create_in_place(folder: Path) -> Iterator[Callable[[], Path | None]]:
    """Make a folder, or take over an empty one; undo it if the block fails or a signal ends it.

    Use it within ``staging_folder``, which turns termination signals into exceptions.

    Yields:
        a function that returns where the folder is now: a program that runs in it may rename it.
        It returns None if the folder is gone.
    """
    mode = folder.stat().st_mode if folder.exists() else None
    if mode is None:
        folder.mkdir()
    identity = folder.stat()
    is_complete = False

    def find() -> Path | None:
        if folder.exists():
            return folder
        siblings = folder.parent.iterdir()
        return next((path for path in siblings if _is_same_folder(path, identity)), None)

    def undo() -> None:
        current = None if is_complete else find()
        if current is None:
            return
        _remove_tree(current)
        if mode is not None:
            folder.mkdir()
            folder.chmod(mode)

    try:
        try:
            yield find
            is_complete = True
        finally:
            undo()
    finally:
        if mode is None:
            undo()  # again, as in ``staging_folder``


def _is_same_folder(path: Path, identity: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(path.lstat(), identity)
    return False


def _remove_tree(folder: Path) -> None:
    """Remove a folder with all signals ignored, waiting for programs that still write into it."""
    with ignore_signals():
        for _ in range(_REMOVAL_ATTEMPTS):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            # A signal may arrive while a child such as git starts, before we know its process.
            time.sleep(_REMOVAL_PAUSE)


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore Ctrl-C and termination signals for the moment that a step takes to be complete."""
    numbers = (signal.SIGINT, *_TERMINATION_SIGNALS)
    handlers = {number: _set_handler(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            _set_handler(number, handler)


def _set_handler(number: signal.Signals, handler: Any) -> Any:
    """Set a signal's handler and return the previous one.

    Only the main thread can set handlers; in others this does nothing and returns None, and so it
    does where ``handler`` is None.
    """
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(number, handler)


def _exit_on_signal(number: int, frame: object) -> None:
    raise SignalExit(128 + number)
