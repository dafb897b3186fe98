"""Monitoring of generated projects: a service whose samples are compared, and training again."""

import base64
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.environments import project_python
from tests.generated.browser import WIDTHS, find_faults, open_page
from tests.generated.servers import wait_for
from tests.generated.services import call, environment, make_project, serving

MONITOR = ("--with", "monitor")
ROWS, AT_ONCE = 600, 100
SMALL = ("--train.max_steps", "40", "--data.limit", "600")

pytestmark = [pytest.mark.minutes(4), pytest.mark.xdist_group("monitor")]

# Prints the digits of scikit-learn as PNG files in base64, brighter by a factor.
DIGITS = """
import base64, io, json, sys
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
order = np.random.default_rng(1).permutation(len(digits.images))[: int(sys.argv[2])]
for image in np.clip(digits.images[order] * float(sys.argv[1]) * 255 / 16, 0, 255).astype("uint8"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    print(base64.b64encode(file.getvalue()).decode())
"""
# Prints patients of the synthetic cohort.
PATIENTS = """
import sys
from demo.datasets import cohort

frame = cohort.generate().frame.iloc[: int(sys.argv[1])].astype(object)
print(frame.to_csv(index=False))
"""


def run_python(project: Path, code: str, *words: str) -> str:
    """Run Python in a project and return what it prints."""
    command = [str(project_python()), "-c", code, *words]
    own = environment(project)
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_summary(project: Path, folder: str) -> dict[str, Any]:
    """What ``monitor`` has written for scripts."""
    return json.loads((project / folder / "summary.json").read_text())


# === Images: a service, its samples, and training again ===


