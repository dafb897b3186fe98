"""Shared fixtures: an isolated home, the command line, and one environment for all projects."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aistart.catalog import templates_root
from aistart.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build"


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HOME and working folder; nothing of the developer's own settings."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("GIT_", "APP__", "MLFLOW_", "KERAS_", "XDG_")):
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


@pytest.fixture(scope="session")
def project_python() -> Path:
    """The Python of an environment made from the template's lock, kept between test runs."""
    lock = templates_root() / "vision-classifier/{{ cookiecutter.project_slug }}/requirements.lock"
    extras = REPOSITORY / "tests" / "extras.txt"
    content = lock.read_bytes() + extras.read_bytes()
    environment = BUILD / f"env-{hashlib.sha256(content).hexdigest()[:12]}"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        shutil.rmtree(environment, ignore_errors=True)
        uv = [sys.executable, "-m", "uv", "--quiet"]
        subprocess.run([*uv, "venv", "--python", sys.executable, str(environment)], check=True)
        install = [*uv, "pip", "install", "--python", str(python)]
        subprocess.run([*install, "--require-hashes", "-r", str(lock)], check=True)
        # Optional packages that tests need, on top of the lock, which stays as it is.
        subprocess.run([*install, "-r", str(extras), "-c", str(_pins(lock))], check=True)
        (environment / "complete").touch()
    return python


def _pins(lock: Path) -> Path:
    pins = BUILD / "pins.txt"
    lines = lock.read_text(encoding="utf-8").splitlines()
    kept = [line.removesuffix(" \\") for line in lines if line and line[0] not in " #"]
    pins.write_text("\n".join(kept), encoding="utf-8")
    return pins
