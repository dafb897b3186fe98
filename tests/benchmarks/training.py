"""How fast generated projects train, as ratios against plain scripts in the same run.

    python -m tests.benchmarks.training [NAME ...]

Each pair runs in turn, A B A B …; the median of the ratios counts. Rates leave the first epoch
out, which compiles, and include validation. Exits with 1 if a limit does not hold.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.benchmarks.digits import make_project
from tests.environments import BUILD, project_python

ROUNDS = 3
START_ROUNDS = 5
SCRIPTS = Path(__file__).parent
NO_AUGMENTATION = [
    *("--data.augment_shift", "0"),
    *("--data.augment_rotation", "0"),
    *("--data.augment_zoom", "0"),
]
# Epochs of about 20 seconds each: (project, plain Keras script).
EPOCHS = {"cnn": (120, 80), "mlp": (400, 120)}
TORCH_EPOCHS = 80
OVERHEAD_EPOCHS = 450
WORKERS_EPOCHS = {32: (120, 60), 256: (200, 120)}  # batch -> (one process, two workers)
JPEGS = 5000


@dataclass(frozen=True)
class Row:
    """What was measured of a project and of its peer, round by round."""

    what: str
    ours: list[float]
    peer: list[float]
    least: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float:
        return statistics.median(a / b for a, b in zip(self.ours, self.peer, strict=True))

    @property
    def holds(self) -> bool:
        at_least = self.least is None or self.ratio >= self.least
        return at_least and (self.most is None or self.ratio <= self.most)

    def __str__(self) -> str:
        limit = f"at least {self.least}" if self.least else f"at most {self.most}"
        is_limited = self.least is not None or self.most is not None
        cells = [
            self.what,
            *(f"{statistics.median(values):.4g}" for values in (self.ours, self.peer)),
            f"{self.ratio:.3g}",
            limit if is_limited else "",
            ("holds" if self.holds else "does not hold") if is_limited else "as measured",
        ]
        return f"| {' | '.join(cells)} |"


def compare(
    what: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    rounds: int = ROUNDS,
    least: float | None = None,
    most: float | None = None,
) -> Row:
    """Measure the two in turn."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    own, others = zip(*pairs, strict=True)
    return Row(what, list(own), list(others), least, most)


# === Running a project ===


def project_command(*words: str, workers: int = 1) -> list[str]:
    """Train a project, in one process or in several."""
    launch = ["demo", "launch", "--workers", str(workers), "--"]
    return [str(project_python()), "-m", *(launch if workers > 1 else ["demo", "train"]), *words]


def environment_of(project: Path) -> dict[str, str]:
    """Variables with which Python finds the project's package and keeps compiled modules."""
    # Else each process compiles TensorFlow and MLflow anew, for ten seconds and more.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(project / "src")}


def run(project: Path, *words: str, workers: int = 1) -> Path:
    """Train a project and return the run's folder."""
    command = project_command(*words, workers=workers)
    environment = environment_of(project)
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    summaries = project.glob("runs/*/summary.json")
    return max(summaries, key=lambda path: path.stat().st_mtime).parent


