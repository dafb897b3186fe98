"""The tests of what a template makes: rendered with its defaults and with each choice."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aistart.answers import choose_features, rendered, usual_answers
from aistart.catalog import Template
from aistart.errors import AistartError, UsageProblem
from aistart.project import Request, create
from aistart.questions import questions
from aistart.staging import staged

LOCK = "requirements.lock"


@dataclass(frozen=True)
class Variant:
    """One way to answer, and what became of its tests."""

    name: str
    passed: bool
    output: str


def variants(template: Template) -> Iterator[tuple[str, Request]]:
    """The defaults, each other choice of each question, and each feature turned over."""
    usual = usual_answers(template)
    features = choose_features(template)
    yield "defaults", Request(template, usual, features=tuple(features), repository=False)
    for question in questions(template):
        for choice in rendered(template, question, usual).choices:
            if choice != usual[question.key]:
                answers = usual_answers(template, {question.key: choice})
                made = Request(template, answers, features=tuple(features), repository=False)
                yield f"{question.key}={choice}", made
    for name in template.features:
        turned = [other for other in template.features if (other in features) != (other == name)]
        sign = "without" if name in features else "with"
        made = Request(template, usual, features=tuple(turned), repository=False)
        yield f"{sign} {name}", made


def run_all(template: Template, python: str | None) -> Iterator[Variant]:
    """Render each variant into a temporary folder and run its tests.

    Args:
        python: program that has what the projects need; None: environments are made, one for all
            variants that need the same.

    Raises:
        UsageProblem: there is no such program.
        AistartError: an environment cannot be made.
    """
    given = None if python is None else _program(python)
    with staged() as folder:
        made: dict[str, Path] = {}
        for number, (name, request) in enumerate(variants(template)):
            place = folder / str(number)
            place.mkdir()
            project = create(Request(template, request.answers, place, request.features, False))
            yield _tested(name, project, given or _environment(project, made, folder))


def _program(word: str) -> Path:
    found = shutil.which(word)
    if found is None:
        raise UsageProblem(f"--python: {word!r} is not a program.")
    return Path(found).absolute()  # it is started in the project's folder


def _tested(name: str, project: Path, python: Path) -> Variant:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=project,
        env=_with_sources(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return Variant(name, done.returncode == 0, done.stdout)


def _with_sources(project: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(project / "src")}


def _environment(project: Path, made: dict[str, Path], folder: Path) -> Path:
    """The Python of a new environment with the project's locked packages, or those it declares."""
    lock, declared = project / LOCK, project / "pyproject.toml"
    wanted = next((file for file in (lock, declared) if file.is_file()), None)
    key = hashlib.sha256(wanted.read_bytes() if wanted else b"").hexdigest()
    if key in made:
        return made[key]
    place = folder / f"environment-{len(made)}"
    _run([sys.executable, "-m", "venv", str(place)], project)
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if lock.is_file():
        _run([*pip, "-r", LOCK], project)
    elif declared.is_file():
        _run([*pip, "-e", "."], project)
    _run([*pip, "pytest"], project)
    made[key] = python
    return python


def _run(command: list[str], project: Path) -> None:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AistartError(f"environment: {' '.join(command[1:4])}: {reason}")
