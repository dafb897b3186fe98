import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import PROGRAM, locks
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.runs import Run, find_run, start_run

command = program.script("runs")


def started(*words: str) -> Run:
    """A run that no process works on any more."""
    run, lock = start_run(load_config(words))
    lock.close()
    return run


def finished(accuracy: float, epochs: int = 3):
    run = started("--train.epochs", str(epochs))
    data = {"source": "some"}
    metrics = {"test/accuracy": accuracy}
    run.write_summary(
        {"run_id": run.id, "model": "m", "steps": 7, "data": data, "metrics": metrics}
    )
    run.write("tracking", {"complete": True})
    return run


def test_latest_is_the_newest_finished_run() -> None:
    with pytest.raises(UsageProblem, match="there is no finished run"):
        find_run("latest")
    run = finished(0.5)
    started()
    assert find_run("latest") == run
    with pytest.raises(UsageProblem, match=f"Did you mean '{run.id}'"):
        find_run(run.id[:-1] + "x")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    run, other = finished(0.5), started()
    assert command(["list"]) == 0
    shown = capsys.readouterr().out
    assert f"{run.id}  finished    m      some  7      test/accuracy 0.5000\n" in shown
    assert f"{other.id}  unfinished\n" in shown
    assert command(["list", "--json"]) == 0
    assert {r["run_id"] for r in json.loads(capsys.readouterr().out)} == {run.id, other.id}


def test_compare_shows_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = finished(0.5), finished(0.75, epochs=9)
    assert command(["compare", one.id, two.id]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows == {"train.epochs": ["3", "9"], "test/accuracy": ["0.5000", "0.7500"]}


def test_prune_keeps_the_newest_and_what_is_unfinished(own_folder: Path) -> None:
    runs = sorted([finished(0.1), finished(0.2), finished(0.3)], key=lambda run: run.id)
    unfinished = started()
    assert command(["prune", "--keep", "1", "--dry-run"]) == 0
    assert len(list((own_folder / "runs").iterdir())) == 4
    assert command(["prune", "--keep", "1"]) == 0
    assert set((own_folder / "runs").iterdir()) == {runs[-1].path, unfinished.path}
    assert command(["prune", "--keep", "0", "--unfinished"]) == 0
    assert list((own_folder / "runs").iterdir()) == []


def test_prune_leaves_runs_that_are_worked_on(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, lock = start_run(load_config())
    sent = finished(0.5)
    with lock, sent.claim("tracking"):
        assert command(["prune", "--keep", "0", "--unfinished", "--unrecorded"]) == 0
    shown = capsys.readouterr().out
    for left in (run, sent):
        assert left.config_file.is_file()
        assert f"left {left.path}: another process works on it.\n" in shown
    assert command(["prune", "--keep", "0", "--unfinished"]) == 0
    assert list((own_folder / "runs").iterdir()) == []


@pytest.mark.parametrize("state", [None, {"run_id": "1", "complete": False}])
def test_prune_leaves_what_mlflow_does_not_have(
    state: dict | None, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, sent = finished(0.5), finished(0.6)
    if state is None:
        (run.path / "tracking.json").unlink()
    else:
        run.write("tracking", state)
    assert command(["prune", "--keep", "0"]) == 0
    shown = capsys.readouterr().out
    assert f"removed {sent.path}\n" in shown
    assert f"{PROGRAM} replay {run.id}; to remove it nevertheless: --unrecorded.\n" in shown
    assert shown.endswith("1 runs stay.\n")
    assert run.summary
    assert command(["prune", "--keep", "0", "--unrecorded"]) == 0
    assert list((own_folder / "runs").iterdir()) == []


@pytest.mark.usefixtures("storage_without_locks")
def test_storage_without_locks(caplog: pytest.LogCaptureFixture) -> None:
    """Among the processes of one machine a run is still worked on by one at a time."""
    locks._warn.cache_clear()
    run, lock = start_run(load_config())
    (owner,) = run.path.glob("*.owner")
    lock.close()
    assert not owner.exists()
    assert caplog.messages == [
        "this storage has no locks (Function not implemented): do not work on one run from several "
        "machines at once"
    ]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner.write_text(f"{socket.gethostname()} {other.pid}")
        assert run.claim() is None
        with run.claim("tracking"):
            pass
        other.communicate()
    with run.claim():
        assert owner.read_text() == f"{socket.gethostname()} {os.getpid()}"
    owner.write_text("another-machine 1")
    assert run.claim() is not None


@pytest.mark.parametrize("words", [[], ["lst"], ["prune", "--keep", "-1"], ["list", "--jsn"]])
def test_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
