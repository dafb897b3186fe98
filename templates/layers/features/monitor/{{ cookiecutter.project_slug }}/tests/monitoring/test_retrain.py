"""The steps of ``retrain``; the commands that they call are stood in for."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import Field

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import config_loader
from {{ cookiecutter.package_name }}.engine.config_fields import BaseConfig, Section
from {{ cookiecutter.package_name }}.engine.files import write_json, write_text
from {{ cookiecutter.package_name }}.engine.locks import try_lock
from {{ cookiecutter.package_name }}.engine.monitoring import retrain
from {{ cookiecutter.package_name }}.engine.monitoring.retrain import Progress
from {{ cookiecutter.package_name }}.engine.report import promote
from {{ cookiecutter.package_name }}.engine.runs import Run, start_run
from {{ cookiecutter.package_name }}.engine.tracking import registry
from {{ cookiecutter.package_name }}.registry import MODELS

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
        if command == "monitor" and code in (0, 1):
            folder = Path(words[words.index("--output") + 1])
            outcome = {"outcome": "changed" if code else "unchanged"}
            write_json(folder / "summary.json", outcome)
        if command == "train" and code == 0:
            finish(load_config(words, sections=retrain.find_training_sections()))
        return code

    def promote(self, project: Any, words: list[str]) -> None:
        """Promote, or refuse."""
        project.load_config(words[2:])  # after --run ID
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

    def begin(project: Any, words: list[str]) -> Progress:
        write_text(Progress.config_file(), project.load_config(words).to_yaml())
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
    sections = retrain.find_training_sections()
    finish(load_config(WORDS, sections=sections))
    finish(load_config(sections=sections))  # of somebody else
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


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (3, 3), (75, 75)])
def test_a_check_for_drift_that_fails_does_not_start_training_next_time(
    steps: Steps, code: int, expected: int
) -> None:
    steps.codes["monitor"] = code
    assert main(["retrain", "--on-drift", *WORDS]) == expected
    del steps.codes["monitor"]
    assert main(["retrain", "--on-drift", *WORDS]) == 0
    assert steps.called == ["monitor", "monitor"]
    assert not Progress.file().exists()


def test_what_was_begun_before_any_step_is_begun_anew(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    Progress(WORDS, champion="models:/demo/0").write()
    steps.codes["monitor"] = 1
    assert main(["retrain", "--on-drift", *WORDS]) == 0
    assert steps.called == ["monitor", "train", "evaluate", "promote"]
    assert "models:/demo/0" not in capsys.readouterr().out


# === Where it begins ===


class ShopFields(Section):
    """What a feature of these tests is told in training."""

    port: int = Field(80, description="of the shop")
    street: str = Field("", description="of the shop")


@pytest.fixture
def with_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a project with a feature that training reads fields of."""
    monkeypatch.setattr(config_loader, "find_sections", lambda: {"shop": ShopFields})
    monkeypatch.setattr(retrain, "find_training_sections", lambda: ["shop"])


@pytest.mark.usefixtures("with_shop")
def test_fields_of_features_are_read(steps: Steps) -> None:
    assert main(["retrain", *WORDS, "--shop.port", "82"]) == 0
    assert steps.called == ["train", "evaluate", "promote"]


@pytest.mark.usefixtures("with_shop")
@pytest.mark.parametrize("is_other", [False, True])
def test_the_champion_is_trained_as_it_was(
    is_other: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_all = partial(load_config, sections=["shop"])
    theirs = tmp_path / "config.yaml"
    theirs.write_text(load_all(["--shop.port", "81", "--train.init_from", "old"]).to_yaml())

    class Registry:
        name = "demo"

        def __init__(self, *_: object) -> None: ...

        def champion(self) -> SimpleNamespace:
            return SimpleNamespace(number=3)

        def fetch(self, *_: object) -> SimpleNamespace:
            return SimpleNamespace(config_file=theirs)

    def adapt(config: Any, say: Any) -> Any:
        assert config.train.init_from == (None if is_other else "models:/demo/3")
        return config.model_copy(update={"shop": ShopFields(port=config.shop.port + 1)})

    monkeypatch.setattr(registry, "Registry", Registry)
    monkeypatch.setattr(retrain, "adapt_retraining", adapt)
    other = next(name for name in MODELS if name != load_all([]).model.name)
    words = ["--shop.street", "High", *(["--model.name", other] if is_other else [])]
    Path("runs").mkdir()
    progress = retrain._begin(SimpleNamespace(load_config=load_all), words)
    assert progress.starts_from_it != is_other
    written = yaml.safe_load(Progress.config_file().read_text())
    assert written["shop"] == {"port": 82, "street": "High"}
    assert written["train"]["init_from"] == (None if is_other else "models:/demo/3")