@pytest.fixture(scope="module")
def images() -> Path:
    """A project with a champion that ``retrain`` has trained and promoted."""
    project = make_project("vision-classifier", *MONITOR)
    gate = project / "configs" / "gate.yaml"
    gate.write_text("metrics: {headline: {not_worse_by: 0.5}}\n")
    done = call(project, "retrain", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "demo has no champion yet: training starts from scratch" in done.stdout
    assert "is the champion now: models:/demo@champion" in done.stdout
    return project


@pytest.mark.slow
def test_samples_of_a_service_are_compared(images: Path) -> None:
    kept = {"APP__MONITOR__SAMPLES": "samples"}
    champion = ("--run", "models:/demo@champion")
    with serving(images, *champion, **kept) as service:
        for factor in ("1", "1.3"):
            shown = run_python(images, DIGITS, factor, str(AT_ONCE)).split()
            answer = service.post([{"image": image} for image in shown])
            assert answer.status == 200
            size = AT_ONCE if factor == "1" else 2 * AT_ONCE
            wait_for(lambda size=size: len(read_lines(images)) == size, "samples")
            words = ("monitor", "--logged", *champion, "--output", f"out/{factor}")
            done = call(images, *words, **kept)
            summary = read_summary(images, f"out/{factor}")
            assert summary["rows"] == size
            assert done.returncode == (summary["outcome"] == "changed"), done.stderr
    unchanged, changed = (read_summary(images, f"out/{factor}") for factor in ("1", "1.3"))
    assert unchanged["outcome"] == "unchanged", unchanged["reasons"]
    assert changed["outcome"] == "changed"
    assert {column["name"] for column in changed["columns"]} >= {"brightness", "file width"}
    line = read_lines(images)[0]
    assert "image" not in json.dumps(line)
    page = images / "out" / "1.3" / "index.html"
    for width, scheme in zip(WIDTHS, ("dark", "light"), strict=True):
        with open_page(page, width, scheme) as opened:
            assert find_faults(opened) == []


def read_lines(project: Path) -> list[dict[str, Any]]:
    """The samples that a service has kept."""
    files = sorted(project.glob("samples/*/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_a_file_with_labels(images: Path, tmp_path: Path) -> None:
    shown = run_python(images, DIGITS, "1", "120").split()
    (tmp_path / "images").mkdir()
    for number, image in enumerate(shown):
        (tmp_path / "images" / f"{number:03}.png").write_bytes(base64.b64decode(image))
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    done = call(images, "predict", str(tmp_path / "images" / "000.png"), "--json")
    wrong = "1" if json.loads(done.stdout)["prediction"] == "0" else "0"
    labels = io.StringIO()
    rows = [(str(tmp_path / "images" / f"{number:03}.png"), wrong) for number in range(60)]
    csv.writer(labels).writerows([("id", "label"), *rows, ("gone.png", "3")])
    (tmp_path / "labels.csv").write_text(labels.getvalue())
    words = ("--labels", str(tmp_path / "labels.csv"), "--output", "out/labels")
    done = call(images, "monitor", str(tmp_path / "images"), *words)
    assert done.returncode == 1, done.stderr
    assert "accuracy: worse by 0." in done.stderr
    performance = read_summary(images, "out/labels")["performance"]
    assert (performance["rows"], performance["unused_labels"]) == (60, 1)
    assert read_summary(images, "out/labels")["rejected"] == 1


@pytest.mark.slow
def test_retraining_continues_after_a_kill_and_is_refused_by_the_gate(images: Path) -> None:
    command = [str(project_python()), "-m", "demo", "retrain"]
    own = environment(images)
    process = subprocess.Popen(command, cwd=images, env=own, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("retrain: evaluate: "):
            break
    process.kill()
    process.wait()
    runs = len(list((images / "runs").glob("*/config.yaml")))
    gate = images / "configs" / "gate.yaml"
    gate.write_text("metrics: {headline: {at_least: 1.1}}\n")
    done = call(images, "retrain")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "retrain: begin: continues after: inspect, train" in done.stdout
    assert "is trained, but refused: " in done.stderr
    assert "The champion is still version 1" in done.stderr
    assert len(list((images / "runs").glob("*/config.yaml"))) == runs
    config = sorted((images / "runs").glob("*/config.yaml"))[-1].read_text()
    assert "init_from: models:/demo/1" in config
    assert "limit: 600" in config, "fields of the champion are kept"


# === Patients: nothing of one of them is in any file ===


@pytest.mark.slow
def test_nothing_of_a_patient_is_kept() -> None:
    project = make_project("medical-diagnosis", *MONITOR)
    source = ("--data.source", "cohort")
    done = call(project, "train", *source, *SMALL[:2], "--tracking.enabled", "false")
    assert done.returncode == 0, done.stderr
    reader = csv.DictReader(io.StringIO(run_python(project, PATIENTS, str(ROWS)).strip()))
    rows = [dict(row) for row in reader]
    kept = {"APP__MONITOR__SAMPLES": "samples"}
    with serving(project, **kept) as service:
        (model,) = service.ask("GET", "/schema").json()["models"]
        properties = model["schema"]["properties"]
        sent = [as_request(row, properties) for row in rows]
        for start in range(0, ROWS, AT_ONCE):
            answers = service.post(sent[start : start + AT_ONCE])
            assert answers.status == 200, answers.body[:500]
            assert not any("error" in answer for answer in answers.json())
        wait_for(lambda: read_lines(project), "samples")
    done = call(project, "monitor", "--logged", "--output", "out", **kept)
    assert done.returncode in (0, 1), done.stderr
    assert model["notice"] in done.stdout
    (line,) = read_lines(project)
    counts = [n for part in ("inputs", "predictions") for c in line[part].values() for n in c]
    assert all(count == 0 or count >= 10 for count in counts)
    written = "".join(
        path.read_text(errors="ignore")
        for folder in ("samples", "out")
        for path in (project / folder).rglob("*.*")
        if path.is_file()
    )
    persons = {row[name] for row in rows for name in ("patient", "visit_date", "first_visit")}
    assert len(persons) > 400
    assert [value for value in persons if value in written] == []
    assert read_summary(project, "out")["rows"] == line["rows"]
    assert line["rows"] in range(500, ROWS, 10)


def as_request(row: dict[str, str], properties: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a table as a service takes it."""
    cells = {name: row[name] or None for name in properties}
    return {
        name: float(cell) if cell and "number" in properties[name]["type"] else cell
        for name, cell in cells.items()
    }


# === What the generator makes ===


def test_it_needs_the_gate_and_the_page(aistart: Callable, isolated: Path) -> None:
    words = ("new", "vision-classifier", "demo", "-y", "--with", "monitor", "--without", "report")
    result = aistart(*words)
    assert result.exit_code != 0
    message = "feature: 'monitor' requires 'report', which is given with --without"
    assert message in " ".join(result.output.split())
    assert not (isolated / "demo").exists()


@pytest.mark.parametrize(
    ("other", "file"),
    [
        ("kubernetes", "deploy/kubernetes/retrain.yaml"),
        ("ci", ".github/workflows/retrain.yaml"),
    ],
)
def test_schedules_come_with_both_features(
    aistart: Callable, isolated: Path, other: str, file: str
) -> None:
    words = ("new", "recommender", "-y", "--minimal", "--no-git", "--with", other)
    assert aistart(*words, "one").exit_code == 0
    assert aistart(*words, "both", *MONITOR).exit_code == 0
    assert not (isolated / "one" / file).exists()
    assert (isolated / "both" / file).is_file()
    tool = Path(sys.executable).parent
    if other == "kubernetes":
        check = [tool / "kubernetes-validate", "--strict", file]
    else:
        schema = ("--builtin-schema", "vendor.github-workflows")
        check = [tool / "check-jsonschema", *schema, file]
    subprocess.run(check, cwd=isolated / "both", check=True)
