"""Checkpoints: everything that training needs to resume exactly.

``checkpoints/step-00000120.npz`` is an archive of arrays and of ``state.json``. It is written
beside its place and renamed, by a thread of its own; each entry carries a checksum (CRC-32), which
is verified when it is read.
"""

import io
import json
import logging
import time
import zipfile
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Diverged, ProjectError
from .files import atomic_write

log = logging.getLogger(__name__)

STATE = "state.json"
COST = 0.01  # share of the time that checkpoints between two due ones may take


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    file: Path
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]

    def group(self, name: str) -> list[np.ndarray]:
        """Return the arrays ``NAME/0000``, ``NAME/0001``, …"""
        return [self.arrays[key] for key in sorted(self.arrays) if key.startswith(f"{name}/")]


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they are.
        keep: how many of the newest stay.
        every_steps: steps between two; None: by time.
        every_seconds: seconds between two. At the end of an epoch there is one earlier, where
            that costs little.
    """

    def __init__(
        self, folder: Path, keep: int, every_steps: int | None, every_seconds: float
    ) -> None:
        self.folder, self.keep = folder, keep
        self.every_steps, self.every_seconds = every_steps, every_seconds
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def is_due(self, step: int, *, epoch_ended: bool) -> bool:
        """Return whether to write a checkpoint after this step.

        Args:
            step: global steps so far.
            epoch_ended: whether the step was the last one of its epoch.
        """
        if self.every_steps:
            return step % self.every_steps == 0
        passed = time.monotonic() - self._saved_at
        is_cheap = passed * COST >= self._cost
        return passed >= self.every_seconds or (epoch_ended and is_cheap)

    def save(self, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Begin to write a checkpoint in the background; the arrays must not change any more.

        Args:
            step: global steps so far.
            arrays: groups of arrays by name, such as the network's weights.
            state: everything else, as JSON.

        Raises:
            Diverged: an array is not finite; nothing is written.
            ProjectError: the one before could not be written.
        """
        for array in arrays.values():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise Diverged(
                    f"training diverged: weights are not finite after step {step}"
                    f"{describe_last(self.folder)}"
                )
        self.wait()
        self._saved_at = time.monotonic()
        self._writing = self._writer.submit(self._write, step, arrays, state)

    def wait(self) -> None:
        """Wait until the checkpoint that is being written is on disk.

        Raises:
            ProjectError: it could not be written; those before it are whole.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except OSError as error:
            raise ProjectError(
                f"checkpoint: {str(self.folder)!r} cannot be written: {error.strerror}"
                f"{describe_last(self.folder)}"
            ) from error

    def _write(self, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        began = time.monotonic()
        with atomic_write(checkpoint_path(self.folder, step)) as beside:
            text = np.frombuffer(json.dumps(state, allow_nan=False).encode(), "uint8")
            np.savez(beside, **{STATE: text}, **arrays)  # type: ignore[arg-type]
        for file in _files(self.folder)[: -self.keep]:
            file.unlink(missing_ok=True)
        self._cost = time.monotonic() - began


def read_newest(folder: Path) -> Checkpoint | None:
    """Return the newest readable checkpoint. Damaged ones are reported and removed."""
    for file in reversed(_files(folder)):
        try:
            return read(file)
        except _DAMAGED as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("%s is damaged (%s); the one before it is used", file, reason)
            file.unlink(missing_ok=True)
    return None


def describe_last(folder: Path) -> str:
    """Return which checkpoint is the newest one on disk, for the end of a message."""
    files = _files(folder)
    return f"; the last good checkpoint is {files[-1]}." if files else "; there is no checkpoint."


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step."""
    return folder / f"step-{step:08d}.npz"


def read(file: Path) -> Checkpoint:
    """Read and verify a checkpoint."""
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    state = json.loads(arrays.pop(STATE).tobytes())
    return Checkpoint(file, arrays, state)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.npz"))


_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError)
