"""How well the vision template's models read handwritten digits, over three seeds.

    python -m tests.benchmarks.digits

Renders a default project and trains it as a user does, one process a run, in the environment of
the tests. Exits with 1 if a figure of the README no longer holds.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from aistart.answers import resolve
from aistart.catalog import find_template
from aistart.project import Request, create
from tests.environments import project_python

# Model -> least mean test accuracy.
LEAST = {"cnn": 0.985, "mlp": 0.965}
MOST_SECONDS = 60
MOST_HELP_SECONDS = 0.5
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Result:
    """Test accuracies and fit seconds of a model's runs, one for each seed."""

    model: str
    accuracies: list[float]
    seconds: list[float]
    baseline: float

    @property
    def accuracy(self) -> float:
        return statistics.mean(self.accuracies)


def make_project(folder: Path, name: str = "vision-classifier") -> Path:
    """A template's default project whose package is ``demo``."""
    template = find_template(name)
    return create(Request(template, resolve(template, {"project_name": "demo"}), folder))


def measure(project: Path, model: str, seeds: tuple[int, ...] = SEEDS) -> Result:
    """Train a model once for each seed."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    summaries = []
    for seed in seeds:
        words = ["--model.name", model, "--train.seed", str(seed)]
        command = [str(project_python()), "-m", "demo", "train", *words]
        subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
        newest = max(project.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime)
        summaries.append(json.loads(newest.read_text()))
    return Result(
        model,
        [summary["metrics"]["test/accuracy"] for summary in summaries],
        [summary["seconds"]["fit"] for summary in summaries],
        summaries[0]["baselines"][-1]["metrics"]["test/accuracy"],
    )


def help_seconds(project: Path) -> float:
    """Median wall-clock seconds of ``train --help`` over five calls, after one more."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = [str(project_python()), "-m", "demo", "train", "--help"]
    times = []
    for _ in range(6):
        began = time.perf_counter()
        subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main() -> int:
    print(f"digits, seeds {SEEDS}, {os.cpu_count()} cores")
    print("| model | test accuracy, mean | each seed | fit, seconds | logistic regression |")
    print("| --- | --- | --- | --- | --- |")
    holds = True
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        for model, least in LEAST.items():
            result = measure(project, model)
            each = ", ".join(f"{value:.4f}" for value in result.accuracies)
            seconds = ", ".join(f"{value:.1f}" for value in result.seconds)
            cells = [
                f"`{model}`",
                f"{result.accuracy:.4f}",
                each,
                seconds,
                f"{result.baseline:.4f}",
            ]
            print(f"| {' | '.join(cells)} |")
            holds &= result.accuracy >= least and max(result.seconds) <= MOST_SECONDS
        seconds_of_help = help_seconds(project)
    print(f"\n`train --help`: {seconds_of_help:.2f} s (at most {MOST_HELP_SECONDS})")
    holds &= seconds_of_help <= MOST_HELP_SECONDS
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
