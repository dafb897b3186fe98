"""Checkpoints: everything that training needs to resume exactly.

``checkpoints/step-00000120.npz`` is an archive of arrays and of ``state.json``. It is written
beside its place and renamed, by a thread of its own; each entry carries a checksum (CRC-32), which
is verified when it is read. The best weights so far are in a file of their own, which is written
when they have changed, before the first checkpoint that names it.
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

import ml_dtypes
import numpy as np

from .errors import Diverged, ProjectError
from .files import atomic_write

log = logging.getLogger(__name__)

STATE = "state.json"
BEST = "best"  # group of the best weights
BEST_STEP = "best_step"  # in the state: the step that they are of
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
        self._best_step: int | None = None  # whose weights are on disk

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
            arrays: groups of arrays by name, such as the network's weights; the group ``best`` is
                that of the step that the state has as ``best_step``.
            state: everything else, as JSON.

        Raises:
            Diverged: an array is not finite; nothing is written.
            ProjectError: the one before could not be written.
        """
        for array in arrays.values():
            if is_floating(array) and not np.isfinite(array).all():
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
        best = {key: array for key, array in arrays.items() if key.startswith(f"{BEST}/")}
        if best and state[BEST_STEP] != self._best_step:
            _write_arrays(best_path(self.folder, state[BEST_STEP]), best)
            self._best_step = state[BEST_STEP]
        text = np.frombuffer(json.dumps(state, allow_nan=False).encode(), "uint8")
        rest = {key: array for key, array in arrays.items() if key not in best}
        _write_arrays(checkpoint_path(self.folder, step), {STATE: text, **rest})
        self._prune()
        self._cost = time.monotonic() - began

    def _prune(self) -> None:
        """Remove all but the newest checkpoints, and the best weights that none of those needs."""
        files = _files(self.folder)
        for file in files[: -self.keep]:
            file.unlink(missing_ok=True)
        best = set(self.folder.glob("best-*.npz"))
        if len(best) < 2:
            return
        try:
            states = [_read_state(file) for file in files[-self.keep :]]
        except _DAMAGED:
            return  # whoever resumes reports and removes it
        needed = [state.get(BEST_STEP) for state in states]
        for file in best - {best_path(self.folder, step) for step in needed if step is not None}:
            file.unlink(missing_ok=True)


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


def best_path(folder: Path, step: int) -> Path:
    """Return the path of the best weights, if they are those of a step."""
    return folder / f"best-{step:08d}.npz"


def read(file: Path) -> Checkpoint:
    """Read and verify a checkpoint, with the best weights that it names."""
    arrays = _read_arrays(file)
    state = json.loads(arrays.pop(STATE).tobytes())
    if state.get(BEST_STEP) is not None:
        arrays |= _read_arrays(best_path(file.parent, state[BEST_STEP]))
    return Checkpoint(file, arrays, state)


def is_floating(array: np.ndarray) -> bool:
    """Return whether an array has floating-point numbers, of NumPy's types or bfloat16."""
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic_write(path) as beside:
        np.savez(beside, **arrays)  # type: ignore[arg-type]


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    # NumPy's files do not know bfloat16, and give its two bytes back without a type.
    return {k: a.view(ml_dtypes.bfloat16) if a.dtype.kind == "V" else a for k, a in arrays.items()}


def _read_state(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as stored:
        state: dict[str, Any] = json.loads(stored[STATE].tobytes())
    return state


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.npz"))


_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError)
