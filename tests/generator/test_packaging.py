"""The folder of templates, in the checkout and in the wheel."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.catalog import find_templates, templates_root
from aistart.manifest import MANIFEST
from tests.environments import REPOSITORY


def test_only_folders_that_declare_it_are_templates() -> None:
    declared = {
        path.parent.name
        for path in templates_root().glob(f"*/{MANIFEST}")
        if "_template" in json.loads(path.read_text())
    }
    assert set(find_templates()) == declared
    assert {path.name for path in templates_root().iterdir()} - declared == {"README.md", "layers"}


def test_readme_of_the_templates_explains_every_key() -> None:
    text = (templates_root() / "README.md").read_text()
    for path in templates_root().rglob(MANIFEST):
        for key in json.loads(path.read_text()):
            assert not key.startswith("_") or f"`{key}`" in text, f"{key} in {path}"


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
