"""A search that two processes work on through PostgreSQL, as two machines would."""

import csv
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import project_python
from tests.generated.servers import PASSWORD, Postgres, free_port, wait_for
from tests.generated.test_tracking import files_with

pytestmark = [pytest.mark.slow, pytest.mark.minutes(2)]

TRIALS = 3
SMOKE = ("--config", "configs/smoke.yaml", "--trials", str(TRIALS))
# ``tune`` that takes a process for dead sooner.
TUNE = """
import sys
from demo.__main__ import main
from demo.engine.tune import study

study.HEARTBEAT, study.GRACE = 2, 20
sys.exit(main(["tune", *sys.argv[1:]]))
"""


@pytest.fixture
def tune_demo(aistart: Callable, isolated: Path) -> Path:
    """A fresh project that can search."""
    made = aistart("new", "vision-classifier", "demo", "-y", "--with", "tune", "--no-git")
    assert made.exit_code == 0, made.output
    return isolated / "demo"


def start(project: Path, name: str, *words: str, **options: str) -> subprocess.Popen[bytes]:
    """Start a search that prints to ``NAME.txt`` in the project."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), **options}
    command = [str(project_python()), "-c", TUNE, *words]
    with (project / f"{name}.txt").open("w") as output:
        return subprocess.Popen(
            command, cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def find_training_runs(project: Path) -> list[Path]:
    """Runs whose training has begun, and is not at its end."""
    begun = [file.parent for file in project.glob("runs/*/train.log")]
    return [run for run in begun if not (run / "model.keras").exists()]


def parents_in_mlflow(project: Path) -> tuple[int, set[str]]:
    """Runs that have a parent, and the parents."""
    with sqlite3.connect(project / "mlflow.db") as store:
        tags = store.execute("SELECT value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall()
    return len(tags), {parent for (parent,) in tags}


def test_no_trial_is_lost_or_counted_twice(tune_demo: Path, postgres: Postgres) -> None:
    studies = postgres.create_database("studies")  # MLflow's has a table of the same name
    storage = {"OPTUNA_STORAGE": studies}
    both = [start(tune_demo, name, *SMOKE, **storage) for name in ("first", "second")]

    def both_train() -> bool:
        texts = [(tune_demo / f"{name}.txt").read_text() for name in ("first", "second")]
        assert all(process.poll() is None for process in both), texts
        return len(find_training_runs(tune_demo)) == 2

    wait_for(both_train, "a trial of each process", 300)
    both[0].kill()
    both[0].wait()
    assert both[1].wait(600) == 0, (tune_demo / "second.txt").read_text()
    with (tune_demo / "studies/demo/trials.csv").open() as table:
        rows = list(csv.DictReader(table))
    ended = [row for row in rows if row["state"] in ("complete", "pruned")]
    assert len(ended) == TRIALS
    assert len({row["run"] for row in ended}) == TRIALS
    (lost,) = (row for row in rows if row["state"] == "fail")
    rate = "train.learning_rate"
    assert [row[rate] for row in ended].count(lost[rate]) == 1
    assert sum(row["train.weight_decay"] == "0.0001" for row in ended) == 1, "as given, once"

    shown = (tune_demo / "second.txt").read_text()
    assert f"[{TRIALS}/{TRIALS}]" in shown
    children, parents = parents_in_mlflow(tune_demo)
    assert children >= TRIALS
    assert len(parents) == 1
    assert not list(tune_demo.glob("mlartifacts/**/model.keras")), "no model is to be served"
    assert PASSWORD not in shown + postgres.dump(studies)
    assert files_with(tune_demo, PASSWORD) == []


def test_a_database_that_does_not_answer(tune_demo: Path) -> None:
    url = f"postgresql://ada:{PASSWORD}@127.0.0.1:{free_port()}/studies"
    process = start(tune_demo, "down", *SMOKE, "--storage", url)
    assert process.wait(120) == 1
    shown = (tune_demo / "down.txt").read_text()
    assert re.match(
        r"error: --storage: 'postgresql://127.0.0.1:\d+/studies' does not answer", shown
    )
    assert shown.count("\n") == 1
    assert PASSWORD not in shown
    assert not (tune_demo / "runs").exists()
