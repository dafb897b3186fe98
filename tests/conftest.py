"""Shared fixtures: an isolated home and working folder, and the command line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aistart.cli import main


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end, no core waits for a test of minutes."""
    items.sort(key=estimate_minutes, reverse=True)


def estimate_minutes(item: pytest.Item) -> float:
    """Return what its mark says; half a minute if it is slow, and nothing otherwise."""
    if mark := item.get_closest_marker("minutes"):
        return float(mark.args[0])
    return 0.5 if item.get_closest_marker("slow") else 0


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HOME and working folder; nothing of the developer's own settings."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("GIT_", "APP__", "MLFLOW_", "KERAS_", "XDG_", "AISTART_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    work = tmp_path_factory.mktemp("work")
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def aistart() -> Callable[..., Result]:
    """Call the command line: ``aistart("new", "vision-classifier", …)``."""

    def call(*words: str, **options: str) -> Result:
        return CliRunner().invoke(main, list(words), catch_exceptions=False, **options)

    return call
