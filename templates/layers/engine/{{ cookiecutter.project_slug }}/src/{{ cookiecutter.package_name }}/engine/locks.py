"""Locks between processes, which end with the process that holds them."""

import logging
import os
import socket
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


class Lock:
    """A lock that is held until ``close`` is called."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def try_lock(file: Path, shared: bool = False) -> Lock | None:
    """Return a lock on the file, which is created if missing; None if another process holds it.

    Args:
        shared: several processes may have it together, but none of them with one that has it alone.
    """
    opened = file.open("w")
    if fcntl is None:
        return Lock(opened.close)
    try:
        fcntl.flock(opened, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        opened.close()
        return None
    except OSError as error:  # some network storage has no locks (ENOSYS, ENOLCK, EOPNOTSUPP)
        opened.close()
        if shared:
            return Lock(lambda: None)
        return _try_owner_file(file.with_name(f"{file.name}.owner"), str(error.strerror))
    return Lock(opened.close)


def wait_lock(file: Path) -> Lock:
    """Wait until no other process holds the lock on the file, and return it."""
    while (lock := try_lock(file)) is None:
        time.sleep(0.1)
    return lock


def _try_owner_file(owner: Path, reason: str) -> Lock | None:
    """A lock by a file that names host and process: it is good among processes of one host."""
    _warn(reason)
    host = socket.gethostname()
    if owner.is_file():
        their_host, _, process = owner.read_text().partition(" ")
        if their_host == host and process.isdigit() and _is_running(int(process)):
            return None
    owner.write_text(f"{host} {os.getpid()}")
    return Lock(lambda: owner.unlink(missing_ok=True))


def _is_running(process: int) -> bool:
    # After a container is started again, its processes have the numbers that they had.
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


@cache
def _warn(reason: str) -> None:
    log.warning(
        "this storage has no locks (%s): do not work on one run from several machines at once",
        reason,
    )
