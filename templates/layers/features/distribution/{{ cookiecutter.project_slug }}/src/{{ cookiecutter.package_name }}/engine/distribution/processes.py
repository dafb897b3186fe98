"""Processes of one run, on one machine or several: messages, and the loss of one of them."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import (
    OutOfDeviceMemory,
    ProjectError,
    WorkerLost,
    describe,
    is_out_of_device_memory,
)
from ..strategy import Strategy

MESSAGE_BYTES = 65_536  # of the longest JSON value that can be broadcast


@dataclass(frozen=True)
class SeveralProcesses(Strategy):
    """A strategy whose devices may belong to several processes; each backend has its own subclass.

    In one process it does what ``Strategy`` does.
    """

    def broadcast(self, value: Any) -> Any:
        if self.processes == 1:
            return value
        text = json.dumps(value).encode() if self.is_chief else b""
        message = np.frombuffer(
            text.ljust(MESSAGE_BYTES, b" " if self.is_chief else b"\0"), "uint8"
        )
        return json.loads(self.broadcast_bytes(message).astype("uint8").tobytes())

    def broadcast_bytes(self, message: np.ndarray) -> np.ndarray:
        """Broadcast an array of bytes from the chief; other processes pass zeros."""
        raise NotImplementedError

    @contextlib.contextmanager
    def worker_failures(self) -> Iterator[None]:
        """Tell failures of the communication with other workers from errors of this one.

        Raises:
            WorkerLost: another worker is gone.
            OutOfDeviceMemory: this one, of several, lacks memory.
        """
        try:
            yield
        except ProjectError:
            raise
        except Exception as error:
            if self.processes > 1 and is_out_of_device_memory(error):
                raise OutOfDeviceMemory(describe(error)[0]) from error
            if self.processes == 1 or not _is_communication_failure(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise WorkerLost(
                "another worker is gone; start all of them again with the same command to resume "
                f"({reason})"
            ) from error


def _is_communication_failure(error: Exception) -> bool:
    names = ("UnavailableError", "AbortedError", "InternalError", "CancelledError")
    # JAX may raise what its CPU collectives report as a ValueError.
    return type(error).__name__ in (*names, "XlaRuntimeError", "JaxRuntimeError") or (
        "Gloo" in str(error)
    )
