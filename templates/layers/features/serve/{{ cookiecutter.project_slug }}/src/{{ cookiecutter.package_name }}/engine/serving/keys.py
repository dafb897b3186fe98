"""API keys: a file with a hash of each, made by ``serve keys add NAME``.

A key is 32 random bytes. SHA-256 is enough for those: slow hashes such as scrypt protect passwords
that can be guessed, and nobody guesses 256 bits; they would cost each request tens of milliseconds.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DataProblem, UsageProblem, unknown
from . import request_log
from .names import check_name

LOOK_SECONDS = 1.0  # after which a change of the file counts


class Keys:
    """The keys of a file, which is read again when it changes.

    Raises:
        DataProblem: the file is missing or malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)  # before it is read: what is written meanwhile is read again
        self._entries = _read(path)
        self._looked = time.monotonic()
        self._problem = ""  # that was logged last

    def find(self, key: str) -> str | None:
        """Return the name of a key; None if it is no key."""
        self._refresh()
        digest = _hash(key)
        found = None
        for entry in self._entries:  # all of them, so that the time tells nothing
            if hmac.compare_digest(entry["sha256"], digest):
                found = str(entry["name"])
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        stamp = _stamp(self.path)
        if stamp == self._stamp and not self._problem:
            return
        self._stamp, problem = stamp, ""
        try:
            self._entries = _read(self.path)
        except DataProblem as error:
            self._entries, problem = [], str(error)  # of a file that cannot be read, no key counts
        if problem and problem != self._problem:
            text = "no key is valid: the file of keys cannot be read"
            request_log.events.error(text, extra={"facts": {"reason": problem}})
        self._problem = problem

    @property
    def is_open(self) -> bool:
        """Whether anybody on this machine may read the file."""
        return bool(self.path.stat().st_mode & stat.S_IROTH)


def add(path: Path, name: str) -> str:
    """Make a key, keep its hash, and return it.

    Args:
        path: of the file, which is made if there is none.
        name: whose key it is.

    Raises:
        UsageProblem: the name is not allowed or taken.
    """
    check_name(name, "keys")
    entries = _read(path) if path.exists() else []
    if any(entry["name"] == name for entry in entries):
        raise UsageProblem(f"keys: {name!r} has a key; remove it first: serve keys remove {name}.")
    key = secrets.token_urlsafe(32)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    _write(path, [*entries, {"name": name, "sha256": _hash(key), "made": made}])
    return key


def remove(path: Path, name: str) -> None:
    """Remove a key; a running service refuses it a second later.

    Args:
        path: of the file.
        name: whose key it is.

    Raises:
        UsageProblem: nobody of this name has a key.
    """
    entries = _read(path)
    kept = [entry for entry in entries if entry["name"] != name]
    if len(kept) == len(entries):
        raise unknown("keys", name, [str(entry["name"]) for entry in entries])
    _write(path, kept)


def names(path: Path) -> list[str]:
    """Return whose keys the file has, oldest first."""
    return [str(entry["name"]) for entry in _read(path)]


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["keys"]
        if all(isinstance(e["name"], str) and len(e["sha256"]) == 64 for e in entries):
            return list(entries)
    except FileNotFoundError:
        raise DataProblem(
            f"serve.keys_file: {str(path)!r} does not exist; make a key: serve keys add NAME."
        ) from None
    except OSError as error:
        raise DataProblem(
            f"serve.keys_file: {str(path)!r} cannot be read: {error.strerror}."
        ) from None
    except (ValueError, KeyError, TypeError):
        pass
    raise DataProblem(f"serve.keys_file: {str(path)!r} is no file of keys.")


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write the file in one step; a new one is its owner's alone, an old one keeps its rights.

    Raises:
        DataProblem: it belongs to another user, who could not read it afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    beside = Path(name)
    try:
        if path.exists():
            before = path.stat()
            beside.chmod(stat.S_IMODE(before.st_mode))
            try:
                os.chown(handle, before.st_uid, before.st_gid)
            except PermissionError:
                os.close(handle)
                raise DataProblem(
                    f"serve.keys_file: {str(path)!r} belongs to another user; "
                    "change it as that user."
                ) from None
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps({"keys": entries}, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
