"""The stories of ``examples/``, told at small scale in the environment that all tests share."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY, project_python

EXAMPLES = REPOSITORY / "examples"


def run_example(name: str, folder: Path, **options: str) -> str:
    """Run an example's script at small scale, and return what it prints.

    Args:
        name: of its folder.
        folder: of the project that it makes.
        options: further variables of the environment.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"SCALE": "small", "AISTART_PYTHON": str(project_python()), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        ["bash", str(EXAMPLES / name / "run.sh"), str(folder)],
        env={**os.environ, **own, "PATH": path, **options},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def read_summaries(project: Path) -> list[dict]:
    """The summaries of a project's runs, the oldest first."""
    runs = sorted((project / "runs").iterdir())
    return [json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in runs]


def best_baseline(summary: dict, metric: str) -> float:
    """The best value of a metric among the baselines of a run."""
    return max(baseline["metrics"].get(metric, 0.0) for baseline in summary["baselines"])


@pytest.mark.slow
def test_parts_with_defects(isolated: Path) -> None:
    project = isolated / "line-3"
    output = run_example("parts_with_defects", project)
    (summary,) = read_summaries(project)
    metric = "test/accuracy"
    assert summary["metrics"][metric] > best_baseline(summary, metric) + 0.1
    photos = summary["data"]["train"] + summary["data"]["validation"] + summary["data"]["test"]
    assert photos == len(list((project / "data/photos").rglob("*.jpg")))
    rows = re.findall(r"^(hole|scratch|stain) +(\d+) of 6 +(\d+%|nan%) +(\d+%|nan%)", output, re.M)
    assert [row[0] for row in rows] == ["hole", "scratch", "stain"]
    # Where it recognizes anything, the heat is on the defect more than by chance.
    found = [(float(heat[:-1]), float(area[:-1])) for _, n, heat, area in rows if int(n) >= 3]
    assert found
    assert sum(heat for heat, _ in found) > sum(area for _, area in found)
    assert (project / "heat.png").is_file()


@pytest.mark.slow
def test_support_tickets(isolated: Path) -> None:
    project = isolated / "helpdesk"
    output = run_example("support_tickets", project)
    good, bad = read_summaries(project)
    metric = "test/accuracy"
    assert bad["metrics"][metric] < good["metrics"][metric] - 0.05
    assert good["metrics"][metric] > 0.8
    assert re.search(r"version 1 of tickets .* is the champion now", output)
    refusal = output.partition("A worse model")[2].partition("The API")[0]
    assert "not promoted" in refusal.lower()
    assert "(exit code 1)" in refusal
    api = output.partition("The API")[2]
    assert '{"error":' in api  # without a key
    assert "predict says the same" in api
    answers = re.findall(r"^(\w+) +[01]\.\d{3}  ", api, re.M)
    assert len(answers) == 6
    assert sum(map(str.__eq__, answers, TOPICS)) >= 5


TOPICS = ("defect", "payment", "invoice", "delivery", "account", "refund")  # of questions.json


@pytest.mark.slow
def test_clinic_two_sites(isolated: Path) -> None:
    project = isolated / "wards"
    output = run_example("clinic_two_sites", project)
    at_a, at_b = read_summaries(project)
    assert at_a["metrics"]["test/auroc"] > 0.6
