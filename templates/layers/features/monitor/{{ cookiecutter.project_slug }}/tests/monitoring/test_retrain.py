"""The steps of ``retrain``; the commands that they call are stood in for."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.config_fields import BaseConfig
from {{ cookiecutter.package_name }}.engine.files import write_text
from {{ cookiecutter.package_name }}.engine.locks import try_lock
from {{ cookiecutter.package_name }}.engine.monitoring import retrain
from {{ cookiecutter.package_name }}.engine.monitoring.retrain import Progress
from {{ cookiecutter.package_name }}.engine.report import promote
from {{ cookiecutter.package_name }}.engine.runs import Run, start_run

WORDS = ["--train.epochs", "2"]


class Steps:
    """Stands in for the commands: remembers them, and ends each with a code.

    Attributes:
        codes: command -> exit code; 0 for all others.
        refusal: of the gate; '' for none.
    """

    def __init__(self) -> None:
        self.called: list[str] = []
        self.codes: dict[str, int] = {}
        self.refusal = ""

    def call(self, command: str, words: Sequence[str]) -> int:
        """Note a command; ``train`` leaves a run, if it ends well."""
        self.called.append(command)
        code = self.codes.get(command, 0)
        if command == "train" and code == 0:
            finish(load_config(words))
        return code

    def promote(self, *_: object) -> None:
        """Promote, or refuse."""
        self.called.append("promote")
        if self.refusal:
            raise promote.Refused(self.refusal)


def finish(config: BaseConfig) -> Run:
    """Leave a finished run."""
    trained, lock = start_run(config)
    lock.close()
    trained.write("summary", {"metrics": {"test/accuracy": 1.0}})
    trained.write("tracking", {"registered_version": 1})
    return trained


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The commands."""
    steps = Steps()

    def begin(project: object, words: list[str]) -> Progress:
        write_text(Progress.config_file(), load_config(words).to_yaml())
        return Progress(words, champion="models:/demo/1", starts_from_it=True).write()

    monkeypatch.setattr(retrain, "_call", steps.call)
    monkeypatch.setattr(retrain, "_begin", begin)
    monkeypatch.setattr(promote, "run", steps.promote)
    return steps


def test_all_steps(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", *WORDS]) == 0
    assert steps.called == ["train", "evaluate", "promote"]
    assert "retrain: promote: " in capsys.readouterr().out
    assert not Progress.file().exists()


@pytest.mark.parametrize(
    ("step", "code", "expected"),
    [("train", 1, 1), ("train", 3, 3), ("train", 4, 4), ("train", 75, 75), ("evaluate", 137, 1)],
)
def test_a_step_that_fails_ends_it(steps: Steps, step: str, code: int, expected: int) -> None:
    steps.codes[step] = code
    assert main(["retrain", *WORDS]) == expected
    assert steps.called[-1] == step
    assert Progress.file().exists() == (expected in (1, 75)), "what may work later is kept"


def test_it_continues_where_it_was_stopped(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.codes["evaluate"] = 75
    assert main(["retrain", *WORDS]) == 75
    del steps.codes["evaluate"]
    assert main(["retrain", *WORDS]) == 0
    assert steps.called == ["train", "evaluate", "evaluate", "promote"]
    assert "retrain: begin: continues after: inspect, train" in capsys.readouterr().out


def test_a_run_that_was_finished_while_it_was_killed_is_taken(steps: Steps) -> None:
    steps.codes["train"] = 75
    assert main(["retrain", *WORDS]) == 75
    finish(load_config(WORDS))
    finish(load_config())  # of somebody else
    assert main(["retrain", *WORDS]) == 0
    assert steps.called == ["train", "evaluate", "promote"]


def test_other_words_begin_anew(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    steps.codes["evaluate"] = 75
    assert main(["retrain", *WORDS]) == 75
    steps.codes.clear()
    assert main(["retrain"]) == 0
    assert steps.called == ["train", "evaluate", "train", "evaluate", "promote"]
    assert "an earlier retrain with other words was not finished" in capsys.readouterr().out


def test_the_gate_refuses(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    steps.refusal = "refused: worse."
    assert main(["retrain", *WORDS]) == 5
    assert "is trained, but refused: worse." in capsys.readouterr().err
    assert not Progress.file().exists()


def test_one_at_a_time(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    lock = try_lock(Path("runs/.retrain.lock"))
    assert lock is not None
    with lock:
        assert main(["retrain", *WORDS]) == 1
    assert "another one is at work" in capsys.readouterr().err
    assert steps.called == []
