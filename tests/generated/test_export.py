"""Exports of each template's default model, run by programs that know nothing of the project."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.environments import REPOSITORY, project_python
from tests.generated.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.minutes(2)]

QUICK = (
    *("--data.limit", "200", "--train.max_steps", "5", "--measure", "validation"),
    *("--tracking.enabled", "false"),
)
# ``export`` several times in one process, each with a line of its words and its exit code.
EXPORTS = """
import json, sys
from demo.__main__ import main

for words in json.loads(sys.argv[1]):
    print(json.dumps([words, main(["export", *words])]), flush=True)
"""
# What stands in the documented table, by what the engine knows of a network without converting it.
OBSTACLES = """
import json, sys
from demo.task import task
from demo.engine.export.formats import FORMATS, find_obstacle
from demo.engine.runs import all_runs
from demo.engine.artifact import load

network = load(all_runs()[-1].model_file, task).network
print(json.dumps([
    find_obstacle(network, name, quantization) is None
    for name, found in FORMATS.items()
    for quantization in (None, *found.quantizations)
]))
"""
# Runs a script where the project and its frameworks cannot be imported.
ALONE = """
import runpy, sys

for name in ("tensorflow", "keras", "jax", "demo"):
    sys.modules[name] = None
script = sys.argv.pop(1)
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


def train(project: Path, run_in: Run, **options: str) -> Path:
    """Train the default model for a moment and return the folder of the run."""
    trained = run_in(project, "demo", "train", *QUICK, **options)
    assert trained.returncode == 0, trained.stderr
    (run,) = (project / "runs").iterdir()
    return run


def run_python(project: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    return subprocess.run(
        [str(project_python()), "-c", script, *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def export(project: Path, run: Path, *exports: str) -> tuple[list[int], str]:
    """Export a run several times; return the exit codes and what was said of errors."""
    words = [["--run", run.name, "--max-drop", "0.2", *words.split()] for words in exports]
    done = run_python(project, EXPORTS, json.dumps(words))
    lines = [line for line in done.stdout.splitlines() if line.startswith("[[")]
    assert len(lines) == len(exports), done.stderr
    return [json.loads(line)[1] for line in lines], done.stderr


def run_alone(script: Path, *words: str) -> str:
    """Run a script without the project, TensorFlow and Keras; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(project_python()), "-c", ALONE, str(script), *words],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def difference(printed: str) -> float:
    (found,) = re.findall(r"differs from the trained model by up to (\S+)", printed)
    return float(found)


def check_table(project: Path, template: str) -> None:
    """Check the row of the default model in the README's table."""
    section = next((REPOSITORY / "templates" / template / "features/export/templates").iterdir())
    (row,) = re.findall(
        r"^\| `\w+` \(default\) \|(.*)\|$", section.read_text("utf-8"), re.MULTILINE
    )
    documented = [cell.strip() == "yes" for cell in row.split("|")]
    found = run_python(project, OBSTACLES)
    assert found.returncode == 0, found.stderr
    assert documented == json.loads(found.stdout.splitlines()[-1])


def test_images_of_a_run_on_jax(demo: Path, run_in: Run, tmp_path: Path) -> None:
    run = train(demo, run_in, KERAS_BACKEND="jax")
    codes, errors = export(
        demo, run, "--format litert --quantize int8", "--format savedmodel", "--format onnx"
    )
    assert codes == [0, 0, 0], errors
    small = json.loads((run / "export/litert-int8/report.json").read_text())
    assert small["exported"]["bytes"] < small["original"]["bytes"] / 3
    white = 'import sys; from PIL import Image; Image.new("L", (9, 8), 255).save(sys.argv[1])'
    run_python(demo, white, str(tmp_path / "white.png"))
    edge, folder = demo / "examples" / "edge", run / "export" / "litert-int8"
    printed = run_alone(edge / "classify.py", str(folder), str(tmp_path / "white.png"))
    assert len(re.findall(r"^ *\d+\.\d%  \d$", printed, re.MULTILINE)) == 3, printed
    assert difference(run_alone(edge / "run.py", str(folder))) < 1.0
    assert "`raw`" in (run / "export/savedmodel/README.md").read_text()
    check_table(demo, "vision-classifier")
    interrupt(demo, run)


def interrupt(project: Path, run: Path) -> None:
    """Stop an export in the middle: it leaves the old folder and nothing else."""
    before = (run / "export/onnx/report.json").read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = [str(project_python()), "-m", "demo", "export", "--run", run.name, "--format", "onnx"]
    process = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not list((run / "export").glob(".onnx.new-*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 75, errors
    assert not list((run / "export").glob(".onnx.new-*"))
    assert (run / "export/onnx/report.json").read_bytes() == before


def test_texts(text_demo: Path, run_in: Run) -> None:
    run = train(text_demo, run_in)
    codes, errors = export(
        text_demo, run, "--format litert", "--format savedmodel", "--format onnx --quantize int8"
    )
    assert codes == [0, 0, 2], errors
    assert "--format onnx --quantize int8: a layer looks numbers up in its weights" in errors
    written = sorted(file.name for file in (run / "export").iterdir())
    assert written == [".litert.lock", ".savedmodel.lock", "litert", "savedmodel"]
    readme = (run / "export/savedmodel/README.md").read_text()
    assert "no signature can" in readme
    printed = run_alone(text_demo / "examples/edge/run.py", str(run / "export" / "litert"))
    assert difference(printed) < 1e-4
    check_table(text_demo, "text-classifier")


def test_patients(clinic_demo: Path, run_in: Run) -> None:
    run = train(clinic_demo, run_in)
    codes, errors = export(
        clinic_demo, run, "--format litert", "--format savedmodel", "--format onnx --quantize int8"
    )
    assert codes == [0, 0, 0], errors
    printed = run_alone(clinic_demo / "examples/edge/run.py", str(run / "export" / "litert"))
    assert difference(printed) < 1e-4
    readme = (run / "export/savedmodel/README.md").read_text()
    assert "Not a medical device" in readme
    assert "`raw`" in readme
    check_table(clinic_demo, "medical-diagnosis")


def test_recommendations(shop_demo: Path, run_in: Run) -> None:
    run = train(shop_demo, run_in)
    codes, errors = export(
        shop_demo,
        run,
        "--format savedmodel",
        "--format onnx",
        "--prune 0.5 --tracking.enabled false",
        "--distill mf --tracking.enabled false",
    )
    assert codes == [0, 0, 2, 2], errors
    assert errors.count("must be alike") == 2, errors
    assert len(list((shop_demo / "runs").iterdir())) == 1
    readme = (run / "export/savedmodel/README.md").read_text()
    assert "(`history`, `user`)" in readme
    check_table(shop_demo, "recommender")


def test_edge_script_is_short(demo: Path) -> None:
    for script in (demo / "examples" / "edge").iterdir():
        code = script.read_text("utf-8").split('"""', 2)[2]
        assert len([line for line in code.splitlines() if line.strip()]) <= 30, script.name
