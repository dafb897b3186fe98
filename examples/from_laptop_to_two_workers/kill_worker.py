"""End the second worker of ``launch`` without a warning, once its run has reached a step.

``python kill_worker.py PID_OF_LAUNCH STEP``
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def read_step(run: Path) -> int:
    """Return the last step in ``metrics.jsonl`` of a run, 0 if there is none yet."""
    file = run / "metrics.jsonl"
    text = file.read_text() if file.is_file() else ""
    lines = text.rpartition("\n")[0].splitlines()  # the last one may not be complete
    return json.loads(lines[-1])["step"] if lines else 0


def find_children(parent: int) -> list[int]:
    """Return the processes that a process has started, the first one first (Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == parent:
            found.append((int(fields[19]), int(status.parent.name)))  # by the time of its start
    return [number for _, number in sorted(found)]


def main() -> None:
    """Wait for the step, then kill."""
    launch, step = int(sys.argv[1]), int(sys.argv[2])
    before = set(Path("runs").iterdir())
    while not any(read_step(run) >= step for run in set(Path("runs").iterdir()) - before):
        if not Path(f"/proc/{launch}").exists():
            sys.exit("launch ended before that step.")
        time.sleep(0.02)
    victim = find_children(launch)[1]
    os.kill(victim, signal.SIGKILL)
    (run,) = set(Path("runs").iterdir()) - before
    print(f"Worker 1, process {victim}, was killed at step {read_step(run)}.")


if __name__ == "__main__":
    main()
