"""``cross-validate`` holds each row out once a repetition."""

import json
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import tuning
from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.engine.runs import all_runs

from .clinic import make_patients, write_table


@pytest.mark.usefixtures("fit_alone")
def test_each_row_is_held_out_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "BOOSTING_CANDIDATES", tuning.BOOSTING_CANDIDATES[:1])
    words = [*write_table(make_patients(120)), "--tracking.enabled", "false"]
    words += ["--train.max_steps", "3", "--model.name", "logistic"]
    words += ["--runtime.strategy", "single"]
    cross_validate = program.script("cross-validate")
    assert cross_validate([*words, "--folds", "2", "--repeats", "2"]) == 0
    assert "2 x 2 folds" in capsys.readouterr().out
    (file,) = Path("reports").iterdir()
    result = json.loads(file.read_text())
    assert len(result["runs"]) == len(all_runs()) == 4
    assert set(result["metrics"]) == {
        "model",
        "prevalence",
        "logistic regression, tuned",
        "gradient boosting, tuned",
    }
    assert 0 <= result["metrics"]["model"]["ece"] <= 1
    assert cross_validate([*words, "--folds", "1"]) == 2
    assert capsys.readouterr().err == "error: --folds: 1 is not allowed: 2 to 20.\n"
    assert cross_validate([*words, "--data.split", "time"]) == 2
    assert capsys.readouterr().err == (
        "error: data.split: cross-validate needs 'patient', not 'time'.\n"
    )
