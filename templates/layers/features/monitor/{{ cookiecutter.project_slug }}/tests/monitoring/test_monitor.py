"""The command ``monitor``, with a trained run."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }}.__main__ import load_task, main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.monitoring import samples
from {{ cookiecutter.package_name }}.engine.monitoring.models import find_model
from {{ cookiecutter.package_name }}.engine.monitoring.profile import (
    INPUTS,
    PREDICTIONS,
    read_profile,
)
from {{ cookiecutter.package_name }}.engine.monitoring.sections import MonitorFields
from {{ cookiecutter.package_name }}.engine.requests import decode_bytes
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.tracking.sender import registry_name
from {{ cookiecutter.package_name }}.engine.trained_models import find_artifact

RULES = Path(__file__).parents[2] / "configs" / "monitor.yaml"


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, of which the service keeps samples."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    (tmp_path / "configs").mkdir()
    shutil.copy(RULES, tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP__MONITOR__SAMPLES", "kept")
    return tmp_path


def test_training_leaves_a_profile(trained: Path) -> None:
    task = load_task()
    model, _ = find_artifact("latest", task, load_config())
    profile = read_profile(model.attachments)
    assert profile is not None
    assert profile.parts[INPUTS]
    assert bool(profile.parts[PREDICTIONS]) == (task.respond is None)  # texts are not watched
    assert profile.is_private == task.has_private_examples
    assert profile.metrics
    assert profile.intervals.keys() <= profile.metrics.keys()
    assert len(json.dumps(profile.to_json())) < 100_000


def test_a_registered_run_is_known_by_name_and_number(project: Path) -> None:
    run, config = find_run("latest"), load_config()
    run.write("tracking", (run.read("tracking") or {}) | {"registered_version": 3})
    name = registry_name(load_config(base=run.config_file).tracking)
    assert find_model(run.id, config).versions == [run.id, f"{name}/3"]


def test_logged_samples_are_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, config = load_task(), load_config(base=find_run("latest").config_file)
    artifact, _ = find_artifact("latest", task, config)
    schema = task.request_schema(artifact.preprocessing)
    rows = [decode_bytes(schema["examples"][0], schema)] * samples.ROWS_AT_ONCE
    requests = task.read_requests(rows, artifact.preprocessing, config)
    answers = artifact.answer(requests.split, config, 128)
    model = SimpleNamespace(
        name="default",
        version=find_run("latest").id,
        registered_name="",
        artifact=artifact,
        config=config,
        task=task,
    )
    samples.keep(MonitorFields(samples="kept"), model, requests, answers)
    capsys.readouterr()
    assert main(["monitor", "--logged", "--output", "out"]) == 1
    shown = capsys.readouterr()
    assert "error: changed beyond configs/monitor.yaml: " in shown.err
    summary = json.loads((project / "out" / "summary.json").read_text())
    assert summary["outcome"] == "changed"
    assert summary["rows"] == samples.ROWS_AT_ONCE
    page = (project / "out" / "index.html").read_text()
    assert "Has anything changed?" in page
    assert task.notice in page.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "monitor: name a FILE or --logged, one of the two."),
        (["runs", "--logged"], 2, "monitor: name a FILE or --logged, one of the two."),
        (["nowhere.csv"], 3, "FILE: 'nowhere.csv' does not exist."),
        (["--logged", "--labels", "x.csv"], 2, "--labels: goes with a FILE"),
        (["--logged", "--days", "-1"], 2, "--days: a number above 0, up to 36,500, with"),
        (["--logged", "--days", "1e12"], 2, "--days: a number above 0, up to 36,500, with"),
        (["--logged"], 3, "--logged: there are no samples of "),
        (["--logged", "--run", "nothing"], 2, "--run: 'nothing' is unknown."),
    ],
)
def test_wrong_use(
    project: Path,
    words: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["monitor", *words]) == code
    assert f"error: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: {psy: 0.1}", "inputs: 'psy' is unknown. Did you mean 'psi'?"),
        ("columns: {a: {psi: -1}}", "configs/monitor.yaml: columns.a.psi: -1 is not allowed"),
        ("columns: {a: {psx: 1}}", "configs/monitor.yaml: columns: a: 'psx' is unknown."),
        ("performance: {min_labels: '50'}", "performance.min_labels: '50' is not allowed"),
        ("rows: 3", "configs/monitor.yaml: 'rows' is unknown."),
        ("- a", "configs/monitor.yaml must hold rules by name"),
    ],
)
def test_wrong_rules(
    project: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("configs/monitor.yaml").write_text(text)
    assert main(["monitor", "--logged"]) == 2
    assert message in capsys.readouterr().err
