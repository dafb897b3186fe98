"""The page of evidence and the model card: what they say, whatever the data holds."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from {{ cookiecutter.package_name }}.__main__ import evaluate as evaluate_command
from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.evaluation import Evaluation
from {{ cookiecutter.package_name }}.engine.figures import figure, read_description
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits, Split
from {{ cookiecutter.package_name }}.engine.report import page
from {{ cookiecutter.package_name }}.engine.report.card import is_open
from {{ cookiecutter.package_name }}.engine.report.evidence import Evidence
from {{ cookiecutter.package_name }}.engine.report.markdown import escape
from {{ cookiecutter.package_name }}.engine.report.page import write_page
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.trained_models import find_artifact
from {{ cookiecutter.package_name }}.task import task

from .conftest import QUICK, UNRECORDED

HOSTILE = "<script>alert(1)</script>"


# === The page of a run ===


def test_every_run_has_a_page(trained: Path) -> None:
    folder = find_run("latest").report_dir
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    for title in ("The answer", "Data", "Curves", "Cost", "How to repeat it"):
        assert f">{title}</h2>" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "it refers to nothing outside"
    name, value = next(iter(find_run("latest").summary["metrics"].items()))
    assert f"{name.partition('/')[2]} is {value:.4f} (95 % interval " in page
    assert f"--config runs/{find_run('latest').id}/config.yaml" in page


def test_every_run_has_a_card_that_says_what_is_open(trained: Path) -> None:
    run = find_run("latest")
    card = (run.report_dir / "MODEL_CARD.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    results = head["model-index"][0]["results"][0]
    metrics = {f"test/{row['type']}": row["value"] for row in results["metrics"]}
    assert (
        metrics.items()
        <= {name: round(value, 6) for name, value in run.summary["metrics"].items()}.items()
    )
    assert "> Not written yet: Intended use, Data, Limits, Ethical considerations, Contact" in card
    assert "## EU AI Act, Annex IV" in card


def test_what_people_wrote_is_in_the_next_card(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = trained / "docs/model_card/limits.md"
    written.parent.mkdir(parents=True)
    written.write_text("Fails at night.\n")
    assert evaluate_command([]) == 0
    card = (find_run("latest").report_dir / "MODEL_CARD.md").read_text()
    assert "## Limits\n\nFails at night." in card
    assert "Not written yet: Intended use, Data, Ethical considerations, Contact" in card
    assert is_open("> **To be written by a person:** why?\n> and how?")
    assert not is_open("> **To be written by a person:** why?\n\nBecause.")


def test_evaluate_says_what_the_run_said(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = find_run("latest").report_dir
    before = json.loads((folder / "evidence.json").read_text())
    assert evaluate_command(["--run", find_run("latest").id]) == 0
    shown = capsys.readouterr().out
    assert f"Evidence: {folder / 'index.html'}\n" in shown
    assert json.loads((folder / "evidence.json").read_text()) == before
    page = (folder / "index.html").read_text()
    assert evaluate_command(["--split", "validation"]) == 0
    assert (folder / "index.html").read_text() == page
    assert "of the validation split" in (folder / "validation_index.html").read_text()


def test_a_column_that_does_not_exist_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_command(["--by", "no such column"]) == 2
    assert capsys.readouterr().err.startswith("error: data.slice_columns: 'no such column'")


@pytest.mark.parametrize("count", [1, 2])
def test_a_split_of_hardly_any_example(trained: Path, tmp_path: Path, count: int) -> None:
    measured = measure_trained(tmp_path, count)
    page = write_page(Evidence(measured)).read_text(encoding="utf-8")
    assert f"On the {count} examples of the test split" in page


def test_a_report_that_fails_costs_no_run(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "render", lambda *arguments: 1 / 0)
    assert program.main(["train", *UNRECORDED, "--train.max_steps", "2"]) == 0
    assert (
        "The run is complete, but its report is not: ZeroDivisionError" in capsys.readouterr().out
    )
    assert find_run("latest").summary["metrics"]


# === Whatever the data holds ===


def measure_trained(folder: Path, count: int | None = None) -> Evaluation:
    """Return the trained model measured on its test split, or on the first of its examples."""
    config = load_config(QUICK)
    model, _ = find_artifact("latest", task, config)
    data = task.load(load_config(base=find_run("latest").config_file), model.preprocessing)
    if count:
        data = replace(data, test=data.test.take(np.arange(count)))
    outputs = model.predict_split(data.test, 32)
    measured = task.measure(data.test, outputs, model.preprocessing)
    metrics = {f"test/{name}": value for name, value in measured.items()}
    return Evaluation(model, data, "test", outputs, metrics, config, folder)


def test_undefined_metrics_and_hostile_names_are_shown_as_text(
    trained: Path, tmp_path: Path
) -> None:
    measured = measure_trained(tmp_path)
    metrics = {"test/broken": float("nan"), **measured.metrics}
    notes = {"classes": {HOSTILE: 3, "=cmd()": 1, "\u202eevil": 2}, HOSTILE: HOSTILE}
    data = replace(
        measured.data, source=HOSTILE, notes=notes, unreadable=((HOSTILE, f"{HOSTILE}!"),)
    )
    rows = ({"name": HOSTILE, "metrics": {"test/broken": float("nan")}},)
    with figure(tmp_path / f"test_{'x' * 5}.svg", description=HOSTILE) as axis:
        axis.set_title(HOSTILE)
    assert read_description(tmp_path / "test_xxxxx.svg") == HOSTILE
    evidence = Evidence(replace(measured, metrics=metrics, data=data, baselines=rows))
    page = write_page(evidence).read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "broken is undefined" in page
    assert escape(f"{HOSTILE}|`*[x]") == "&lt;script>alert(1)&lt;/script>\\|\\`\\*\\[x]"


def test_splits_without_groups_or_columns(trained: Path, tmp_path: Path) -> None:
    measured = measure_trained(tmp_path)
    assert isinstance(measured.split, Split)
    assert isinstance(measured.data, DatasetSplits)
    evidence = Evidence(measured)
    assert evidence.rivals == []
    assert set(evidence.intervals) == set(evidence.metrics)


# === Runs side by side ===


def test_runs_are_compared_on_a_page(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = find_run("latest").id
    assert program.main(["runs", "compare", run, run, "--html", "there/compare.html"]) == 0
    assert capsys.readouterr().out.endswith("\nPage: there/compare.html\n")
    page = Path("there/compare.html").read_text()
    assert "within noise" in page
    assert "All fields are the same." in page
    assert page.count("<figure>") >= 1
    Path("there/compare.html").unlink()
