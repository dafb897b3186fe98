"""Training: what is refused before it, what ends it, and what it leaves."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import PACKAGE, artifact, loop
from {{ cookiecutter.package_name }}.engine.config_fields import without_password
from {{ cookiecutter.package_name }}.engine.runs import all_runs, find_run
from {{ cookiecutter.package_name }}.engine.strategy import connect

from ..conftest import QUICK, UNRECORDED


def test_weights_that_come_from_the_data_are_not_copied(
    use_task: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(UNRECORDED) == 0
    task, config = use_task(), load_config([*UNRECORDED, "--train.init_from", "latest"])
    preprocessing = task.preprocessing.fit(task.load(config, None).train, config)
    theirs = artifact.load(find_run("latest").model_file, task).network
    kept = theirs.trainable_weights[0].path
    task = use_task(weights_from_data=(f"^{kept}$",))
    network = loop.build(task, config, preprocessing, connect(config.runtime, {}))
    for mine, their in zip(network.trainable_weights, theirs.trainable_weights, strict=True):
        assert np.array_equal(mine, their) == (mine.path != kept), mine.path


def test_divergence_is_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--train.learning_rate",
        "10",
        "--train.optimizer",
        "sgd",
        "--train.weight_decay",
        "1",
        "--train.gradient_clip_norm",
        "null",
        "--train.momentum",
        "0.99",
    ]
    assert (
        main(
            [
                *QUICK,
                *words,
                "--train.max_steps",
                "600",
                "--train.epochs",
                "200",
                "--train.schedule",
                "constant",
                "--train.early_stopping_patience",
                "0",
            ]
        )
        == 4
    )
    message = capsys.readouterr().err
    assert message.startswith("error: training diverged: the loss is ")
    assert message.count("\n") == 1
    (run,) = all_runs()
    assert "Traceback" in run.log_file.read_text()


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--model.name", "cnm"], "model.name: 'cnm' is unknown", 2),
        (["--data.source", "digit"], "data.source: 'digit' is unknown", 2),
        (["--train.init_from", "latest"], "there is no finished run", 2),
        (["--resume", "latest"], "--resume: there is no unfinished run.", 2),
        (["--resume", "latest", "--fresh"], "--fresh and --resume contradict each other.", 2),
        (["--runtime.model_devices", "2"], "runtime.model_devices: 2 ", 2),
    ],
)
def test_refused(
    words: list[str], message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, *words]) == code
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.startswith("error: ")
    assert captured.count("\n") == 1
    assert all_runs() == [], "nothing half-written"


@pytest.mark.parametrize("name", ["baselines", "inputs", "report"])
def test_what_is_used_after_training_is_tried_before_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = sys.modules[PACKAGE]
    monkeypatch.delattr(package, name, raising=False)
    monkeypatch.setitem(sys.modules, f"{package.__name__}.{name}", None)  # cannot be imported
    for module in ("task", "train"):  # as in a new process
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{module}")
    assert main(QUICK) == 1
    message = capsys.readouterr().err
    assert f"{package.__name__}.{name}" in message
    assert message.count("\n") == 1
    assert all_runs() == []


def test_no_permission_to_write(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "runs").write_text("a file in the way; root may write where others may not")
    assert main(QUICK) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "runs" in message
    assert message.count("\n") == 1


def test_passwords_are_not_shown() -> None:
    assert without_password("postgresql://me:secret@host/db") == "postgresql://host/db"
    assert without_password("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    config = load_config(["--tracking.uri", "http://me:hunter2@127.0.0.1:9"])
    assert "hunter2" not in config.to_yaml()
    assert config.tracking.uri.endswith("hunter2@127.0.0.1:9")


def test_experiment_names_that_a_registry_refuses() -> None:
    words = [*QUICK, "--train.max_steps", "1", "--tracking.experiment", "team/digits: first"]
    assert main(words) == 0
    assert find_run("latest").summary["mlflow"]["registered_version"] == 1


def test_log_handlers_are_gone_after_a_run() -> None:
    assert main([*UNRECORDED, "--train.max_steps", "1"]) == 0
    names = [type(handler).__name__ for handler in logging.getLogger(PACKAGE).handlers]
    assert "FileHandler" not in names
    assert "StreamHandler" not in names
