"""Prepared examples (decoded, resized, tokenised) kept in memory or on disk, by position.

A cache holds every example of a split once, in the split's order, so any shuffling can read it.
On disk it is one ``.npy`` file, named after what it was made from and used again by later runs.
While it is being made it is a ``.part``, and a ``.json`` says how much of that is safely on disk:
whoever is interrupted goes on from there.
"""

import errno
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf

from .errors import ProjectError, UsageProblem
from .files import project_root, write_json
from .interfaces import Preprocessing, Split
from .locks import Lock, try_lock
from .strategy import Strategy

log = logging.getLogger(__name__)

CHUNK = 256  # examples prepared at a time, at most
CHUNK_BYTES = 4 * 2**20  # of them; a signal is heard after each chunk
AUTO_LIMIT = 2**30  # bytes that ``auto`` keeps in memory
MAX_DISK = 20 * 2**30  # bytes on disk beyond which the caches not used for longest are removed
STALE = 24 * 3600.0  # seconds after which what was begun and left is removed
SYNC = 2.0  # seconds of preparing that a crash of the machine may cost
PATIENCE = 300.0  # seconds to wait for another process that does not get on


def cache_split(
    split: Split,
    preprocessing: Preprocessing,
    mode: str,
    digest: str,
    writes: bool = True,
    check: Callable[[], None] = lambda: None,
) -> Split:
    """Return the split with a ``fetch`` that returns prepared examples.

    Args:
        mode: ``auto``, ``memory``, ``disk`` or ``none`` (prepare each time anew).
        digest: identifies the split's examples; together with the preprocessing it names the cache.
        writes: whether this process may write the cache on disk; else it waits for one that does.
        check: called between chunks; what it raises leaves preparing.

    Raises:
        ProjectError: the disk is full, or the process that writes the cache does not get on.
    """
    ready = _store(split, preprocessing, mode, digest, writes, check)
    return replace(ready, lengths=_lengths(ready, preprocessing, check))


def writes_cache(strategy: Strategy) -> bool:
    """Return whether this process writes caches: the chief, and workers with a disk of their own.

    All processes of a run must call it.
    """
    if strategy.processes == 1:
        return True
    folder = _folder()
    mark = f".chief-{secrets.token_hex(8)}"
    if strategy.is_chief:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()
    seen = (folder / strategy.broadcast(mark)).is_file()
    strategy.wait_for_all()  # all have looked
    if strategy.is_chief:
        (folder / mark).unlink()
    return strategy.is_chief or not seen


def _store(
    split: Split,
    preprocessing: Preprocessing,
    mode: str,
    digest: str,
    writes: bool,
    check: Callable[[], None],
) -> Split:
    fresh = replace(split, fetch=lambda positions: preprocessing.prepare(split.fetch(positions)))
    if mode == "none" or split.in_memory or len(split) == 0:
        return fresh
    source = _Source(split, preprocessing)
    if mode == "disk" or (mode == "auto" and source.bytes > AUTO_LIMIT):
        if isinstance(source.spec, dict):
            return _refuse_entries(fresh, mode)
        file = _file_for(preprocessing, digest)
        return replace(split, fetch=_from_disk(file, source, writes, check))
    log.info("Preparing %d examples in memory (%.0f MB)", len(split), source.bytes / 1e6)
    rows = tf.nest.map_structure(source.make_empty, source.spec)
    start = 0
    for chunk in source.chunks():
        entries = list(zip(tf.nest.flatten(rows), tf.nest.flatten(chunk), strict=True))
        for entry, part in entries:
            entry[start : start + len(part)] = part
        start += len(entries[0][1])
        check()
    with tf.device("CPU:0"):
        stored = tf.nest.map_structure(tf.constant, rows)

    def fetch(positions: tf.Tensor) -> Any:
        return tf.nest.map_structure(lambda entry: tf.gather(entry, positions), stored)

    return replace(split, fetch=fetch, in_memory=True)


def _refuse_entries(fresh: Split, mode: str) -> Split:
    """Return the split that prepares anew, since a file of a cache has one array.

    Raises:
        UsageProblem: a cache on disk is requested.
    """
    if mode == "disk":
        raise UsageProblem(
            "data.cache: 'disk' is for examples that are one array, and those of this project have "
            "several entries; use 'memory' or 'none'."
        )
    return fresh


