"""Every command in this repository's own documents works: those of aistart are run.

Commands of projects need TensorFlow: ``tests/generated/test_documents.py`` has them, and those in
the documents of projects. ``README.zh.md`` has the commands of ``README.md`` (``test_readme.py``).
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click
import pytest

from aistart.cli import main
from tests.environments import REPOSITORY
from tests.generated.documents import (
    Command,
    compare_output,
    find_commands,
    find_spans,
    find_unmarked,
)

DOCUMENTS = sorted(
    str(file.relative_to(REPOSITORY))
    for pattern in ("*.md", "generator/*.md", "templates/*.md", "tests/*/*.md", "examples/**/*.md")
    for file in REPOSITORY.glob(pattern)
)
RUN = ("README.md", "generator/README.md")
PROGRAMS = ("aistart", "my-app", "bash", "pip", "make", "uv", "python", "python3", "train")
IN_PROJECTS = ("my-app ", "cd my-classifier && ")  # tests/generated/test_documents.py
# Not run here: why, and what shows that it works.
ELSEWHERE = {
    "bash examples/quickstart.sh": "tests/generated/test_fresh_machine.py",
    "bash tests/run.sh": ".ci/run",
    "pip install /path/to/this/checkout": "tests/generator/test_packaging.py",
}
COMMIT = "git -C my-app add --all && git -C my-app commit --quiet --message 'Add monitor'"
REPLACED = {
    # Environments are made from locks by slow tests; here the targets have to exist.
    "make setup": "make -n setup",
    "make train": "make -n train",
    # The feature above it is to be committed first, as the command says.
    "aistart update my-app --set license=MIT": f"{COMMIT} && "
    "aistart update my-app --set license=MIT",
}
IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "A Reader"), ("EMAIL", "reader@example.com"))
}
# Commands that have to fail, as the document shows or says.
EXIT_CODES = {
    "aistart new recomender shop": 2,
    "aistart doctor": 1,  # there is no environment yet
}
# What a reader has when a fence begins, by the first command of it.
BEFORE = {
    "aistart status work/apps": (
        "aistart new vision-classifier my-app -y -q",
        "aistart new recommender shop -y -q -o work/apps",
    )
}


def read(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def strip_comment(command: Command) -> str:
    return re.sub(r"\s+#\s.*", "", command.text).strip()


def find_elsewhere(text: str) -> str | None:
    """Return what runs a command that is not run here; commands of a team need its server."""
    if "https://" in text or text.startswith("aistart profile update"):
        return "tests/generator/test_team_profile.py"
    return ELSEWHERE.get(text)


def run_fences(document: str, text: str, folder: Path) -> Iterator[str]:
    """Run the commands of each fence in a folder of its own; yields what went wrong."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "aistart").write_text(f'#!/bin/sh\nexec {sys.executable} -m aistart "$@"\n')
    (programs / "aistart").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **IDENTITY, "PATH": path, "COLUMNS": "90"}
    for fence, commands in groupby(find_commands(document, text), lambda command: command.fence):
        work = folder / str(fence)
        work.mkdir()
        yield from run_fence(list(commands), work, environment)


