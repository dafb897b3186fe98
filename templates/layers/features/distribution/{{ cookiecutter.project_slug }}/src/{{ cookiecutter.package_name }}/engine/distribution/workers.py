"""Several workers on this machine, as a cluster would start them: rehearsal, or one per GPU.

Each process learns of the others as on a cluster: from ``TF_CONFIG``, or from
``JAX_COORDINATOR_ADDRESS`` and its like.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

from ..errors import Interrupted

GRACE = 20.0  # seconds for the others to end after one has failed, or after a signal


class Workers:
    """Processes of one run, which end together."""

    def __init__(self, command: Sequence[str], environments: Sequence[dict[str, str]]) -> None:
        self.processes = [
            subprocess.Popen(
                command,
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # signals come from here, once
            )
            for environment in environments
        ]
        self._lock = threading.Lock()
        self._readers = [
            threading.Thread(target=self._copy_output, args=(rank,), daemon=True)
            for rank in range(len(self.processes))
        ]
        for reader in self._readers:
            reader.start()

    def send_signal(self, number: int, frame: FrameType | None = None) -> None:
        """Send a signal to all processes that still run."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def wait(self) -> list[int]:
        """Wait until all have ended; once one has failed, the others have ``GRACE`` seconds."""
        deadline = None
        while any(process.poll() is None for process in self.processes):
            failed = [process.returncode for process in self.processes if process.poll()]
            if failed and deadline is None:
                deadline = time.monotonic() + GRACE
                if failed != [Interrupted.exit_code]:  # else they agreed to stop, all of them
                    self.send_signal(signal.SIGTERM)
            if deadline and time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
            time.sleep(0.1)
        for reader in self._readers:
            reader.join(5)
        return [process.returncode for process in self.processes]

    def _copy_output(self, rank: int) -> None:
        for line in self.processes[rank].stdout or ():
            with self._lock:
                print(f"[{rank}] {line.rstrip()}", flush=True)


def describe_cluster(workers: int, backend: str) -> list[dict[str, str]]:
    """Return for each worker the environment variables that say where the others are."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    if backend == "jax":
        return [
            {
                "JAX_COORDINATOR_ADDRESS": addresses[0],
                "JAX_NUM_PROCESSES": str(workers),
                "JAX_PROCESS_ID": str(rank),
            }
            for rank in range(workers)
        ]
    cluster = {"worker": addresses}
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})}
        for rank in range(workers)
    ]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()
