"""Rules for the names of a project, its folder and its package, and for other free text.

Each ``…_problem`` function returns why a value is not allowed, as the end of a sentence that begins
with the value, or None.
"""

import keyword
import re
import sys
import unicodedata
from collections.abc import Iterable

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FOLDER_LENGTH = 100
PACKAGE_LENGTH = 40  # import lines of generated tests stay below 100 characters
TEXT_LENGTH = 1000

_WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)
}
# Modules of every generated project, which a package of the same name would hide.
_RESERVED_MODULES = {
    *("docs", "examples", "tests", "test", "src", "configs", "data", "runs", "reports"),
    # Modules whose distributions have other names.
    *("git", "google", "jose", "jwt", "pil", "pkg_resources", "sklearn", "yaml"),
    *("jax", "pip", "setuptools", "tensorflow_datasets", "wheel"),
}


def is_folder_name(name: str) -> bool:
    """Whether a folder can have this name on Linux, macOS and Windows."""
    return folder_problem(name) is None


def folder_problem(name: str) -> str | None:
    """Return why a folder cannot have this name, or None if it can."""
    if len(name) > FOLDER_LENGTH:
        return f"is {len(name)} characters long; at most {FOLDER_LENGTH} are allowed"
    if not FOLDER.fullmatch(name):
        return "must begin with a letter or digit and hold only letters, digits, '.', '_' and '-'"
    if name.endswith("."):
        return "must not end with a dot"
    if name.split(".")[0].lower() in _WINDOWS_DEVICES:
        return "is the name of a device on Windows"
    return None


def package_problem(name: str, dependencies: Iterable[str] = ()) -> str | None:
    """Return why a Python package cannot have this name, or None if it can.

    Args:
        name: the package's name.
        dependencies: packages of the project, whose names it cannot have either.
    """
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name):
        return (
            "must begin with a lower-case letter, hold only lower-case letters, digits and '_', "
            "and not end with '_'"
        )
    if len(name) > PACKAGE_LENGTH:
        return f"is {len(name)} characters long; at most {PACKAGE_LENGTH} are allowed"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a keyword of Python"
    if name in sys.stdlib_module_names:
        return "is the name of a module in Python's standard library"
    if name in _RESERVED_MODULES | {dependency.replace("-", "_") for dependency in dependencies}:
        return "is the name of a package that the project itself uses"
    if name in _WINDOWS_DEVICES:
        return "is the name of a device on Windows"
    return None


def text_problem(text: str) -> str | None:
    """Return why a free text is not accepted, or None if it is."""
    if len(text) > TEXT_LENGTH:
        return f"is {len(text)} characters long; at most {TEXT_LENGTH} are allowed"
    # Cs: lone surrogates, which stand for bytes that the terminal could not decode.
    kinds = {unicodedata.category(character) for character in text if character != "\n"}
    if kinds & {"Cc", "Cs"}:
        return "must not hold control characters or bytes that are not text"
    return None


def server_problem(address: str) -> str | None:
    """Return why a server cannot have this address, or None if it can or the address is empty."""
    if address and not re.fullmatch(r"[a-z][a-z0-9+-]*://[^\s/]+\S*", address):
        return "must be an address such as http://mlflow:5000, or empty"
    if not address.isprintable():
        return "must not hold characters that cannot be seen"
    if "@" in address:
        return "must not hold a user or password: it is committed to git"
    return text_problem(address)


def project_name_problem(name: str) -> str | None:
    """Return why a project cannot have this name, or None if it can."""
    if not name.strip():
        return "must not be empty"
    if len(name) > FOLDER_LENGTH:
        return f"is {len(name)} characters long; at most {FOLDER_LENGTH} are allowed"
    if "\n" in name or "/" in name or "\\" in name:
        return "must be one line without '/' and '\\'"
    return text_problem(name)


def suggest_package(name: str, dependencies: Iterable[str] = ()) -> str:
    """Suggest a valid package name close to an invalid one.

    Args:
        name: the invalid name.
        dependencies: packages of the project, whose names are not suggested.
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: PACKAGE_LENGTH - 4]
    for suggestion in (words, f"my_{words}", f"{words}_app"):
        if package_problem(suggestion, dependencies) is None:
            return suggestion
    return "my_project"