def epoch_ends(folder: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` that end an epoch, with ``time`` as a ``datetime``."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    ends = [line for line in lines if "validation/loss" in line["metrics"]]
    return [{**line, "time": datetime.fromisoformat(line["time"])} for line in ends]


def project_rate(project: Path, epochs: int, *words: str, workers: int = 1) -> float:
    """Steps per second of a project, from the end of the first epoch to the end of the last."""
    train = ["--train.epochs", str(epochs), "--train.early_stopping_patience", "0"]
    first, *_, last = epoch_ends(run(project, *train, *words, workers=workers))
    return (last["step"] - first["step"]) / (last["time"] - first["time"]).total_seconds()


# === Running its peers ===


def script_rate(python: Path, script: str, *words: str) -> float:
    """Steps per second as a script of this folder prints them in its last line."""
    command = [str(python), str(SCRIPTS / script), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


@cache
def torch_python() -> Path:
    """The Python of an environment with PyTorch; pip, which may know wheels without CUDA."""
    folder = BUILD / "env-torch-2.13"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, clear=True, with_pip=True)
        packages = ["torch==2.13.0", "numpy", "scikit-learn"]
        subprocess.run([str(python), "-m", "pip", "--quiet", "install", *packages], check=True)
        (folder / "complete").touch()
    return python


# === Measurements ===


def throughput(project: Path, model: str, least: float) -> Iterator[Row]:
    """Steps per second of a model against ``Model.fit``; the limit is that of bare steps."""
    own_epochs, epochs = EPOCHS[model]
    for variant, own_words, words, limit in (
        ("augmented", [], ["--augment"], None),
        ("not augmented", NO_AUGMENTATION, [], least),
    ):
        yield compare(
            f"`{model}`, {variant}, steps/s / plain Keras",
            partial(project_rate, project, own_epochs, "--model.name", model, *own_words),
            partial(
                script_rate,
                project_python(),
                "plain_keras.py",
                *[model, "--epochs", str(epochs), *words],
            ),
            least=limit,
        )


def torch(project: Path) -> Iterator[Row]:
    """Steps per second of the CNN against eager PyTorch."""
    try:
        python = torch_python()
    except subprocess.CalledProcessError as error:
        print(f"`torch` could not be measured: its environment cannot be made ({error})")
        return
    yield compare(
        "`cnn`, not augmented, steps/s / eager PyTorch",
        partial(project_rate, project, EPOCHS["cnn"][0], *NO_AUGMENTATION),
        partial(script_rate, python, "eager_torch.py", "--epochs", str(TORCH_EPOCHS)),
        least=1.4,
    )


def overhead(project: Path) -> Iterator[Row]:
    """Seconds of fit with tracking and checkpoints against those without."""

    def fit_seconds(*words: str) -> float:
        train = ["--train.epochs", str(OVERHEAD_EPOCHS), "--train.early_stopping_patience", "0"]
        summary = json.loads((run(project, *train, *words) / "summary.json").read_text())
        return float(summary["seconds"]["fit"])

    bare = ["--tracking.enabled", "false", "--train.checkpoint_every_steps", "1000000"]
    yield compare(
        "`cnn`, seconds of fit / without tracking and checkpoints",
        fit_seconds,
        partial(fit_seconds, *bare),
        most=1.03,
    )


def folder(project: Path) -> Iterator[Row]:
    """Seconds of the first epoch over JPEG files, decoding included, against the second's."""
    with tempfile.TemporaryDirectory() as images:
        maker = [str(project_python()), str(SCRIPTS / "jpegs.py"), images, str(JPEGS)]
        subprocess.run(maker, check=True, capture_output=True)
        words = [
            *("--data.source", "folder", "--data.path", images, "--data.image_size", "64"),
            *("--data.cache", "memory", "--model.name", "mlp", "--train.epochs", "3"),
        ]
        epochs = [first_epochs(run(project, *words)) for _ in range(ROUNDS)]
    first, second = zip(*epochs, strict=True)
    what = f"{JPEGS} JPEG files, seconds of the first epoch / of the second"
    yield Row(what, list(first), list(second), least=3.0)


def first_epochs(folder: Path) -> tuple[float, float]:
    """Seconds of a run's first epoch, with preparing its cache, and of its second."""
    lines = (folder / "train.log").read_text(encoding="utf-8").splitlines()
    stamp = next(line for line in lines if "Preparing" in line)[: len("2026-01-31 12:00:00,000")]
    began = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").astimezone()
    first, second = (line["time"] for line in epoch_ends(folder)[:2])
    return (first - began).total_seconds(), (second - first).total_seconds()


def start(project: Path) -> Iterator[Row]:
    """Seconds from the command to the first finished step, against a plain script."""
    words = ["--train.max_steps", "1", "--train.log_every_steps", "1"]
    script = [str(project_python()), str(SCRIPTS / "plain_keras.py"), "cnn", "--first-step"]

    def has_line() -> bool:
        files = set(project.glob("runs/*/metrics.jsonl")) - before
        return any(file.stat().st_size for file in files)

    def ours() -> float:
        before.update(project.glob("runs/*/metrics.jsonl"))
        return seconds_until(has_line, project_command(*words), project)

    def peer() -> float:
        marker = project / "first-step"
        marker.unlink(missing_ok=True)
        return seconds_until(marker.exists, [*script, str(marker)], project)

    before: set[Path] = set()
    yield compare(
        "`cnn`, seconds to the first step / plain Keras", ours, peer, START_ROUNDS, most=1.3
    )


def seconds_until(happened: Callable[[], bool], command: list[str], project: Path) -> float:
    """Wall-clock seconds from a command's start until something has happened."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=project,
        env=environment_of(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not happened():
        if process.poll():
            raise subprocess.CalledProcessError(process.returncode, command)
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    process.wait()
    return seconds


def workers(project: Path) -> Iterator[Row]:
    """Steps per second of two workers on this machine against one process."""
    for batch_size, (alone_epochs, epochs) in WORKERS_EPOCHS.items():
        words = ["--data.batch_size", str(batch_size)]
        yield compare(
            f"`cnn`, global batch {batch_size}, steps/s of two workers / of one process",
            partial(project_rate, project, epochs, *words, workers=2),
            partial(project_rate, project, alone_epochs, *words),
        )


MEASUREMENTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "cnn": partial(throughput, model="cnn", least=1.0),
    "mlp": partial(throughput, model="mlp", least=3.0),
    "torch": torch,
    "overhead": overhead,
    "folder": folder,
    "start": start,
    "workers": workers,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training")
    parser.add_argument("names", nargs="*", choices=list(MEASUREMENTS), metavar="NAME")
    names = parser.parse_args().names or list(MEASUREMENTS)
    print(f"medians of {ROUNDS} rounds ({START_ROUNDS} for `start`), {os.cpu_count()} cores")
    print("| what | ours | peer | ratio | limit | |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    holds = True
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        run(project, "--train.max_steps", "1")  # makes the tracking store
        for name in names:
            for row in MEASUREMENTS[name](project):
                print(row, flush=True)
                holds &= row.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
