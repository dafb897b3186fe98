"""Time and memory of the page of evidence, beside what evaluation takes.

    python -m tests.benchmarks.report

The default image classifier is trained shortly; its test split is then repeated to 1,000 and to
100,000 images, with as many random columns to slice by as real ones, and to 3,000 examples of 1,000
classes. Seconds are those of ``write_report`` alone.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.environments import REPOSITORY, project_python

MEASURE = """
import json, resource, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
import tensorflow as tf
from demo.config import load_config
from demo.engine import strategy
strategy.prepare(load_config([]).runtime)
from demo.engine.evaluation import Evaluation
from demo.engine.report.write import write_report
from demo.engine.runs import find_run
from demo.engine.trained_models import find_artifact
from demo.task import task

size, classes = map(int, sys.argv[1:])
run = find_run("latest")
config = load_config(base=run.config_file)
model, _ = find_artifact("latest", task, config)
data = task.load(config, model.preprocessing)
test, random = data.test, np.random.default_rng(0)
places = np.arange(size) % len(test)
table = tf.constant(places)
test = replace(
    test, ids=np.array([f"{i:06d}" for i in range(size)]), targets=test.targets[places],
    fetch=lambda at, fetch=test.fetch: fetch(tf.gather(table, at)), shapes=test.shapes[places],
)
preprocessing = model.preprocessing
if classes:
    names = tuple(f"class {number:04d}" for number in range(classes))
    preprocessing = replace(preprocessing, classes=names)
    test = replace(test, targets=np.array(names)[random.integers(classes, size=size)])
    model = replace(model, preprocessing=preprocessing, task=replace(task, explain=None))
    outputs = random.normal(size=(size, classes)).astype("float32")
    seconds_of_evaluation = 0.0
else:
    start = time.perf_counter()
    outputs = model.predict_split(test, config.data.batch_size)
    measured = task.measure(test, outputs, preprocessing)
    seconds_of_evaluation = time.perf_counter() - start
folder = Path("reports") / f"{size}-{classes}"
task.draw_figures(folder, "test", test, outputs, preprocessing)
metrics = {f"test/{k}": v for k, v in task.measure(test, outputs, preprocessing).items()}
data = replace(data, test=test)
evaluation = Evaluation(model, data, "test", outputs, metrics, config, folder)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
write_report(evaluation, (), is_command=False)
seconds = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "seconds": seconds, "evaluation": seconds_of_evaluation, "megabytes": (after - before) / 1024,
    "page": (folder / "index.html").stat().st_size / 1e6,
}))
"""

CASES = ((1_000, 0), (100_000, 0), (3_000, 1_000))


def make_project(folder: Path) -> Path:
    """Generate and train an image classifier."""
    aistart = [sys.executable, "-m", "aistart", "new", "vision-classifier", "demo", "-y"]
    subprocess.run([*aistart, "--no-git", "-q", "-o", str(folder)], check=True, cwd=REPOSITORY)
    project = folder / "demo"
    words = ["-m", "demo", "train", "--train.max_steps", "200", "--tracking.enabled", "false"]
    run_in(project, words)
    return project


def run_in(project: Path, words: list[str]) -> str:
    """Run the project's Python and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [str(project_python()), *words]
    done = subprocess.run(
        command, cwd=project, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def measure(project: Path, size: int, classes: int) -> dict[str, float]:
    """Measure one report.

    Args:
        project: a trained project.
        size: examples of the split.
        classes: number of made-up classes; 0: those of the data.
    """
    shown = run_in(project, ["-c", MEASURE, str(size), str(classes)])
    measured: dict[str, float] = json.loads(shown.splitlines()[-1])
    return measured


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        print("examples  classes  evaluation s  report s  more memory MB  page MB")
        for size, classes in CASES:
            found = measure(project, size, classes)
            print(
                f"{size:8,}  {classes or 10:7,}  {found['evaluation']:12.1f}  "
                f"{found['seconds']:8.1f}  {found['megabytes']:14.0f}  {found['page']:7.2f}"
            )


if __name__ == "__main__":
    main()
