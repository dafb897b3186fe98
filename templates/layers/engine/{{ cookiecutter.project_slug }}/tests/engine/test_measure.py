"""Runs that are compared by the validation split, and runs that were given up."""

import json
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import train as training
from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.engine import provenance
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.runs import (
    all_runs,
    find_run,
    find_unfinished,
    start_run,
)

from ..conftest import QUICK, UNRECORDED


def look(*arguments: Any) -> NoReturn:
    raise AssertionError("somebody looks at the test split")


def test_nothing_looks_at_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    load = training.task.load

    def load_without_test(config: Any, preprocessing: Any) -> Any:
        data = load(config, preprocessing)
        # Targets that nothing could be measured with, and inputs that nobody may fetch.
        return replace(data, test=replace(data.test, targets=np.array([]), fetch=look))

    monkeypatch.setattr(training, "task", replace(training.task, load=load_without_test))
    assert program.main(["train", *UNRECORDED, "--measure", "validation"]) == 0
    (run,) = all_runs()
    assert run.summary
    assert run.state == "finished"
    assert {name.split("/")[0] for name in run.summary["metrics"]} == {"validation"}
    assert run.summary["baselines"] == []
    assert run.model_file.is_file()
    assert not run.is_tested
    with pytest.raises(UsageProblem, match="there is no finished run"):
        find_run("latest")


def test_it_can_be_tested_later() -> None:
    assert program.main(["train", *UNRECORDED, "--measure", "validation"]) == 0
    (run,) = all_runs()
    assert program.main(["evaluate", "--run", run.id, "--split", "test"]) == 0


def test_another_split_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert program.main(["train", *QUICK, "--measure", "train"]) == 2
    assert "--measure" in capsys.readouterr().err


def test_a_run_that_was_given_up(quick: Any, capsys: pytest.CaptureFixture) -> None:
    run, lock = start_run(quick)
    lock.close()
    assert run.state == "unfinished"
    run.give_up("pruned", "it was worse than others.")
    assert run.state == "pruned"
    with pytest.raises(UsageProblem, match=f"{run.id} was pruned: it was worse than others"):
        find_unfinished(run.id)
    with pytest.raises(UsageProblem, match="there is no unfinished run"):
        find_unfinished("latest")
    assert program.main(["runs", "list"]) == 0
    assert f"{run.id}  pruned\n" in capsys.readouterr().out
    assert program.main(["runs", "prune", "--keep", "0"]) == 0
    assert not run.path.exists()


def test_untested_runs_do_not_make_tested_ones_old(quick: Any) -> None:
    def finish(name: str) -> str:
        run, lock = start_run(quick)
        lock.close()
        run.write("summary", {"metrics": {name: 1.0}})
        return run.id

    tested = [finish("test/accuracy") for _ in range(2)]
    searched = [finish("validation/accuracy") for _ in range(3)]
    assert program.main(["runs", "prune", "--keep", "1", "--unrecorded"]) == 0
    left = {run.id for run in all_runs()}
    assert len(left) == 2
    assert len(left & set(tested)) == len(left & set(searched)) == 1


def test_tags_of_whoever_started_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", json.dumps({"mlflow.parentRunId": "abc", "n": 3}))
    tags = provenance.environment_tags()
    assert (tags["mlflow.parentRunId"], tags["n"]) == ("abc", "3")
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", "no JSON")
    assert "mlflow.parentRunId" not in provenance.environment_tags()
