"""Each test works in an empty folder of its own; one small trained run is shared."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.engine.runs import Run
from {{ cookiecutter.package_name }}.engine.strategy import (
    find_strategies,
    prepare,
    single,
)

from . import domain

# Before TensorFlow is imported: two virtual devices, where a project knows more than one.
DEVICES = [] if find_strategies() is single else ["--runtime.virtual_devices", "2"]
prepare(load_config(DEVICES, environment={}).runtime)

STORE = "APP__TRACKING__URI"
QUICK = [
    "--data.limit",
    "200",
    "--data.batch_size",
    "32",
    "--train.max_steps",
    "6",
    "--runtime.strategy",
    "single",
    *domain.QUICK,
]
UNRECORDED = [*QUICK, "--tracking.enabled", "false"]


def clean_environment() -> None:
    """Forget the store that the caller has set, or that MLflow notes of an earlier test."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT")):
            del os.environ[name]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    clean_environment()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


@pytest.fixture(autouse=True, scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One MLflow store for all tests but those of ``trained``: making one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    os.environ[STORE] = f"sqlite:///{folder / 'mlflow.db'}"
    yield
    del os.environ[STORE]


@pytest.fixture
def quick() -> Config:
    """The default configuration, cut to seconds."""
    return load_config(QUICK)


@pytest.fixture
def storage_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network storage: ``flock`` is not implemented."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)


@pytest.fixture
def trained(project_with_a_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is that of a project with one finished run."""
    monkeypatch.delenv(STORE)
    monkeypatch.chdir(project_with_a_run)
    return project_with_a_run


@pytest.fixture(scope="session")
def project_with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with one finished run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "pyproject.toml").touch()
    clean_environment()
    before, store = Path.cwd(), os.environ.pop(STORE)
    os.chdir(folder)
    try:
        assert program.main(["train", *QUICK]) == 0
    finally:
        os.chdir(before)
        os.environ[STORE] = store
    return folder


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """``interrupt(step)``: SIGTERM arrives when this step's line is written, once."""

    def at(step: int, number: int = signal.SIGTERM) -> None:
        append, done = Run.append_metrics, []

        def append_and_interrupt(run: Run, line_step: int, *rest) -> None:
            append(run, line_step, *rest)
            if line_step >= step and not done:
                done.append(True)
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Run, "append_metrics", append_and_interrupt)

    return at


def metrics_by_step(run: Run) -> list[tuple[int, dict[str, float]]]:
    """Return step and metrics of each line of ``metrics.jsonl``."""
    return [(line["step"], line["metrics"]) for line in run.read_metrics()]


@pytest.fixture
def fit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without figures, reports and baselines, which take longer than some tests' runs."""
    from {{ cookiecutter.package_name }} import train as training
    from {{ cookiecutter.package_name }}.engine import evaluation
    from {{ cookiecutter.package_name }}.engine.interfaces import (
        draw_nothing,
        no_baselines,
        write_nothing,
    )

    monkeypatch.setattr(evaluation, "draw_history", lambda run: None)
    monkeypatch.setattr(training, "call_hooks_at_end", lambda *arguments: None)
    parts = {"draw_figures": draw_nothing, "measure_baselines": no_baselines}
    task = replace(training.task, write_report=write_nothing, **parts)
    monkeypatch.setattr(training, "task", task)
