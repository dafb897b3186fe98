"""API keys: a file with a hash of each, made by ``serve keys add NAME``.

A key is 32 random bytes. SHA-256 is enough for those: slow hashes such as scrypt protect passwords
that can be guessed, and nobody guesses 256 bits; they would cost each request tens of milliseconds.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DataProblem, UsageProblem, unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOOK_SECONDS = 1.0  # after which a change of the file counts


class Keys:
    """The keys of a file, which is read again when it changes.

    Raises:
        DataProblem: the file is missing or malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = _read(path)
        self._stamp = _stamp(path)
        self._looked = time.monotonic()

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
        if (stamp := _stamp(self.path)) == self._stamp:
            return
        try:
            self._entries = _read(self.path)
        except DataProblem:
            self._entries = []  # of a file that is gone or damaged, no key counts
        self._stamp = stamp


def add(path: Path, name: str) -> str:
    """Make a key, keep its hash, and return it.

    Args:
        path: of the file, which is made if there is none.
        name: whose key it is.

    Raises:
        UsageProblem: the name is not allowed or taken.
    """
    if not NAME.fullmatch(name):
        raise UsageProblem(
            f"keys: {name!r} is no name; allowed are letters, digits, '.', '_' and '-'."
        )
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
    except (ValueError, KeyError, TypeError):
        pass
    raise DataProblem(f"serve.keys_file: {str(path)!r} is no file of keys.")


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)  # nobody else may read it
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps({"keys": entries}, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
