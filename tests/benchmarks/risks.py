"""How good and how fast the medical template is, against tuned peers and plain Keras.

    python -m tests.benchmarks.risks [breast_cancer|diabetes|cohort|clinical|speed ...]

The first two are real: scikit-learn's tumours, and its 442 patients with diabetes, of whom those
with the worst quarter of progression are to be told, a fifth of six columns taken away. ``cohort``
is generated. The first two are cross-validated three times in five folds, by patient, the third
once. AUROC is the mean over the folds, the other figures are of all patients, held out in turn.
``clinical`` is the six real tables of ``../shared/data/clinical``, if they are there, as
``inspect`` reads them, three repetitions each; in the mean of all the default must be ahead of
both peers. ``speed`` is in rows learnt a second. Exits with 1 if a limit does not hold.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.printing import Lines, print_table, table_line
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
CLINICAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "clinical"
TABLES = {"flchain": 7874, "mgus2": 1384, "nwtco": 4028, "pbc": 418, "pima": 532, "rotterdam": 2982}
PEERS = (REFERENCE, "gradient boosting, tuned")
NOISE = 0.002  # a tenth of the standard error of AUROC with the fewest patients
EPOCHS = (100, 24)  # project, plain script


def cross_validated(project: Path, name: str, patients: int, *words: str) -> Lines:
    """Metrics of the default model beside those of its peers."""
    repeats = REPEATS if patients < MANY else 1
    yield from _compared(name, patients, _metrics(project, repeats, *words), TIE)


def _metrics(project: Path, repeats: int, *words: str) -> dict[str, dict[str, float]]:
    """Those of the default model and its peers over five folds, as a mean of the repetitions."""
    environment = environment_of(project)
    command = [str(project_python()), "-m", "demo", "cross-validate", "--folds", "5", *words]
    command += ["--tracking.enabled", "false", "--repeats", str(repeats)]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    newest = max((project / "reports").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(newest.read_text())["metrics"]


def _compared(name: str, patients: int, metrics: dict[str, dict[str, float]], tie: float) -> Lines:
    ours, peer, boosted = (metrics[row] for row in ("model", *PEERS))
    for metric, better in (
        ("auroc", ours["auroc"] >= peer["auroc"] - tie),
        ("brier", ours["brier"] <= peer["brier"] + tie),
    ):
        cells = [f"{name}, {metric}", *(f"{row[metric]:.4f}" for row in (ours, peer, boosted))]
        yield _line(cells, f"no worse than the first peer by more than {tie}", better)
    slope = ours["calibration_slope"]
    holds = SLOPE[0] <= slope <= SLOPE[1]
    yield _line([f"{name}, calibration slope", f"{slope:.3f}", "", ""], "0.8 to 1.2", holds)
    if patients >= MANY:
        error = ours["ece"]
        limit = f"at most {MOST_ECE}"
        yield _line([f"{name}, ECE", f"{error:.4f}", "", ""], limit, error <= MOST_ECE)


def clinical(project: Path) -> Lines:
    """Six real tables, and the mean of all."""
    if not CLINICAL.is_dir():
        yield f"| clinical: there is no folder {CLINICAL.name} beside the others | | | | | |", True
        return
    found = {}
    for name, patients in TABLES.items():
        words = _inspected(project, name)
        found[name] = _metrics(project, REPEATS, *words)
        yield from _compared(name, patients, found[name], NOISE)
    for metric, sign in (("auroc", 1), ("brier", -1)):
        ours, *peers = (
            sum(metrics[row][metric] for metrics in found.values()) / len(found)
            for row in ("model", *PEERS)
        )
        cells = [f"mean of the six, {metric}", *(f"{value:.4f}" for value in (ours, *peers))]
        holds = all(sign * ours > sign * peer for peer in peers)
        yield _line(cells, "ahead of both peers", holds)


def _inspected(project: Path, name: str) -> list[str]:
    """The words that train on a table, once it is inspected and its schema is reviewed."""
    config, schema = (project / "configs" / f"{name}{end}.yaml" for end in ("", "_schema"))
    command = [str(project_python()), "-m", "demo", "inspect", str(CLINICAL / f"{name}.csv")]
    command += ["--output", str(config)]
    environment = environment_of(project)
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    text = schema.read_text(encoding="utf-8")
    schema.write_text(text.replace("reviewed_by: ''", "reviewed_by: the benchmark"))
    return ["--config", str(config)]


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
    return table_line([*cells, limit], holds)


HEADER = "| what | ours | logistic regression | gradient boosting | limit | |"
MEASUREMENTS: dict[str, Callable[[Path], Lines]] = {
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
    "cohort": cohort,
    "clinical": clinical,
    "speed": speed,
}


if __name__ == "__main__":
    sys.exit(print_table("risks", "medical-diagnosis", HEADER, MEASUREMENTS))
