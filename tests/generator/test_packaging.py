"""The wheel: built, installed elsewhere, and it generates the same as the checkout."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import REPOSITORY


@pytest.mark.slow
def test_installed_wheel_generates_the_same(isolated: Path, aistart: Callable) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", "wheels", str(REPOSITORY)], check=True)
    (wheel,) = (isolated / "wheels").iterdir()
    subprocess.run([sys.executable, "-m", "venv", "elsewhere"], check=True)
    install = ["elsewhere/bin/python", "-m", "pip", "--quiet", "--quiet", "install", str(wheel)]
    subprocess.run(install, check=True)  # pip byte-compiles the packaged templates
    for folder in ("one", "two"):
        (isolated / folder).mkdir()
    environment = {**os.environ, "PYTHONPATH": ""}
    made = ["elsewhere/bin/aistart", "new", "vision-classifier", "demo", "-y", "-o", "one"]
    subprocess.run(made, check=True, env=environment, capture_output=True)
    assert aistart("new", "vision-classifier", "demo", "-y", "-o", "two").exit_code == 0
    diff = ["diff", "-r", "--exclude=.git", "one/demo", "two/demo"]
    assert subprocess.run(diff, capture_output=True, text=True).stdout == ""
    assert not list((isolated / "one").rglob("__pycache__"))
