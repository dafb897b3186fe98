"""Models of this project resume exactly where they were interrupted."""

from collections.abc import Callable

import pytest

from {{ cookiecutter.package_name }}.__main__ import train
from {{ cookiecutter.package_name }}.engine.runs import all_runs

from . import domain
from .conftest import UNRECORDED, metrics_by_step

LONG = [*UNRECORDED, "--train.max_steps", "12", "--train.checkpoint_every_steps", "4"]
MODELS = {"default": [], **{name: ["--model.name", name] for name in domain.ALSO_RESUMED}}


@pytest.mark.usefixtures("fit_alone")
@pytest.mark.parametrize("name", MODELS)
def test_a_resumed_run_ends_as_if_never_interrupted(name: str, interrupt: Callable) -> None:
    words = [*LONG, *MODELS[name], "--train.log_every_steps", "1"]
    assert train(words) == 0
    (alone,) = all_runs()
    interrupt(7)
    assert train([*words, "--fresh"]) == 75
    assert train(words) == 0
    (run,) = (run for run in all_runs() if run != alone)
    assert run.summary["resumed_from_step"] >= 7
    assert run.summary["weights_sha256"] == alone.summary["weights_sha256"]
    assert metrics_by_step(run) == metrics_by_step(alone)
