"""A generated project: what it is made from, and what it was tested with."""

import operator
import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aistart.answers_file import PLACE
from aistart.errors import UsageProblem
from aistart.shell import quoted

VENV = Path(".venv")  # as the project's Makefile calls it
PYTHONS = ">=3.11,<3.14"  # that TensorFlow 2.21 has packages for

_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def find_project(named: Path | None) -> Path | None:
    """The folder of the project that is named, else of the one that this folder is in, if any.

    Raises:
        UsageProblem: the folder that is named is no project, or this one was deleted.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise UsageProblem("this folder does not exist any more.") from None
    if named is None:
        return next((folder for folder in (here, *here.parents) if _is_project(folder)), None)
    if not _is_project(named):
        raise UsageProblem(
            f"PROJECT: {str(named)!r} is not a project of aistart: it has no {PLACE.as_posix()}."
        )
    return named.absolute()


def _is_project(folder: Path) -> bool:
    return (folder / PLACE).is_file()


class Unreadable(Exception):
    """A project's ``answers.toml`` is not what aistart wrote."""


@dataclass(frozen=True)
class Project:
    """A generated project in its folder."""

    folder: Path
    template: str
    aistart: str
    package: str

    @classmethod
    def read(cls, folder: Path) -> "Project":
        """Read what the project was made from.

        Raises:
            Unreadable: the file is broken.
        """
        try:
            made = tomllib.loads((folder / PLACE).read_text(encoding="utf-8"))
            package = made["answers"]["package_name"]
            if not (isinstance(package, str) and package.isidentifier()):
                raise Unreadable(f"package_name {package!r} names no package")
            return cls(folder, str(made["template"]), str(made["aistart"]), package)
        except OSError as error:
            raise Unreadable(f"it cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"it is not TOML: {error}") from None
        except (KeyError, TypeError) as error:
            raise Unreadable(f"it lacks {error}") from None

    @property
    def lock(self) -> Path:
        """The list of the versions that the project was tested with."""
        return self.folder / "requirements.lock"

    @cached_property
    def pins(self) -> dict[str, tuple[set[str], bool]]:
        """The tested versions of each package, and whether every system needs it."""
        pins: dict[str, tuple[set[str], bool]] = {}
        text = self.lock.read_text("utf-8", errors="replace") if self.lock.is_file() else ""
        for name, version, marker in re.findall(
            r"^([A-Za-z0-9._-]+)==([^\s;]+)[ ]*(;)?", text, re.MULTILINE
        ):
            versions, everywhere = pins.get(name.lower(), (set(), True))
            pins[name.lower()] = (versions | {version}, everywhere and not marker)
        return pins

    @cached_property
    def _declared(self) -> dict[str, Any]:
        try:
            text = (self.folder / "pyproject.toml").read_text(encoding="utf-8")
            declared = tomllib.loads(text)["project"]
        except (OSError, KeyError, ValueError, RecursionError):
            return {}
        return declared if isinstance(declared, dict) else {}

    @property
    def distribution(self) -> str:
        """The name under which the project itself is installed."""
        return str(self._declared.get("name", self.package)).lower().replace("_", "-")

    @property
    def pythons(self) -> str:
        """The range of Python's versions that it runs on."""
        return str(self._declared.get("requires-python", PYTHONS))

    def range_of(self, package: str) -> str:
        """The range of a package's versions that the project or one of its extras declares."""
        extras = self._declared.get("optional-dependencies")
        of_extras = extras.values() if isinstance(extras, dict) else ()
        lists = [self._declared.get("dependencies"), *of_extras]
        listed = [item for items in lists if isinstance(items, list) for item in items]
        for requirement in map(str, listed):
            if found := re.fullmatch(rf"{re.escape(package)}(?:\[[^]]*\])?([<>=!].*)", requirement):
                return found[1]
        return ""

    def command(self, line: str) -> str:
        """A shell's line to be run in the project's folder, as it is typed here."""
        if self.folder.resolve() == Path.cwd().resolve():
            return line
        return f"(cd {quoted(self.shown)} && {line})"

    @property
    def shown(self) -> str:
        """The folder as it is written from here."""
        try:
            relative = os.path.relpath(self.folder)
        except ValueError:  # another drive of Windows
            return str(self.folder)
        return relative if len(relative) < len(str(self.folder)) else str(self.folder)

    def setup_command(self, python: str = "") -> str:
        """The command that makes the environment, in place of one that is there.

        Args:
            python: to make it with, as a shell writes it; empty: what the project takes.
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
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def script(environment: Path, name: str) -> str:
    """A command of a virtual environment, as a shell's word."""
    return quoted(str(environment_python(environment).with_stem(name)))


def release(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version, for comparison."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = tuple(map(int, found[0].split("."))) if found else ()
    return (*numbers, 0, 0, 0)[: max(3, len(numbers))]


def allows(versions: str, version: str) -> bool:
    """Whether a range such as ``>=3.11,<3.14`` holds a version; what is not understood does."""
    for part in versions.split(","):
        found = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*([\d.]+)\s*", part)
        if found and not _COMPARISONS[found[1]](release(version), release(found[2])):
            return False
    return True
