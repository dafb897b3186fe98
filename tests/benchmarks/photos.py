"""How well and how fast the vision template learns photos, against a plain Keras script.

    python -m tests.benchmarks.photos [cnn|resnet ...]

Reads ``../shared/data/cifar10.tar.gz``, 60,000 photos in folders, if it is there. Each model learns
for ten epochs with the configuration that ``inspect`` writes; the plain script
(``plain_photos.py``) runs once, on the same photos in memory, for as many epochs. Exits with 1 if a
limit does not hold.
"""

import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from tests.benchmarks.printing import Lines, print_table, table_line
from tests.benchmarks.training import SCRIPTS, environment_of, run
from tests.environments import project_python

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10.tar.gz"
# Model -> least test accuracy, and the most seconds of fit, in those of the plain script.
LIMITS = {"cnn": (0.76, 1.6), "resnet": (0.84, 5.8)}
EPOCHS = 10


@cache
def inspected(project: Path) -> tuple[Path, Path]:
    """The folder of unpacked photos, and the configuration that ``inspect`` wrote for it."""
    folder = project / "photos"
    with tarfile.open(PHOTOS) as archive:
        archive.extractall(folder, filter="data")
    command = [str(project_python()), "-m", "demo", "inspect", str(folder)]
    environment = environment_of(project)
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    return folder, project / "configs" / "my_data.yaml"


@cache
def learn_plainly(folder: Path) -> tuple[float, float]:
    """Test accuracy and seconds of fit of the plain script."""
    command = [str(project_python()), str(SCRIPTS / "plain_photos.py"), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    accuracy, seconds = map(float, done.stdout.splitlines()[-1].split())
    return accuracy, seconds


def learnt(project: Path, model: str) -> Lines:
    """A model's line of the table, and whether it is as it must be."""
    if not PHOTOS.is_file():
        print(f"`{model}` could not be measured: there is no {PHOTOS}")
        return
    folder, config = inspected(project)
    words = ["--config", str(config), "--model.name", model, "--train.epochs", str(EPOCHS)]
    summary = json.loads((run(project, *words) / "summary.json").read_text())
    accuracy, seconds = summary["metrics"]["test/accuracy"], summary["seconds"]["fit"]
    plain_accuracy, plain_seconds = learn_plainly(folder)
    ratio = seconds / plain_seconds
    least, most = LIMITS[model]
    cells = [
        f"`{model}`",
        *(f"{value:.4f}" for value in (accuracy, plain_accuracy)),
        *(f"{value:.0f}" for value in (seconds, plain_seconds)),
        f"{ratio:.2f}",
        f"at least {least} in at most {most} x",
    ]
    yield table_line(cells, accuracy >= least and ratio <= most)


HEADER = "| model | accuracy | plain script's | fit, seconds | plain script's | ratio | limit | |"
MEASUREMENTS: dict[str, Callable[[Path], Lines]] = {
    model: partial(learnt, model=model) for model in LIMITS
}


if __name__ == "__main__":
    sys.exit(print_table("photos", "vision-classifier", HEADER, MEASUREMENTS))
