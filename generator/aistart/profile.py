"""Defaults of a person or a team: one file that a repository can share.

author = "Ada Lovelace"
license = "MIT"

[features]
docker = false
"""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aistart.errors import AistartError, UsageProblem, shown, unknown

if TYPE_CHECKING:
    from aistart.questions import Question

VARIABLE = "AISTART_PROFILE"
# Questions whose answers are a person's or a team's, not a project's.
QUESTIONS = ("author", "organisation", "license", "python_version", "tracking_uri")
FEATURES = "features"
_WORDS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


@dataclass(frozen=True)
class Profile:
    """What stands in a profile, and the file it is in."""

    path: Path
    answers: dict[str, str] = field(default_factory=dict)
    features: dict[str, bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How its values are marked where they are shown."""
        return "from the profile"


def place(file: Path | None = None) -> Path:
    """The file that counts: the one given, that of ``AISTART_PROFILE``, or the person's own."""
    if file is not None:
        return file
    if named := os.environ.get(VARIABLE):
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("aistart", appauthor=False) / "profile.toml"


def read(file: Path | None = None) -> Profile:
    """The profile; empty if the person has none.

    Raises:
        UsageProblem: a file that was named is missing, or what it says is not allowed.
    """
    profile = _parsed(file)
    for key, value in profile.answers.items():
        if problem := _problem(key, value):
            raise UsageProblem(f"profile: {profile.path}: {key}: {shown(value)} {problem}.")
    return profile


def _parsed(file: Path | None) -> Profile:
    path = place(file)
    if not path.is_file():
        if file is not None or os.environ.get(VARIABLE):
            raise UsageProblem(f"profile: {str(path)!r} is not a file.")
        return Profile(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"profile: {str(path)!r}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"profile: {str(path)!r} does not parse: {error}.") from None
    features = found.pop(FEATURES, {})
    if not isinstance(features, dict):
        raise UsageProblem(f"profile: {path}: {FEATURES} must be a table.")
    for key, value in found.items():
        if key not in QUESTIONS:
            raise unknown("profile", key, keys())
        if not isinstance(value, str):
            raise UsageProblem(f"profile: {path}: {key}: {shown(value)} must be a text, in quotes.")
    for key, value in features.items():
        if not isinstance(value, bool):
            raise UsageProblem(
                f"profile: {path}: {FEATURES}.{key}: {shown(value)} must be true or false."
            )
    return Profile(path, found, features)


def put(key: str, value: str, file: Path | None = None) -> Path:
    """Write one value; comments and order of the file stay.

    Raises:
        UsageProblem: the key or the value is not allowed.
        AistartError: the file cannot be written.
    """
    if key.startswith(f"{FEATURES}."):
        if value.lower() not in _WORDS:
            raise UsageProblem(f"profile: {key}: {shown(value)} is not one of: on, off.")
        return _changed(key, _WORDS[value.lower()], file)
    if problem := _problem(key, value):
        raise UsageProblem(f"profile: {key}: {shown(value)} {problem}.")
    return _changed(key, value, file)


def remove(key: str, file: Path | None = None) -> Path:
    """Take one value out.

    Raises:
        UsageProblem: it is not in the profile.
    """
    return _changed(key, None, file)


def _problem(key: str, value: str) -> str | None:
    _check_key(key)
    return _questions()[key].problem(value)


def _questions() -> dict[str, "Question"]:
    from aistart.catalog import find_templates
    from aistart.questions import questions

    return {question.key: question for t in find_templates().values() for question in questions(t)}


def _check_key(key: str) -> None:
    if key not in keys():
        raise unknown("profile", key, keys())


def choices(key: str) -> tuple[str, ...]:
    """What a key can be; none: any text."""
    if key.startswith(f"{FEATURES}."):
        return ("on", "off")
    question = _questions().get(key)
    return question.choices if question else ()


def keys() -> list[str]:
    """What a profile can hold."""
    from aistart.catalog import find_templates

    features = {name for template in find_templates().values() for name in template.features}
    return [*QUESTIONS, *(f"{FEATURES}.{name}" for name in sorted(features))]


def _changed(key: str, value: Any, file: Path | None) -> Path:
    import tomlkit

    if value is not None:
        _check_key(key)
    path = place(file)
    if path.is_file():
        _parsed(path)  # what is not a profile is not changed
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else None
    document = tomlkit.document() if document is None else document
    *table, name = key.split(".")
    holder: Any = document.setdefault(FEATURES, tomlkit.table()) if table else document
    if value is not None:
        holder[name] = value
    elif name in holder:
        del holder[name]
    else:
        raise UsageProblem(f"profile: {key} is not in {str(path)!r}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.resolve()  # a link, such as to a team's file, stays one
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(tomlkit.dumps(document), encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        raise AistartError(f"profile: {str(path)!r}: {error.strerror}.") from None
    return path