def _lengths(
    ready: Split, preprocessing: Preprocessing, check: Callable[[], None]
) -> np.ndarray | dict[str, np.ndarray] | None:
    """Lengths (size,) int32 of prepared examples, or such by entry; None: all have one shape."""
    if preprocessing.lengths is None or len(ready) == 0:
        return None
    lengths = []
    for start in range(0, len(ready), CHUNK):
        end = min(start + CHUNK, len(ready))
        chunk = ready.fetch(tf.range(start, end, dtype=tf.int64))
        found = preprocessing.lengths(chunk)
        if found is None:
            return None
        lengths.append(tf.nest.map_structure(lambda part: np.asarray(part, "int32"), found))
        check()
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *lengths)


class _Source:
    """A split's examples, to be prepared chunk by chunk.

    Attributes:
        spec: of a chunk, or by entry.
        bytes: of all prepared examples.
        shape, dtype: of all prepared examples that are one array.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing) -> None:
        self.split, self.preprocessing = split, preprocessing
        self.spec = self._dataset(0, CHUNK).element_spec
        specs = tf.nest.flatten(self.spec)
        self.row_bytes = sum(spec.dtype.size * int(np.prod(spec.shape[1:])) for spec in specs)
        self.bytes = len(split) * self.row_bytes

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.split), *self.spec.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.spec.dtype.as_numpy_dtype)

    def make_empty(self, spec: tf.TensorSpec) -> np.ndarray:
        """Return an array for an entry of all prepared examples."""
        return np.empty((len(self.split), *spec.shape[1:]), spec.dtype.as_numpy_dtype)

    def chunks(self, first: int = 0) -> Iterator[Any]:
        """Prepared examples (chunk, …), from the example ``first`` on."""
        size = max(1, min(CHUNK, CHUNK_BYTES // max(1, self.row_bytes)))
        return self._dataset(first, size).as_numpy_iterator()

    def _dataset(self, first: int, chunk_size: int) -> tf.data.Dataset:
        size = len(self.split)

        def chunk(start: tf.Tensor) -> tf.Tensor:
            positions = tf.range(start, tf.minimum(start + chunk_size, size))
            return self.preprocessing.prepare(self.split.fetch(positions))

        starts = tf.data.Dataset.range(first, size, chunk_size)
        return starts.map(chunk, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


# === On disk ===


def _folder() -> Path:
    return project_root() / ".cache" / "prepared"


def _file_for(preprocessing: Preprocessing, digest: str) -> Path:
    made_from = json.dumps([digest, preprocessing.to_config()], sort_keys=True)
    name = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    return _folder() / f"{name}.npy"


def _lock_of(file: Path, shared: bool = False) -> Lock | None:
    """The lock on a file of a cache: those that read it share it, who writes it has it alone."""
    folder = file.parents[1] / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return try_lock(folder / f"{file.name}.lock", shared)


def _from_disk(
    file: Path, source: _Source, writes: bool, check: Callable[[], None]
) -> Callable[[tf.Tensor], tf.Tensor]:
    stored = _open(file, source, writes, check)

    def fetch(positions: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(stored.read, [positions], source.spec.dtype, False)
        return tf.ensure_shape(batch, source.spec.shape)

    return fetch


def _open(file: Path, source: _Source, writes: bool, check: Callable[[], None]) -> "_Rows":
    """A cache on disk, which this process or another one makes first where it is missing."""
    part = _Part(file, source)
    seen, since = None, time.monotonic()
    while True:
        lock = _lock_of(file, shared=True)
        if lock and file.is_file():
            os.utime(file)  # it was used now
            return _Rows(np.load(file, mmap_mode="r"), lock)
        if lock:
            lock.close()
        writer = _lock_of(part.path) if writes else None
        if writer:
            with writer:
                if not file.is_file():
                    part.write(check)
            continue
        check()
        if (size := part.size()) != seen:
            seen, since = size, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise ProjectError(
                f"data.cache: another process that prepares {str(file)!r} has not got on for "
                f"{PATIENCE:.0f} seconds; end it, or use data.cache none."
            )
        time.sleep(0.2)


@dataclass(frozen=True)
class _Rows:
    """The rows of a cache, and the lock that keeps it while they may be read."""

    rows: np.ndarray
    lock: Lock

    def read(self, positions: np.ndarray) -> np.ndarray:
        return self.rows[positions]


@dataclass(frozen=True)
class _Part:
    """A cache that is being made: the head and the first rows of its file."""

    file: Path
    source: _Source

    @property
    def path(self) -> Path:
        return self.file.with_suffix(".part")

    @property
    def progress(self) -> Path:
        return self.file.with_suffix(".json")

    def size(self) -> int | None:
        """Bytes on disk, if it was begun."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_size
        return None

    def remove(self) -> None:
        self.progress.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def write(self, check: Callable[[], None]) -> None:
        """Make the cache, from where it was left on.

        Raises:
            ProjectError: there is no room for it; nothing of it stays.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        done, total = self._rows_done(), len(self.source.split)
        log.info(
            "Preparing %d examples on disk (%.0f MB)%s: %s",
            total,
            self.source.bytes / 1e6,
            f", {done} of them are there" if done else "",
            self.file,
        )
        try:
            _make_room(self.file, (total - done) * self.source.row_bytes)
            self._write_rows(done, check)
            self.path.replace(self.file)
        except OSError as error:
            self.remove()
            raise ProjectError(
                f"data.cache: {self.source.bytes / 1e6:.0f} MB of prepared examples cannot be "
                f"written to {str(self.file.parent)!r}: {error.strerror}; make room, or use "
                "data.cache none."
            ) from error
        self.progress.unlink(missing_ok=True)

    def _rows_done(self) -> int:
        """Rows that are safely on disk."""
        try:
            rows = json.loads(self.progress.read_text(encoding="utf-8"))["rows"]
            whole = self.path.stat().st_size >= self._head_bytes() + rows * self.source.row_bytes
            return rows if whole else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _write_rows(self, done: int, check: Callable[[], None]) -> None:
        # Ordinary writes: a memory map of a full disk would end the process without a word.
        with self.path.open("r+b" if done else "wb") as opened:
            self._write_head(opened)
            opened.seek(done * self.source.row_bytes, os.SEEK_CUR)
            opened.truncate()
            try:
                synced = time.monotonic()
                for chunk in self.source.chunks(done):
                    opened.write(chunk.tobytes())
                    done += len(chunk)
                    if time.monotonic() - synced > SYNC:
                        self._note(opened, done)
                        synced = time.monotonic()
                    check()
            except ProjectError:  # interrupted
                self._note(opened, done)
                raise
            opened.flush()
            os.fsync(opened.fileno())

    def _note(self, opened: BinaryIO, done: int) -> None:
        """Put the rows safely on disk, then say so."""
        opened.flush()
        os.fsync(opened.fileno())
        write_json(self.progress, {"rows": done})

    def _write_head(self, opened: BinaryIO) -> None:
        descr = np.lib.format.dtype_to_descr(self.source.dtype)
        head = {"descr": descr, "fortran_order": False, "shape": self.source.shape}
        np.lib.format.write_array_header_1_0(opened, head)

    def _head_bytes(self) -> int:
        opened = io.BytesIO()
        self._write_head(opened)
        return opened.tell()


def _make_room(file: Path, needed: int) -> None:
    """Remove what was begun and left, and caches not used for long while there is no room.

    Raises:
        OSError: there is none.
    """
    others = []
    for other in file.parent.iterdir():
        with suppress(FileNotFoundError):  # another process makes room too
            found = other.stat()
            if other.stem != file.stem:
                others.append((found.st_mtime, found.st_size, other))
    total = sum(size for _, size, _ in others)
    for used, size, other in sorted(others):
        is_stale = other.suffix != ".npy" and time.time() - used > STALE
        has_room = total + needed <= MAX_DISK and needed <= shutil.disk_usage(file.parent).free
        if has_room and not is_stale:
            continue
        lock = _lock_of(other.with_suffix(".part") if other.suffix == ".json" else other)
        if lock is None:
            continue
        with lock:
            other.unlink(missing_ok=True)
        total -= size
        log.info("Removed %s (%.0f MB), which was not used for long", other, size / 1e6)
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"only {free / 1e6:.0f} MB are free")
