"""The command ``promote``, with two registered runs of the same model."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.engine import PACKAGE as NAME
from {{ cookiecutter.package_name }}.engine.config_fields import TrackingFields
from {{ cookiecutter.package_name }}.engine.errors import ProjectError
from {{ cookiecutter.package_name }}.engine.report import promote
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.tracking.registry import (
    ALIAS,
    PREDECESSORS,
    Registry,
)
from {{ cookiecutter.package_name }}.task import task

from . import domain
from .conftest import STORE

LENIENT = "metrics: {headline: {not_worse_by: 0.9}}"


@pytest.fixture(scope="module")
def project_with_versions(
    project_with_a_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with two runs, of which the registry beside them has versions 1 and 2."""
    folder = tmp_path_factory.mktemp("promote")
    (folder / "pyproject.toml").touch()
    shutil.copytree(project_with_a_run / "runs", folder / "runs")
    (first,) = (folder / "runs").iterdir()
    (first / "tracking.json").unlink()
    shutil.copytree(first, first.with_name(f"{first.name}-again"))
    before, store = Path.cwd(), os.environ[STORE]
    os.chdir(folder)
    os.environ[STORE] = f"sqlite:///{folder / 'mlflow.db'}"
    try:
        for run in (first.name, f"{first.name}-again"):
            assert main(["replay", run]) == 0
    finally:
        os.chdir(before)
        os.environ[STORE] = store
    return folder


