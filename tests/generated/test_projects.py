"""Generated projects at work: their own tests, their documentation, their figures."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.catalog import find_templates
from tests.benchmarks import digits
from tests.environments import project_python

Run = Callable[..., object]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("template", find_templates())
def test_own_tests_pass(template: str, aistart: Callable, isolated: Path, run_in: Run) -> None:
    assert aistart("new", template, "demo", "-y").exit_code == 0
    # With the large models, which a user's `make test` leaves out.
    done = run_in(isolated / "demo", "pytest", "-q", "-m", "", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_two_commands_of_a_user(demo: Path, run_in: Run, isolated: Path) -> None:
    """Smoke training, then evaluation and prediction from another process."""
    done = run_in(demo, "demo.train", "--config", "configs/smoke.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Run folder: " in done.stdout
    assert "logistic regression" in done.stdout
    (run,) = (demo / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["template"] == "vision-classifier"
    assert summary["metrics"].keys() >= {"test/accuracy", "test/loss", "test/macro_f1"}
    again = run_in(demo, "demo.evaluate", "--run", summary["mlflow"]["model_uri"])
    assert f"test/accuracy  {summary['metrics']['test/accuracy']:.4f}\n" in again.stdout
    missing = run_in(demo, "demo.predict", "missing.png")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert missing.stderr == "error: input: 'missing.png': No such file or directory.\n"


def test_interrupt_is_one_line_and_the_same_command_goes_on(demo: Path, run_in: Run) -> None:
    words = ["--train.epochs", "2000", "--train.early_stopping_patience", "0"]
    command = [str(project_python()), "-m", "demo.train", *words]
    environment = {**os.environ, "PYTHONPATH": str(demo / "src")}
    for number in (signal.SIGINT, signal.SIGTERM):
        lines = len(metrics(demo))
        with subprocess.Popen(
            command,
            cwd=demo,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            deadline = time.monotonic() + 120
            while len(metrics(demo)) < lines + 3 and time.monotonic() < deadline:
                time.sleep(0.2)
            process.send_signal(number)
            began = time.monotonic()
            shown, errors = process.communicate(timeout=60)
            assert time.monotonic() - began < 30
        assert process.returncode == 75
        message = rf"stopped by {number.name} at step \d+; the same command goes on from there\."
        assert re.fullmatch(f"error: {message}\n", errors)
    (run,) = (demo / "runs").iterdir()
    assert f"Run {run.name} goes on after step " in shown


def metrics(demo: Path) -> list[str]:
    files = list(demo.glob("runs/*/metrics.jsonl"))
    return files[0].read_text().splitlines() if files else []


def blocks(guide: str) -> dict[str, list[str]]:
    """The code of each section of a guide."""
    sections = re.split(r"^## ", guide, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        for section in sections
    }


def follow(file: Path, table: str, function: str, line: str) -> None:
    """Do as the guide says: a function before the table, and a line in it."""
    text = file.read_text()
    start = re.search(rf"^{table}: ", text, re.MULTILINE).start()
    end = text.index("\n}\n", start) + 1
    file.write_text(text[:start] + function + "\n\n" + text[start:end] + line + text[end:])


def test_extending_guide(demo: Path, run_in: Run) -> None:
    guide = blocks((demo / "docs/extending.md").read_text())
    source = demo / "src/demo"
    model, entry, application = guide["Your own model"]
    follow(source / "model.py", "MODELS", model, entry + application)
    follow(source / "data.py", "SOURCES", *guide["Your own data source"])
    follow(source / "objective.py", "LOSSES", *guide["Your own loss"])
    follow(source / "objective.py", "METRICS", *guide["Your own metric"])
    names = ["--model.name", "tiny", "--data.source", "noise", "--train.loss", "hinge"]
    done = run_in(demo, "demo.train", *names, "--train.epochs", "3")
    assert done.returncode == 0, done.stderr
    (run,) = (demo / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["model"], summary["data"]["source"]) == ("tiny", "noise")
    assert summary["data"]["classes"] == {"bright": 30, "dark": 30}
    last = (run / "metrics.jsonl").read_text().splitlines()[-1]
    assert {"train/top_2", "validation/top_2"} <= set(json.loads(last)["metrics"])
    words = ["--model.name", "mobilenetv2", "--model.weights", "none", "--train.max_steps", "1"]
    done = run_in(demo, "demo.train", *words, "--data.limit", "60", "--data.source", "noise")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("model", "least"), digits.LEAST.items())
def test_digits_are_read_as_well_as_the_readme_says(model: str, least: float, demo: Path) -> None:
    result = digits.measure(demo, model)
    assert result.accuracy >= least
    assert result.accuracy > result.baseline
