"""A generated project: its template, its package, and the versions that it was tested with."""

import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aistart.answers_file import ANSWERS_PATH
from aistart.errors import UsageProblem
from aistart.shell import join_command

VENV = Path(".venv")  # where the project's Makefile makes the environment
PYTHON_RANGE = ">=3.11,<3.14"  # the versions for which TensorFlow 2.21 has packages


def find_project(folder: Path | None) -> Path | None:
    """Return the absolute folder of a project.

    Args:
        folder: the project's folder; None: the project around the current folder, if any.

    Raises:
        UsageProblem: ``folder`` is not a project, or the current folder was deleted.
    """
    try:
        current = Path.cwd()
    except FileNotFoundError:
        raise UsageProblem("the current folder no longer exists.") from None
    if folder is None:
        return next((path for path in (current, *current.parents) if _is_project(path)), None)
    if not _is_project(folder):
        raise UsageProblem(
            f"PROJECT: {str(folder)!r} is not a project of aistart: it has no "
            f"{ANSWERS_PATH.as_posix()}."
        )
    return folder.absolute()


def _is_project(folder: Path) -> bool:
    return (folder / ANSWERS_PATH).is_file()


class InvalidProject(Exception):
    """The project's ``answers.toml`` cannot be read, or lacks what aistart writes into it."""


class ForeignProject(Exception):
    """The project is of a template whose projects aistart knows nothing about."""


@dataclass(frozen=True)
class Project:
    """A generated project.

    Attributes:
        folder: where it is.
        template: the name of its template.
        aistart: the version of aistart that made it.
        package: the name of its Python package.
        features: names of its features.
        tracking_uri: the MLflow server that it was made with; empty: none.
    """

    folder: Path
    template: str
    aistart: str
    package: str
    features: tuple[str, ...] = ()
    tracking_uri: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Project":
        """Read a project from its ``answers.toml``.

        Raises:
            InvalidProject: that file is broken.
            ForeignProject: it is not a project that can be checked.
        """
        try:
            record = tomllib.loads((folder / ANSWERS_PATH).read_text(encoding="utf-8"))
            if "source" in record and "package_name" not in record["answers"]:
                raise ForeignProject(str(record["template"]))
            package = record["answers"]["package_name"]
            if not (isinstance(package, str) and package.isidentifier()):
                raise InvalidProject(f"package_name {package!r} names no package")
            template, version = str(record["template"]), str(record["aistart"])
            features = tuple(map(str, record.get("features", ())))
            server = str(record["answers"].get("tracking_uri", ""))
            return cls(folder, template, version, package, features, server)
        except OSError as error:
            raise InvalidProject(f"it cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise InvalidProject(f"it is not TOML: {error}") from None
        except (KeyError, TypeError) as error:
            raise InvalidProject(f"it lacks {error}") from None

    @property
    def lock(self) -> Path:
        """The lock file: the versions that the project was tested with."""
        return self.folder / "requirements.lock"

    @cached_property
    def pins(self) -> dict[str, tuple[set[str], bool]]:
        """The tested versions of each package, and whether it is needed on every system."""
        pins: dict[str, tuple[set[str], bool]] = {}
        text = self.lock.read_text("utf-8", errors="replace") if self.lock.is_file() else ""
        for name, version, marker in re.findall(
            r"^([A-Za-z0-9._-]+)==([^\s;]+)[ ]*(;)?", text, re.MULTILINE
        ):
            versions, everywhere = pins.get(name.lower(), (set(), True))
            pins[name.lower()] = (versions | {version}, everywhere and not marker)
        return pins

    @cached_property
    def _project_table(self) -> dict[str, Any]:
        """The table ``project`` of ``pyproject.toml``; empty if it cannot be read."""
        try:
            text = (self.folder / "pyproject.toml").read_text(encoding="utf-8")
            table = tomllib.loads(text)["project"]
        except (OSError, KeyError, ValueError, RecursionError):
            return {}
        return table if isinstance(table, dict) else {}

    @property
    def distribution(self) -> str:
        """The name of the project's own distribution."""
        return str(self._project_table.get("name", self.package)).lower().replace("_", "-")

    @property
    def python_range(self) -> str:
        """The versions of Python that the project supports."""
        return str(self._project_table.get("requires-python", PYTHON_RANGE))

    def version_range(self, package: str) -> str:
        """Return the versions of a package that the project or one of its extras declares."""
        extras = self._project_table.get("optional-dependencies")
        extra_lists = extras.values() if isinstance(extras, dict) else ()
        lists = [self._project_table.get("dependencies"), *extra_lists]
        requirements = [item for items in lists if isinstance(items, list) for item in items]
        pattern = rf"{re.escape(package)}(?:\[[^]]*\])?([<>=!].*)"
        for requirement in map(str, requirements):
            if match := re.fullmatch(pattern, requirement):
                return match[1]
        return ""

    def command(self, line: str) -> str:
        """Return a shell line that runs ``line`` in the project's folder from the current one."""
        if self.folder.resolve() == Path.cwd().resolve():
            return line
        return f"(cd {join_command(self.display_path)} && {line})"

    @property
    def display_path(self) -> str:
        """The folder, relative to the current one if that is shorter."""
        try:
            relative = os.path.relpath(self.folder)
        except ValueError:  # on Windows, another drive
            return str(self.folder)
        return relative if len(relative) < len(str(self.folder)) else str(self.folder)

    def setup_command(self, python: str = "") -> str:
        """Return the command that makes the environment, after removing the one that exists.

        Args:
            python: to make it with, quoted for the shell; empty: the project's default.
        """
        if shutil.which("make"):
            setup = f"make setup PYTHON={python}" if python else "make setup"
        else:
            pip = f"{environment_python(VENV)} -m pip install"
            first = f"{python or ('py' if os.name == 'nt' else 'python3')} -m venv {VENV}"
            setup = f"{first} && {pip} -r requirements.lock && {pip} --no-deps -e ."
        if os.path.lexists(self.folder / VENV):
            remove = "rmdir /s /q" if os.name == "nt" else "rm -rf"
            setup = f"{remove} {VENV} && {setup}"
        return self.command(setup)


def environment_python(environment: Path) -> Path:
    """Return the path of a virtual environment's Python."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def script_word(environment: Path, name: str) -> str:
    """Return a script of a virtual environment as a word for the shell.

    Args:
        environment: the environment's folder.
        name: the script's.
    """
    return join_command(str(environment_python(environment).with_stem(name)))
