"""The stories of ``examples/``, told at small scale in the environment that all tests share."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aistart.catalog import load_foreign_template
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
    # Threads that wait for each other on a busy machine cost many times what they compute.
    own |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", str(EXAMPLES / name / "run.sh"), str(folder)],
        env={**os.environ, **own, "PATH": path, **options},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
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
    assert (project / "heat.jpg").is_file()


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
    assert "error: refused: accuracy may be worse than the champion's by" in refusal
    assert "The champion is still version 1." in refusal
    assert "(exit code 1)" in refusal
    api = output.partition("The API")[2]
    assert '{"error":' in api  # without a key
    assert "predict says the same" in api
    answers = re.findall(r"^(\w+) +[01]\.\d{3}  ", api, re.M)
    assert len(answers) == 6
    assert sum(map(str.__eq__, answers, TOPICS)) >= 4


TOPICS = ("defect", "payment", "invoice", "delivery", "account", "refund")  # of questions.json


@pytest.mark.slow
def test_clinic_two_sites(isolated: Path) -> None:
    project = isolated / "wards"
    output = run_example("clinic_two_sites", project)
    assert "+    kind: site" in output  # what the review has changed
    at_a, at_b = read_summaries(project)
    assert at_a["metrics"]["test/auroc"] > 0.55
    # The shift between the sites is found, and the update takes it away.
    outside, before = (
        read_metrics((project / f"reports/{name}.txt").read_text(encoding="utf-8"))
        for name in ("site_b", "site_b_test")
    )
    assert outside["test/auroc"] > 0.6
    assert outside["test/calibration_intercept"] > 0.3
    after = at_b["metrics"]["test/calibration_intercept"]
    assert abs(after) < abs(before["test/calibration_intercept"])
    assert (project / "reports/site_b/test_calibration.svg").is_file()
    card = (project / "runs" / at_a["run_id"] / "report/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "External validation at site B**, on all its patients" in card
    assert f"AUROC\n{outside['test/auroc']:.3f}" in card
    assert "To be written by a person" not in card


def read_metrics(output: str) -> dict[str, float]:
    """Read what ``evaluate`` prints."""
    words = [line.split() for line in output.splitlines() if line.startswith("test/")]
    return {name: float(value) for name, value in words}


@pytest.mark.slow
def test_own_template(isolated: Path) -> None:
    project = isolated / "cafes"
    output = run_example("own_template", project)
    (summary,) = read_summaries(project)
    skill = {row["name"]: row["metrics"]["test/skill"] for row in summary["baselines"]}
    assert skill["seasonal naive"] == 0
    assert summary["metrics"]["test/skill"] > max(skill.values()) + 0.05
    assert summary["metrics"]["test/mase"] < 0.7
    assert re.search(r"^office-00: \d+ in 14 days\n    \+1  ", output, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("with_all", [False, True])
def test_own_template_keeps_to_the_style(isolated: Path, with_all: bool) -> None:
    template = load_foreign_template(EXAMPLES / "own_template", "own_template")
    words = [word for name in template.features for word in ("--with", name)]
    features = words if with_all else ["--minimal"]
    command = [sys.executable, "-m", "aistart", "new", str(EXAMPLES / "own_template"), "demo"]
    options = ["-y", "-q", "--no-git", "--trust", *features]
    subprocess.run([*command, *options], cwd=isolated, check=True)
    project, tools = isolated / "demo", project_python().parent
    subprocess.run([tools / "ruff", "check", "--no-cache", "."], cwd=project, check=True)
    words = ["format", "--no-cache", "--check", "."]
    subprocess.run([tools / "ruff", *words], cwd=project, check=True)
    if with_all:
        return  # what all projects have in common is tested with the templates
    own = {**os.environ, "PYTHONPATH": str(project / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_forecasting.py"]
    subprocess.run([project_python(), *words], cwd=project, env=own, check=True)


@pytest.mark.slow
def test_shop_from_postgresql(isolated: Path) -> None:
    project = isolated / "shop"
    output = run_example("shop_from_postgresql", project)
    first, second = read_summaries(project)
    metric = "test/ndcg_at_10"
    for summary in (first, second):
        assert summary["metrics"][metric] > best_baseline(summary, metric) + 0.05
    assert re.findall(r"version (\d) of shop .* is the champion now", output) == ["1", "2"]
    assert re.findall(r"^x-model: (.*)$", output, re.M) == ["shop/1", "shop/2"]
    before, after = (
        json.loads((project / f"story/{name}.json").read_text()) for name in ("before", "after")
    )
    assert len(before["scores"]) == len(after["scores"]) == 5
    assert before["scores"] != after["scores"]
    # The password of the database is in no file of the project but the server's own.
    secret = (project / "postgresql/password").read_text().strip().encode()
    own = [path for name in ("runs", "story") for path in (project / name).rglob("*")]
    assert not [path for path in own if path.is_file() and secret in path.read_bytes()]


@pytest.mark.slow
def test_from_laptop_to_two_workers(isolated: Path) -> None:
    project = isolated / "digits"
    output = run_example("from_laptop_to_two_workers", project)
    one, two, killed, manifest = json.loads((project / "comparison.json").read_text())
    assert [row["replicas"] for row in (one, two, killed, manifest)] == [1, 2, 2, 2]
    assert killed["weights"] == two["weights"] == manifest["weights"]
    assert killed["resumed_from_step"] > 0
    assert two["largest_difference"] < 1e-2  # rounding: sums of two parts
    assert "Worker 1, process" in output
    assert "killed by SIGKILL" in output
    assert "All workers ended with 0; 0 were started again." in output
