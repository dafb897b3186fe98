import json
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.errors import UsageProblem
from {{ cookiecutter.package_name }}.runs import find_run, main, start_run


def finished(accuracy: float, epochs: int = 3):
    run = start_run(load_config(["--train.epochs", str(epochs)]))
    data = {"source": "some"}
    metrics = {"test/accuracy": accuracy}
    run.write_summary(
        {"run_id": run.id, "model": "m", "steps": 7, "data": data, "metrics": metrics}
    )
    return run


def test_latest_is_the_newest_finished_run() -> None:
    with pytest.raises(UsageProblem, match="there is no finished run"):
        find_run("latest")
    run = finished(0.5)
    start_run(load_config())
    assert find_run("latest") == run
    with pytest.raises(UsageProblem, match=f"Did you mean '{run.id}'"):
        find_run(run.id[:-1] + "x")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    run, other = finished(0.5), start_run(load_config())
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert f"{run.id}  finished    m      some  7      test/accuracy 0.5000\n" in shown
    assert f"{other.id}  unfinished\n" in shown
    assert main(["list", "--json"]) == 0
    assert {r["run_id"] for r in json.loads(capsys.readouterr().out)} == {run.id, other.id}


def test_compare_shows_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = finished(0.5), finished(0.75, epochs=9)
    assert main(["compare", one.id, two.id]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows == {"train.epochs": ["3", "9"], "test/accuracy": ["0.5000", "0.7500"]}


def test_prune_keeps_the_newest_and_what_is_unfinished(own_folder: Path) -> None:
    runs = sorted([finished(0.1), finished(0.2), finished(0.3)], key=lambda run: run.id)
    unfinished = start_run(load_config())
    assert main(["prune", "--keep", "1", "--dry-run"]) == 0
    assert len(list((own_folder / "runs").iterdir())) == 4
    assert main(["prune", "--keep", "1"]) == 0
    assert set((own_folder / "runs").iterdir()) == {runs[-1].path, unfinished.path}
    assert main(["prune", "--keep", "0", "--unfinished"]) == 0
    assert list((own_folder / "runs").iterdir()) == []


@pytest.mark.parametrize("words", [[], ["lst"], ["prune", "--keep", "-1"], ["list", "--jsn"]])
def test_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
