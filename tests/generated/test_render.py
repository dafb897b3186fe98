"""What comes out, for each pair of options of each template: it parses, lints, and its tests are
found."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml
from allpairspy import AllPairs

from aistart.catalog import PROJECT_FOLDER, Template, find_templates, templates_root
from aistart.questions import questions
from tests.environments import project_python

LONGEST = "p" * 40
# An answer to each question that takes any text and adds a layer.
EXAMPLES = {"tracking_uri": "http://mlflow.example.com:5000"}
SOURCES = {**os.environ, "PYTHONPATH": "src"}


@dataclass(frozen=True)
class Variant:
    """One way to answer a template's questions, and to choose among its features."""

    template: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.template, *self.words))


def variants() -> Iterator[Variant]:
    """Each template so often that each pair of its options is in one: choices of questions, and
    features with and without. What a template declares anew is covered by itself."""
    for name, template in find_templates().items():
        options = [
            [("--set", f"{question.key}={choice}") for choice in question.choices]
            for question in questions(template)
            if question.choices
        ]
        options += [
            [("--set", f"{key}="), ("--set", f"{key}={EXAMPLES[key]}")]
            for key, layers in template.declarations["_layers_by_choice"].items()
            if "*" in layers
        ]
        options += [[("--with", feature), ("--without", feature)] for feature in template.features]
        for chosen in AllPairs(options, filter_func=partial(is_allowed, template)):
            yield Variant(name, tuple(word for words in chosen for word in words))


def is_allowed(template: Template, chosen: list[tuple[str, str]]) -> bool:
    """Whether no feature is added without one that it requires."""
    return not any(
        ("--without", required) in chosen
        for switch, name in chosen
        if switch == "--with"
        for required in template.features[name].requires
    )


def lint(*folders: Path) -> None:
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", *map(str, folders)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("variant", list(variants()), ids=str)
def test_every_pair_of_options(variant: Variant, aistart: Callable, isolated: Path) -> None:
    assert aistart("new", variant.template, "demo", "-y", *variant.words).exit_code == 0
    check_files(isolated / "demo")
    lint(isolated / "demo")


@pytest.mark.parametrize("template", find_templates())
def test_cookiecutter_itself_makes_the_same(
    template: str, aistart: Callable, isolated: Path
) -> None:
    """Our own layers are rendered more directly than those of others."""
    words = ["demo", "-y", "--no-git", "--with", "kubernetes"]
    words += ["--set", "tracking_uri=http://mlflow:5000", "--set", "author=A {{ b }}"]
    for place in ("ours", "theirs"):
        (isolated / place).mkdir()
    assert aistart("new", template, "-o", "ours", *words).exit_code == 0
    shutil.copytree(templates_root() / template, isolated / template)
    assert aistart("new", f"./{template}", "-o", "theirs", *words, "--trust").exit_code == 0
    ours, theirs = contents(isolated / "ours"), contents(isolated / "theirs")
    assert len(ours) > 60
    assert ours == theirs


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != ".aistart"  # it says from where the template came
    }


@pytest.mark.slow
@pytest.mark.parametrize("template", find_templates())
def test_tests_are_collected_with_all_features_and_with_none(
    template: str, aistart: Callable, isolated: Path
) -> None:
    """Answers change no code of a project, but features do."""
    features = find_templates()[template].features
    every = [word for name in features for word in ("--with", name)]
    for name, words in (("none", ["--minimal"]), ("every", every)):
        project = isolated / name / "demo"
        project.parent.mkdir()
        options = ("-y", "--no-git", "-o", str(project.parent), *words)
        assert aistart("new", template, "demo", *options).exit_code == 0
        command = [str(project_python()), "-m", "pytest", "-q", "--collect-only"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=SOURCES)
        assert done.returncode == 0, done.stdout
        assert " tests collected" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("template", find_templates())
def test_types(template: str, aistart: Callable, isolated: Path) -> None:
    assert aistart("new", template, "demo", "-y", "--no-git").exit_code == 0
    command = [str(project_python()), "-m", "mypy"]
    done = subprocess.run(command, cwd=isolated / "demo", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_engine_is_the_same_in_every_project(aistart: Callable, isolated: Path) -> None:
    """A template may add packages to it, such as those for models that write, and nothing else."""
    engines = []
    for template in find_templates():
        package = template.replace("-", "_")
        assert aistart("new", template, template, "-y", "--no-git").exit_code == 0
        engines.append(contents(isolated / template / "src" / package / "engine"))
    assert len(engines[0]) > 40
    shared = set.intersection(*map(set, engines))
    packages = {Path(name).parts[0] for name in shared}
    for engine in engines:
        assert {name: engine[name] for name in shared} == {n: engines[0][n] for n in shared}
        own = {Path(name).parts[0] for name in set(engine) - shared}
        assert not own & packages
        assert own <= {"chat"}


@pytest.mark.slow
def test_a_template_without_sources_fails_its_tests(aistart: Callable, isolated: Path) -> None:
    team = isolated / "team"
    (team / PROJECT_FOLDER / "src" / "{{ cookiecutter.package_name }}").mkdir(parents=True)
    described = {"title": "Team", "summary": "Nothing yet.", "domain": "vision"}
    manifest = {"_template": described, "_layers": ["base", "engine"]}
    (team / "cookiecutter.json").write_text(json.dumps(manifest))
    result = aistart("test", "./team", "--trust", "--python", str(project_python()))
    assert result.exit_code == 1
    assert "No module named" in result.output


@pytest.mark.parametrize("template", find_templates())
def test_longest_package_name_still_lints(template: str, aistart: Callable, isolated: Path) -> None:
    assert aistart("new", template, LONGEST, "-y").exit_code == 0
    lint(isolated / LONGEST)


def check_files(project: Path) -> None:
    """Every file parses; nothing of the template language is left, no other project's name."""
    for path in project.rglob("*"):
        is_git = ".git" in path.relative_to(project).parts
        if path.is_dir() or is_git or path.name == "pristine.xz":
            continue
        text = path.read_text(encoding="utf-8")
        # GitHub writes ${{ … }}; the page of evidence, and how chats are written, are templates of
        # the project's own.
        has_own = path.suffix in (".html", ".jinja") or "chat template" in text.lower()
        left = "cookiecutter" if has_own else r"(?<!\$)\{\{|\{%|cookiecutter"
        assert not re.search(left, text), path
        if path.name != "requirements.lock":
            assert text.strip(), path
            assert text.endswith("\n"), path
        if path.suffix == ".py":
            ast.parse(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix in (".yaml", ".yml"):
            assert all(yaml.safe_load_all(text))


def test_sources_hold_no_template_language() -> None:
    from aistart.catalog import templates_root

    for path in templates_root().glob("**/src/**/*.py"):
        assert "cookiecutter" not in path.read_text(encoding="utf-8"), path
