"""What comes out, for each choice of each question of each template: it parses and lints."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from aistart.answers import questions
from aistart.catalog import find_templates

LONGEST = "p" * 40


def pairs() -> Iterator[tuple[str, dict[str, str]]]:
    """Each template with each pair of choices of two of its questions."""
    for name, template in find_templates().items():
        asked = [question for question in questions(template) if question.choices]
        for one, two in itertools.combinations(asked, 2):
            for values in itertools.product(one.choices, two.choices):
                yield name, dict(zip((one.key, two.key), values, strict=True))


def lint(*folders: Path) -> None:
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", *map(str, folders)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("template", "choices"), list(pairs()), ids=str)
def test_every_pair_of_choices(
    template: str, choices: dict[str, str], aistart: Callable, isolated: Path
) -> None:
    words = [word for key, value in choices.items() for word in ("--set", f"{key}={value}")]
    assert aistart("new", template, "demo", "-y", *words).exit_code == 0
    check_files(isolated / "demo")
    lint(isolated / "demo")


@pytest.mark.parametrize("template", find_templates())
def test_longest_package_name_still_lints(template: str, aistart: Callable, isolated: Path) -> None:
    assert aistart("new", template, LONGEST, "-y").exit_code == 0
    lint(isolated / LONGEST)


def check_files(project: Path) -> None:
    """Every file parses; nothing of the template language is left, no other project's name."""
    for path in project.rglob("*"):
        if path.is_dir() or ".git" in path.relative_to(project).parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\{\{|\{%|cookiecutter", text), path
        if path.name != "requirements.lock":
            assert text.strip(), path
            assert text.endswith("\n"), path
        if path.suffix == ".py":
            ast.parse(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix == ".yaml":
            assert yaml.safe_load(text)


def test_sources_hold_no_template_language() -> None:
    from aistart.catalog import templates_root

    for path in templates_root().glob("*/*/src/**/*.py"):
        assert "cookiecutter" not in path.read_text(encoding="utf-8"), path
