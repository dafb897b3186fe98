"""Several workers on this machine, as a cluster would start them: rehearsal, or one per GPU.

    python -m PACKAGE.launch --workers 2 -- --train.epochs 5

runs ``train --train.epochs 5`` in two processes. Each learns of the others as on a cluster: from
``TF_CONFIG``, or from ``JAX_COORDINATOR_ADDRESS`` and its like.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from .config import Parser, load_config, positive
from .distribution import choose_backend
from .errors import Interrupted, ProjectError, command

GRACE = 20.0  # seconds for the others to end after one has failed, or after a signal


class Workers:
    """Processes that belong together: they end together."""

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

    def pass_on(self, number: int, frame: FrameType | None = None) -> None:
        """Send a signal to all that are still there."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def wait(self) -> list[int]:
        """Until all have ended; once one has failed, the others have ``GRACE`` seconds."""
        deadline = None
        while any(process.poll() is None for process in self.processes):
            failed = [process.returncode for process in self.processes if process.poll()]
            if failed and deadline is None:
                deadline = time.monotonic() + GRACE
                if failed != [Interrupted.exit_code]:  # else they agreed to stop, all of them
                    self.pass_on(signal.SIGTERM)
            if deadline and time.monotonic() > deadline:
                self.pass_on(signal.SIGKILL)
            time.sleep(0.1)
        for reader in self._readers:
            reader.join(5)
        return [process.returncode for process in self.processes]

    def _copy_output(self, rank: int) -> None:
        for line in self.processes[rank].stdout:
            with self._lock:
                print(f"[{rank}] {line.rstrip()}", flush=True)


def environments(workers: int, backend: str) -> list[dict[str, str]]:
    """What tells each of the workers where the others are."""
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


@command
def main(argv: list[str]) -> None:
    """``python -m PACKAGE.launch --workers N -- [what train takes]``."""
    own, words = argv, []
    if "--" in argv:
        place = argv.index("--")
        own, words = argv[:place], argv[place + 1 :]
    parser = Parser(prog="launch", description="Train in several processes on this machine.")
    parser.add_argument("--workers", type=positive, required=True, metavar="N", help="processes")
    workers_wished = parser.parse_args(own).workers
    from .train import split_flags

    runtime = load_config(split_flags(words)[1]).runtime
    started = Workers(
        [sys.executable, "-m", f"{__package__}.train", *words],
        environments(workers_wished, choose_backend(runtime)),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, started.pass_on)
    codes = started.wait()
    if not any(codes):
        return
    ends = ", ".join(f"{rank}: {_shown(code)}" for rank, code in enumerate(codes))
    if all(code in (0, Interrupted.exit_code) for code in codes):
        raise Interrupted(f"the workers were stopped ({ends}); the same command goes on.")
    own_failures = [code for code in codes if code > 1 and code != Interrupted.exit_code]
    error = ProjectError(f"not all workers succeeded ({ends}).")
    error.exit_code = own_failures[0] if own_failures else ProjectError.exit_code
    raise error


def _shown(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


if __name__ == "__main__":
    sys.exit(main())
