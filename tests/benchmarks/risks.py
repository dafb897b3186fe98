"""How good and how fast the medical template is, against tuned peers and plain Keras.

    python -m tests.benchmarks.risks [breast_cancer|diabetes|cohort|speed ...]

The first two are real: scikit-learn's tumours, and its 442 patients with diabetes, of whom those
with the worst quarter of progression are to be told, a fifth of six columns taken away. ``cohort``
is generated. The first two are cross-validated three times in five folds, by patient, the third
once. AUROC is the mean over the folds, the other figures are of all patients, held out in turn.
``speed`` is in rows learnt a second. Exits with 1 if a limit does not hold.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.printing import Lines, print_table
from tests.benchmarks.training import (
    SCRIPTS,
    compare,
    environment_of,
    project_rate,
    run,
    script_rate,
)
from tests.environments import project_python

REFERENCE = "logistic regression, tuned"
TIE = 0.001  # what a few patients more or less change
LEAST_AUROC = 0.99  # of breast cancer
LEAST_CORRELATION = 0.9  # with the true risks of the cohort
SLOPE, MOST_ECE = (0.8, 1.2), 0.05
MANY = 1000  # patients from which the calibration error is looked at
REPEATS = 3
EPOCHS = (100, 24)  # project, plain script


def cross_validated(project: Path, name: str, patients: int, *words: str) -> Lines:
    """Metrics of the default model beside those of its peers."""
    environment = environment_of(project)
    command = [str(project_python()), "-m", "demo.cross_validate", "--folds", "5", *words]
    command += ["--tracking.enabled", "false", "--repeats", str(REPEATS if patients < MANY else 1)]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    newest = max((project / "reports").glob("*.json"), key=lambda path: path.stat().st_mtime)
    metrics = json.loads(newest.read_text())["metrics"]
    ours, peer = metrics["model"], metrics[REFERENCE]
    boosted = metrics["gradient boosting, tuned"]
    for metric, better in (
        ("auroc", ours["auroc"] >= peer["auroc"] - TIE),
        ("brier", ours["brier"] <= peer["brier"] + TIE),
    ):
        cells = [f"{name}, {metric}", *(f"{row[metric]:.4f}" for row in (ours, peer, boosted))]
        yield _line(cells, f"no worse than the first peer by more than {TIE}", better)
    slope = ours["calibration_slope"]
    holds = SLOPE[0] <= slope <= SLOPE[1]
    yield _line([f"{name}, calibration slope", f"{slope:.3f}", "", ""], "0.8 to 1.2", holds)
    if patients >= MANY:
        error = ours["ece"]
        limit = f"at most {MOST_ECE}"
        yield _line([f"{name}, ECE", f"{error:.4f}", "", ""], limit, error <= MOST_ECE)


def breast_cancer(project: Path) -> Lines:
    """The default data."""
    yield from cross_validated(project, "breast_cancer", 569)
    summary = json.loads((run(project) / "summary.json").read_text())
    reached = summary["metrics"]["test/auroc"]
    cells = ["breast_cancer, AUROC of a default run", f"{reached:.4f}", "", ""]
    yield _line(cells, f"at least {LEAST_AUROC}", reached >= LEAST_AUROC)


def diabetes(project: Path) -> Lines:
    """A real table with gaps."""
    command = [str(project_python()), str(SCRIPTS / "diabetes.py"), "diabetes.csv", "diabetes.yaml"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    words = ["--data.source", "csv", "--data.path", "diabetes.csv"]
    words += ["--data.schema_file", "diabetes.yaml"]
    yield from cross_validated(project, "diabetes", 442, *words)


def cohort(project: Path) -> Lines:
    """The generated cohort, whose risks are known."""
    yield from cross_validated(project, "cohort", 2500, "--data.source", "cohort")
    summary = json.loads((run(project, "--data.source", "cohort") / "summary.json").read_text())
    reached = summary["metrics"]["test/true_risk_correlation"]
    cells = ["cohort, correlation with the true risks", f"{reached:.4f}", "", ""]
    yield _line(cells, f"at least {LEAST_CORRELATION}", reached >= LEAST_CORRELATION)


def speed(project: Path) -> Lines:
    """Rows a second of the ``mlp`` against ``Model.fit`` on arrays."""
    words = ["--data.source", "cohort", "--model.name", "mlp"]

    def rows_per_second() -> float:
        steps = project_rate(project, EPOCHS[0], *words)
        newest = max(project.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime)
        size = json.loads(newest.read_text())["data"]["train"]
        return steps * size / -(-size // 32)

    row = compare(
        "`mlp`, rows/s / `Model.fit` on numpy arrays",
        rows_per_second,
        partial(script_rate, project_python(), "plain_risks.py", "--epochs", str(EPOCHS[1])),
        least=3.0,
    )
    yield str(row), row.holds


def _line(cells: list[str], limit: str, holds: bool) -> tuple[str, bool]:
    said = "holds" if holds else "does not hold"
    return f"| {' | '.join([*cells, limit, said])} |", holds


HEADER = "| what | ours | logistic regression | gradient boosting | limit | |"
MEASUREMENTS: dict[str, Callable[[Path], Lines]] = {
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
    "cohort": cohort,
    "speed": speed,
}


if __name__ == "__main__":
    sys.exit(print_table("risks", "medical-diagnosis", HEADER, MEASUREMENTS))