@pytest.fixture
def registry(project_with_versions: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry of the current project, without a champion."""
    monkeypatch.chdir(project_with_versions)
    monkeypatch.setenv(STORE, f"sqlite:///{project_with_versions / 'mlflow.db'}")
    write_gate(LENIENT)
    opened = Registry(NAME, TrackingFields(uri=os.environ[STORE]))
    if opened.champion_number():
        mlflow.MlflowClient().delete_registered_model_alias(NAME, ALIAS)
    return opened


def write_gate(text: str) -> None:
    Path("configs").mkdir(exist_ok=True)
    Path("configs/gate.yaml").write_text(text)


def unreachable() -> str:
    """Return a limit of the headline metric that no model keeps."""
    headline = next(iter(find_run("latest").summary["metrics"])).partition("/")[2]
    return "at_most: -1" if headline in task.lower_is_better else "at_least: 2"


def version(number: int) -> list[str]:
    return ["promote", "--run", f"models:/{NAME}/{number}"]


def test_from_the_first_champion_to_the_second_and_back(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*version(1), "--dry-run"]) == 0
    assert "dry run: version 1 of " in capsys.readouterr().out
    assert registry.champion() is None
    assert main(version(1)) == 0
    assert "no champion yet" in capsys.readouterr().out
    assert registry.champion_number() == 1
    assert main(["promote"]) == 0  # the latest run is version 2
    output = capsys.readouterr().out
    assert "not worse by 0.9" in output
    assert "pass" in output
    second = registry.champion()
    assert (second.number, second.predecessors) == (2, [1])
    assert second.tags["promoted_by"]
    assert second.tags["promoted_at"]
    assert "not worse by 0.9" in second.tags["promoted_because"]
    assert main(["promote"]) == 0
    assert "is the champion already" in capsys.readouterr().out
    assert main(["promote", "--rollback", "--dry-run"]) == 0
    assert registry.champion_number() == 2
    assert main(["promote", "--rollback"]) == 0
    assert "the champion went back from version 2 of " in capsys.readouterr().out
    assert registry.champion_number() == 1
    assert registry.find(2).tags["rolled_back_by"]
    assert main(["promote", "--rollback"]) == 1
    assert "no champion before version 1 of " in capsys.readouterr().err


def test_a_champion_that_comes_back(registry: Registry) -> None:
    """What was before it is what was before it this time."""
    moves: list[tuple[int | None, int]] = [(None, 1), (1, 2), (2, 1)]
    for before, target in moves:
        champion = registry.find(before) if before else None
        registry.move_champion(before, target, promote._tag_predecessors(champion))
    backwards = []
    while main(["promote", "--rollback"]) == 0:
        backwards.append(registry.champion_number())
    assert backwards == [2, 1]


def test_a_predecessor_that_was_deleted(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "s3://nowhere/model"
    deleted = int(mlflow.MlflowClient().create_model_version(NAME, source).version)
    registry.move_champion(None, 2, {PREDECESSORS: f"{deleted},2,1"})
    mlflow.MlflowClient().delete_model_version(NAME, str(deleted))
    assert main(["promote", "--rollback"]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"warning: skipped, as it is deleted: version {deleted}.\n"
    assert "to version 1 of " in captured.out
    first = registry.champion()
    assert (first.number, first.predecessors) == (1, [])
    registry.move_champion(1, 2, {PREDECESSORS: str(deleted)})
    assert main(["promote", "--rollback"]) == 1
    assert f"is known; deleted: version {deleted}." in capsys.readouterr().err
    assert registry.champion_number() == 2


def test_a_rule_that_fails(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    write_gate("metrics: {headline: {better: true}}\nmax_file_mb: 0.000001")
    assert main(version(1)) == 1
    assert "MB, more than 1e-06. There is no champion." in capsys.readouterr().err
    registry.move_champion(None, 1, {})
    assert main([*version(2), "--dry-run"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("FAIL") == 2
    assert "is not better than the champion's beyond chance" in captured.err
    assert captured.err.endswith("The champion is still version 1.\n")
    assert captured.err.count("\n") == 1
    assert registry.champion_number() == 1


def test_slices_and_latency_are_those_of_the_report(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "worst_slice: {" + unreachable() + ", min_examples: 10}"
    write_gate(f"max_latency_ms: 0.000001\n{rule}")
    assert main(version(1)) == 1
    captured = capsys.readouterr()
    assert "one example takes " in captured.err
    assert " of the worst slice" in captured.out or re.search(
        r" is -?\d\S*, (less than 2|more than -1)", captured.err
    )
    assert captured.out.count("FAIL") == 2


def test_mlflow_says_that_a_metric_is_beyond_its_limit(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gate("metrics: {headline: {" + unreachable() + "}}")
    assert main(version(1)) == 1
    assert "value threshold check failed: candidate model " in capsys.readouterr().err


def test_another_process_is_faster(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = promote.check

    def check_slowly(*words: object) -> list:
        registry.move_champion(None, 2, {})
        return check(*words)

    monkeypatch.setattr(promote, "check", check_slowly)
    assert main(version(1)) == 1
    assert "is version 2 by now and not none, so that nothing was moved" in capsys.readouterr().err
    assert registry.champion_number() == 2


def test_the_registry_goes_down_in_the_middle(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", fail)
    assert main(version(1)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: registry: sqlite:///")
    assert error.endswith(": no answer\n")
    assert registry.champion() is None


def fail(*words: object) -> None:
    raise MlflowException("no answer")


@pytest.mark.parametrize("method", ["set_registered_model_alias", "set_model_version_tag"])
def test_tags_of_a_move_that_fails_are_taken_back(
    method: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.tag(2, {PREDECESSORS: "1", "note": "mine"})
    before = registry.find(2).tags
    original, calls = getattr(mlflow.MlflowClient, method), []

    def fail_once(self: object, *words: str) -> None:
        calls.append(words)
        if len(calls) == 2 or method == "set_registered_model_alias":
            fail()
        original(self, *words)

    monkeypatch.setattr(mlflow.MlflowClient, method, fail_once)
    with pytest.raises(ProjectError, match=r"no answer$"):
        registry.move_champion(None, 2, {PREDECESSORS: "7", "promoted_by": "me"})
    assert registry.champion_number() is None
    assert registry.find(2).tags == before


def test_what_remains_of_a_move_that_fails_is_said(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.tag(2, {PREDECESSORS: "1"})
    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", fail)
    monkeypatch.setattr(mlflow.MlflowClient, "delete_model_version_tag", fail)
    remains = f"by now, its tags {PREDECESSORS}, new are wrong; {PREDECESSORS} was '1'$"
    with pytest.raises(ProjectError, match=f"unless version 2 of .* is the champion {remains}"):
        registry.move_champion(None, 2, {PREDECESSORS: "7", "new": "yes"})
    monkeypatch.undo()
    mlflow.MlflowClient().delete_model_version_tag(NAME, "2", "new")


def test_a_move_whose_answer_is_lost(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    move = mlflow.MlflowClient.set_registered_model_alias

    def move_and_fail(*words: str) -> None:
        move(*words)
        fail()

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", move_and_fail)
    with pytest.raises(ProjectError, match=r"no answer; the champion is version 2 nevertheless$"):
        registry.move_champion(None, 2, {PREDECESSORS: "7"})
    assert registry.champion().predecessors == [7]


def test_the_registry_is_down(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE, "http://127.0.0.1:9")
    assert main(version(1)) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: registry: http://127.0.0.1:9: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_champion_of_another_project(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.move_champion(None, 1, {})
    fetch = Registry.fetch

    def fetch_other(self, version, folder):
        stored = fetch(self, version, folder)
        return replace(stored, inputs={"sound": "binary"}) if version.number == 1 else stored

    monkeypatch.setattr(Registry, "fetch", fetch_other)
    assert main(version(2)) == 3
    error = capsys.readouterr().err
    assert "its inputs differ (only there: 'sound'; only here: " in error
    assert "take the alias from it in MLflow" in error
    assert registry.champion_number() == 1


def test_a_champion_with_other_classes(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.move_champion(None, 1, {})
    classes = iter([{"cat": "logits", "dog": "logits"}, {"dog": "logits", "emu": "logits"}])
    monkeypatch.setattr(promote, "_list_classes", lambda model: next(classes))
    assert main(version(2)) == 3
    assert "its classes differ (only there: 'cat'; only here: 'emu')" in capsys.readouterr().err


def test_a_champion_whose_file_is_damaged(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.move_champion(None, 1, {})
    fetch = Registry.fetch

    def fetch_damaged(self, version, folder):
        stored = fetch(self, version, folder)
        if version.number == 1:
            stored.model_file.write_bytes(b"PK")
        return stored

    monkeypatch.setattr(Registry, "fetch", fetch_damaged)
    assert main(version(2)) == 3
    assert "cannot be compared with the candidate: model file: " in capsys.readouterr().err


def test_data_that_has_changed(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    # A source may have fewer examples than that.
    limit = getattr(domain, "FEWER", "150")
    assert main([*version(1), "--data.limit", limit]) == 3
    assert "may have learnt from examples of this test split" in capsys.readouterr().err


def test_runs_that_are_not_in_this_registry(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE, "sqlite:////elsewhere/mlflow.db")
    assert main(["promote"]) == 1
    assert "not in sqlite:////elsewhere/mlflow.db; to send it there: " in capsys.readouterr().err
    (first, _) = sorted(Path("runs").iterdir())
    unsent = shutil.copytree(first, first.with_name(f"{first.name}-unsent"))
    try:
        (unsent / "tracking.json").unlink()
        assert main(["promote", "--run", unsent.name]) == 1
        advice = f"{promote.PROGRAM} replay {unsent.name}.\n"
        assert capsys.readouterr().err.endswith(f"has no registered version; first: {advice}")
    finally:
        shutil.rmtree(unsent)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", f"models:/{NAME}/99"], "the registry has no version 99 of a model "),
        (["--run", "models:/nobody/1"], "the registry has no version 1 of a model 'nobody'"),
        (["--run", "models:/x@champion"], "is not of the form models:/NAME/VERSION."),
        (["--run", "nobody"], "--run: 'nobody' is unknown."),
        (["--run", "latest", "--rollback"], "--rollback: goes without --run"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_words_that_are_wrong(
    words: list[str], message: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["promote", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_gate_that_is_wrong_is_said_first(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["promote"]) == 2
    assert "configs/gate.yaml: No such file or directory" in capsys.readouterr().err
    write_gate("max_file: 5")
    assert main(["promote"]) == 2
    assert "'max_file' is unknown. Did you mean 'max_file_mb'?" in capsys.readouterr().err


def test_nothing_to_roll_back(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "--rollback"]) == 1
    assert capsys.readouterr().err == f"error: --rollback: {NAME} has no champion.\n"
