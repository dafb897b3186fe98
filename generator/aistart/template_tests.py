"""``aistart test``: the tests of a template's projects, for the defaults and for each choice."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aistart.answers import add_required, render_question, resolve_defaults, select_features
from aistart.catalog import Template
from aistart.errors import AistartError, UsageProblem
from aistart.project import Request, create
from aistart.questions import questions
from aistart.staging import staging_folder

LOCK = "requirements.lock"


@dataclass(frozen=True)
class VariantResult:
    """The result of the tests of one variant of a template's project.

    Attributes:
        name: what differs from the defaults, for example ``license=MIT`` or ``without docker``.
        passed: whether all tests passed.
        output: of pytest.
    """

    name: str
    passed: bool
    output: str


def list_variants(template: Template) -> Iterator[tuple[str, Request]]:
    """Yield a name and a project for the defaults, each other choice and each switched feature."""
    defaults = resolve_defaults(template)
    features = tuple(select_features(template))
    yield "defaults", Request(template, defaults, features=features, repository=False)
    for question in questions(template):
        for choice in render_question(template, question, defaults).choices:
            if choice != defaults[question.key]:
                answers = resolve_defaults(template, {question.key: choice})
                request = Request(template, answers, features=features, repository=False)
                yield f"{question.key}={choice}", request
    for name in template.features:
        if name in features:
            words = "without"
            switched = [other for other in features if name not in add_required(template, [other])]
        else:
            words = "with"
            switched = add_required(template, [*features, name])
        request = Request(template, defaults, features=tuple(switched), repository=False)
        yield f"{words} {name}", request


def run_all(template: Template, python: str | None) -> Iterator[VariantResult]:
    """Render each variant into a temporary folder, run its tests and yield the result.

    Args:
        template: the template to test.
        python: a Python that has the projects' dependencies; None: environments are made, one for
            all variants with the same dependencies.

    Raises:
        UsageProblem: there is no such program.
        AistartError: an environment cannot be made.
    """
    program = None if python is None else _find_program(python)
    with staging_folder() as stage:
        environments: dict[str, Path] = {}
        for number, (name, request) in enumerate(list_variants(template)):
            folder = stage / str(number)
            folder.mkdir()
            project = create(Request(template, request.answers, folder, request.features, False))
            variant_python = program or _make_environment(project, environments, stage)
            yield _run_tests(name, project, variant_python)


def _find_program(name: str) -> Path:
    path = shutil.which(name)
    if path is None:
        raise UsageProblem(f"--python: {name!r} is not a program.")
    return Path(path).absolute()  # it is started in the project's folder


def _run_tests(name: str, project: Path, python: Path) -> VariantResult:
    result = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return VariantResult(name, result.returncode == 0, result.stdout)


def _make_environment(project: Path, environments: dict[str, Path], stage: Path) -> Path:
    """Return the Python of an environment with the project's dependencies and pytest.

    Args:
        project: its lock file is installed; without one, what its ``pyproject.toml`` declares.
        environments: the environments that exist already, by a hash of that file; extended here.
        stage: the folder to make a new one in.
    """
    lock, pyproject = project / LOCK, project / "pyproject.toml"
    file = next((file for file in (lock, pyproject) if file.is_file()), None)
    key = hashlib.sha256(file.read_bytes() if file else b"").hexdigest()
    if key in environments:
        return environments[key]
    folder = stage / f"environment-{len(environments)}"
    _run([sys.executable, "-m", "venv", str(folder)], project)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if lock.is_file():
        _run([*pip, "-r", LOCK], project)
    elif pyproject.is_file():
        _run([*pip, "-e", "."], project)
    _run([*pip, "pytest"], project)
    environments[key] = python
    return python


def _run(command: list[str], project: Path) -> None:
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AistartError(f"environment: {' '.join(command[1:4])}: {reason}")
