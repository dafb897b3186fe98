"""``docs/onboarding.md`` of every project, and ``tour`` on a terminal."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.catalog import find_templates
from tests.environments import project_python
from tests.generator.terminal import CTRL_C, run_command_on_terminal

KINDS = {"default": (), "minimal": ("--minimal",), "all": None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", find_templates())
def test_the_document(aistart: Callable, isolated: Path, template: str, kind: str) -> None:
    """Of a project of each template with its defaults, no feature and all features."""
    words = KINDS[kind]
    if words is None:
        features = find_templates()[template].features
        words = tuple(word for name in features for word in ("--with", name))
    words = (*words, "--no-git", "--set", "package_name=ours")
    result = aistart("new", template, "demo", "-y", *words)
    assert result.exit_code == 0, result.output
    check_steps(isolated / "demo")
    check_features(isolated / "demo")
    check_links(isolated / "demo")
    check_change_of_the_model(isolated / "demo")


def sections(project: Path) -> dict[str, str]:
    """Title of each section of the document -> its text."""
    text = (project / "docs/onboarding.md").read_text()
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def check_steps(project: Path) -> None:
    """Every step has commands, a reason, a check, and what to do if it fails."""
    *steps, last = sections(project)
    assert last == "Where do I …?"
    assert [title.split(". ")[0] for title in steps] == [str(n + 1) for n in range(len(steps))]
    for title, text in sections(project).items():
        if title == last:
            continue
        fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert {kind for kind, _ in fences} <= {"console", "check", "diff"}, title
        assert all(body.startswith("$ ") for kind, body in fences if kind == "console"), title
        assert [kind for kind, _ in fences].count("console") >= 1, title
        (check,) = [body for kind, body in fences if kind == "check"]
        assert check.count("\n") == 1, title
        done = subprocess.run(["sh", "-n", "-c", check], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "**Why:**" in text, title
        assert "\nIf the check fails: " in text.split("```check")[1], title
        assert max(map(len, text.splitlines())) <= 160, title
        assert "{{" not in text


def check_features(project: Path) -> None:
    """The steps are those of the project's features, without a gap."""
    titles = [title.split(". ", 1)[-1] for title in sections(project)][:-1]
    package = project / "src/ours/engine"
    folders = {"report": "report", "serve": "serving", "distribution": "distribution"}
    has = {name: (package / folder).is_dir() for name, folder in folders.items()}
    expected = ["Set up", "Is this machine fit?", "First training"]
    expected += ["Read the report", "Promote"] if has["report"] else ["Look at the run"]
    expected += ["Serve it, and ask it"] if has["serve"] else []
    expected += ["Change the model", "Compare runs", "Bring your own data"]
    expected += ["Rehearse on two devices"] if has["distribution"] else []
    assert titles == [*expected, "Open a merge request"]
    text = (project / "docs/onboarding.md").read_text()
    assert ("ours inspect " in text) == (package / "inspection").is_dir()
    for name, word in (("serve", "ours serve"), ("report", "ours promote")):
        assert (word in text) == has[name]


def check_links(project: Path) -> None:
    """Links lead to files, and the map names modules that exist."""
    text = (project / "docs/onboarding.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (project / "docs" / target).is_file(), target
    table = sections(project)["Where do I …?"]
    for row in [line for line in table.splitlines() if line.startswith("| ")][2:]:
        for name in re.findall(r"`([\w/.]+)`", row.split("|")[2]):
            # What is set for all runs of a project is in a file that a user writes.
            places = (project / "src/ours" / name, project / name)
            assert name == "configs/project.yaml" or any(p.exists() for p in places), name
    for name in set(re.findall(r"`(docs/[\w.]+|configs/(?:gate|smoke)\.yaml|\w+\.md)`", text)):
        if name != "MODEL_CARD.md":
            assert (project / name).is_file(), name


def check_change_of_the_model(project: Path) -> None:
    """The change of the model applies to the files, and passes the linter."""
    (title,) = [title for title in sections(project) if title.endswith("Change the model")]
    patch = re.search(r"```diff\n(.*?)```", sections(project)[title], re.DOTALL)[1]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(project.parent)}
    command = ["git", "apply", "-"]
    subprocess.run(command, cwd=project, input=patch, text=True, check=True, env=environment)
    (name,) = re.findall(r"train --model.name (\w+)", sections(project)[title])
    assert f'"{name}": "model:{name}",' in (project / "src/ours/registry.py").read_text()
    files = ("src/ours/model.py", "src/ours/registry.py")
    ruff = str(Path(sys.executable).with_name("ruff"))
    command = [ruff, "check", "--no-cache", *files]
    subprocess.run(command, cwd=project, check=True)


@pytest.mark.slow
def test_tour_on_a_terminal(
    aistart: Callable, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aistart("new", "vision-classifier", "demo", "-y", "--no-git").exit_code == 0
    monkeypatch.chdir(isolated / "demo")
    monkeypatch.setenv("PYTHONPATH", "src")
    monkeypatch.delenv("COLUMNS", raising=False)
    program = isolated / "bin"
    program.mkdir()
    (program / "demo").write_text(f'#!/bin/sh\nexec {project_python()} -m demo "$@"\n')
    (program / "demo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{program}{os.pathsep}{os.environ['PATH']}")
    tour = [str(program / "demo"), "tour"]
    enter = "\r"
    shown = run_command_on_terminal([enter, enter, f"s{enter}", CTRL_C], tour, "> ", columns=50)
    assert "\x1b" not in shown
    lines = [line.rstrip() for line in shown.splitlines()]
    assert "1 of 11: Set up" in lines
    assert "Step 1 is done." in lines
    assert "2 of 11: Is this machine fit?" in lines
    assert any(line.startswith("Not yet: `demo runs list") for line in lines)
    assert "3 of 11: First training" in lines, "a step can be skipped"
    assert "error: left at step 3; `demo tour` continues there." in lines
    prose = [line for line in lines if not line.startswith(("    ", "error: "))]
    assert max(map(len, prose)) <= 50
    shown = run_command_on_terminal([f"q{enter}"], tour, "> ", columns=50)
    assert "2 of 11: Is this machine fit?" in shown, "what was skipped comes again"
    assert "Left at step 2; `demo tour` continues there." in shown