def run_fence(commands: list[Command], work: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run commands one after the other; yields what went wrong."""
    for text in BEFORE.get(strip_comment(commands[0]), ()):
        subprocess.run(["bash", "-c", text], cwd=work, env=environment, check=True)
    for command in commands:
        text = strip_comment(command)
        if text.startswith(IN_PROJECTS):
            continue
        if text.startswith("cd "):
            work = work / text.removeprefix("cd ")
            if not work.is_dir():
                yield f"{command}: there is no such folder"
                return
            continue
        if where := find_elsewhere(text):
            if not (REPOSITORY / where).is_file():
                yield f"{command}: there is no {where}, which runs it"
            continue
        line = ["bash", "-c", REPLACED.get(text, text)]
        done = subprocess.run(
            line,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != EXIT_CODES.get(text, 0):
            yield f"{command}: exit {done.returncode}: {done.stdout[-2000:]}"
        elif command.output and (problem := compare_output(command.output, done.stdout)):
            yield f"{command}: {problem}"


@pytest.mark.parametrize("document", RUN)
def test_commands_of_documents(document: str, isolated: Path) -> None:
    problems = list(run_fences(document, read(document), isolated))
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_sentences(document: str) -> None:
    problems = [
        f"{span}: {problem}"
        for span in find_spans(document, read(document), PROGRAMS)
        if (problem := check_span(span))
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name not in RUN])
def test_commands_that_are_not_run_exist(document: str) -> None:
    """What the stories in examples/ do is run by their own tests."""
    problems = [
        f"{command}: {problem}"
        for command in find_commands(document, read(document))
        if (problem := check_span(command))
    ]
    assert not problems, "\n".join(problems)


def check_span(span: Command) -> str | None:
    """Return what is wrong with a command in a sentence, or None."""
    words = span.text.replace("…", "").split()
    match words:
        case ["aistart", *rest]:
            return check_words(main, rest)
        case ["bash" | "python", path, *_] if "/" in path:
            return None if (REPOSITORY / path).is_file() else f"there is no {path}"
        case ["python", "-m", module, *_] if module.startswith("tests."):
            return None if importlib.util.find_spec(module) else f"there is no {module}"
    return None  # of projects


def check_words(command: click.Command, words: list[str]) -> str | None:
    """Return the first command or option that does not exist, or None."""
    context = click.Context(command)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    known = {name for p in command.get_params(context) for name in (*p.opts, *p.secondary_opts)}
    wrong = [word for word in words if word.startswith("-") and word not in known]
    return f"there is no option {wrong[0]}" if wrong else None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_stand_in_fences_for_commands(document: str) -> None:
    assert find_unmarked(document, read(document), PROGRAMS) == []


def test_what_is_not_run_is_still_there() -> None:
    texts = {
        strip_comment(command)
        for document in RUN
        for command in find_commands(document, read(document))
    }
    assert {*ELSEWHERE, *REPLACED, *EXIT_CODES, *BEFORE} <= texts


def test_a_wrong_command_is_named_with_its_line(isolated: Path) -> None:
    """Row 38 of the fault battery."""
    right = "$ aistart new recommender shop -y -q\n$ cd shop\n$ make -n setup | head -1\n…"
    text = f"# Title\n\n```console\n{right}\n```\n\n```bash\naistart lst    # all\n```\n"
    (problem,) = run_fences("README.md", text, isolated)
    assert problem.startswith("README.md:11: $ aistart lst    # all: exit 2: ")
    shown = "```console\n$ echo 1; echo two\n2\nthree\n```\n"
    folder = isolated / "other"
    folder.mkdir()
    (problem,) = run_fences("docs/a.md", shown, folder)
    assert problem == "docs/a.md:2: $ echo 1; echo two: no output like 'three':\n1\ntwo\n"
    assert check_words(main, ["nwe", "x"]) == "there is no command 'nwe'"
    assert check_words(main, ["new", "x", "--wiht", "y"]) == "there is no option --wiht"
    (span,) = find_spans("a.md", "Text\nof `aistart new x`.", PROGRAMS)
    assert span.line == 2


def test_output_is_compared_in_kind() -> None:
    printed = "a  0.99  b\n/tmp/x/runs/20261122-120216-9c63\nlast\n\n"
    assert compare_output(("a 0.5 b", "…/runs/20271122-120216-0c63", "last"), printed) is None
    assert compare_output(("a …", "…"), printed) is None
    assert compare_output(("…", "last"), printed) is None
    for shown in ("runs/…/report/a.html", "runs/20261122-120216-9c63/report/a.html", "runs/…"):
        assert compare_output((shown,), "runs/20271122-110216-0c63/report/a.html\n") is None
    assert compare_output(("sqlite:///…/x/mlflow.db",), "sqlite:////tmp/a/x/mlflow.db") is None
    assert "more output" in compare_output(("a 1 b",), printed)
    assert "no output like 'b …'" in compare_output(("b …", "…"), printed)
    assert "no output like 'last'" in compare_output(("last", "a …", "…"), printed)
