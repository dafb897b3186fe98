"""How fast the generator is, as ratios against peers in the same run.

    python -m tests.benchmarks.generator

Each pair runs in turn, A B A B …; the median of the ratios counts. Exits with 1 if a figure of the
README no longer holds.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.environments import kedro

ROUNDS = 9
AISTART = Path(sys.executable).with_name("aistart")
KEDRO_TOOLS = "--tools=lint,test,log,data,docs"
KEDRO_NEW = ["new", "--name=demo", KEDRO_TOOLS, "--example=n", "--telemetry=no"]


def seconds(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of a command in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def compare(ours: list[str], theirs: list[str], folder: Path) -> tuple[float, float, float]:
    """Medians of our seconds, their seconds, and the ratio."""
    pairs = [(seconds(ours, folder), seconds(theirs, folder)) for _ in range(ROUNDS + 1)][1:]
    columns = [*zip(*pairs, strict=True), [a / b for a, b in pairs]]
    return tuple(statistics.median(column) for column in columns)  # type: ignore[return-value]


def main() -> int:
    aistart, python = str(AISTART), sys.executable
    rows = [
        ("`aistart new -y` / `kedro new`", [aistart, "new", "vision-classifier", "demo", "-y"],
         [str(kedro()), *KEDRO_NEW], 0.6),
        ("`aistart --help` / `python -c \"import click\"`", [aistart, "--help"],
         [python, "-c", "import click"], 1.5),
    ]  # fmt: skip
    print(f"medians of {ROUNDS} rounds, {os.cpu_count()} cores")
    print("| what | seconds | peer, seconds | ratio | at most |")
    print("| --- | --- | --- | --- | --- |")
    holds = True
    with tempfile.TemporaryDirectory() as folder:
        for name, ours, theirs, most in rows:
            own, peer, ratio = compare(ours, theirs, Path(folder) / "work")
            print(f"| {name} | {own:.3f} | {peer:.3f} | {ratio:.2f} | {most} |")
            holds &= ratio <= most
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
