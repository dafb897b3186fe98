"""How fast the generator is, as ratios against peers in the same run.

    python -m tests.benchmarks.generator

Each pair runs in turn, A B A B …; the median of the ratios counts. Exits with 1 if a figure of the
README no longer holds.
"""

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.environments import kedro

ROUNDS = 9
KILLS = 200
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
         [str(kedro()), *KEDRO_NEW], 0.5),
        ("`aistart --help` / `python -c \"import click\"`", [aistart, "--help"],
         [python, "-c", "import click"], 1.5),
        ("`aistart list` / the same", [aistart, "list"], [python, "-c", "import click"], 2.0),
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
        partial, left = killed(Path(folder) / "killed")
    print(
        f"\n{KILLS} runs killed at random moments, by SIGKILL and SIGINT in turn: {partial} partial"
    )
    print(f"projects; {left} files left by those that got SIGINT.")
    return 0 if holds and not partial + left else 1


def killed(folder: Path) -> tuple[int, int]:
    """Kill runs at random moments.

    Returns:
        Projects that are neither whole nor absent, and files that SIGINT left anywhere.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [str(AISTART), "new", "vision-classifier", "demo", "-y", "-o"]
    began = time.perf_counter()
    subprocess.run([*command, str(folder)], check=True, capture_output=True)
    whole, usual = files_of(folder / "demo"), time.perf_counter() - began
    moments, partial, left = random.Random(0), 0, 0
    for number in range(KILLS):
        place = folder / str(number)
        place.mkdir()
        process = subprocess.Popen(
            [*command, str(place)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # & ignores it
        )
        time.sleep(moments.uniform(0, usual))
        os.killpg(process.pid, signal.SIGINT if number % 2 else signal.SIGKILL)
        process.wait()
        partial += (place / "demo").exists() and files_of(place / "demo") != whole
        if number % 2:
            left += len(set(files_of(place)) - {f"demo/{name}" for name in whole})
            left += len(files_of(temporary))
        shutil.rmtree(place)
    return partial, left


def files_of(folder: Path) -> list[str]:
    """All files below a folder, git's objects aside."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if ".git" not in path.parts)


if __name__ == "__main__":
    sys.exit(main())
