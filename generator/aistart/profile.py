"""The profile: defaults of a person or a team, in one TOML file that a repository can share.

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

from aistart.errors import AistartError, UsageProblem, format_value, unknown_name_error

if TYPE_CHECKING:
    from aistart.questions import Question

PATH_VARIABLE = "AISTART_PROFILE"
# Questions whose answers belong to a person or a team, not to a project.
KEYS = ("author", "organisation", "license", "python_version", "tracking_uri")
FEATURES_TABLE = "features"
_SWITCH_WORDS = {
    **{"on": True, "true": True, "yes": True},
    **{"off": False, "false": False, "no": False},
}


@dataclass(frozen=True)
class Profile:
    """The content of a profile, and its file.

    Attributes:
        path: the file, which need not exist.
        answers: by question.
        features: whether each feature is on, by name.
    """

    path: Path
    answers: dict[str, str] = field(default_factory=dict)
    features: dict[str, bool] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How prompts mark its values."""
        return "from the profile"


def profile_path(file: Path | None = None) -> Path:
    """Return the path: ``file``, else that of ``AISTART_PROFILE``, else the user's own."""
    if file is not None:
        return file
    if path := os.environ.get(PATH_VARIABLE):
        return Path(path)
    from platformdirs import user_config_path

    return user_config_path("aistart", appauthor=False) / "profile.toml"


def read(file: Path | None = None) -> Profile:
    """Read and check the profile; it is empty if the user has none.

    Args:
        file: as for ``profile_path``.

    Raises:
        UsageProblem: a file that was named is missing, or holds something that is not allowed.
    """
    profile = _parse(file)
    for key, value in profile.answers.items():
        if problem := _find_problem(key, value):
            raise UsageProblem(f"profile: {profile.path}: {key}: {format_value(value)} {problem}.")
    return profile


def _parse(file: Path | None) -> Profile:
    path = profile_path(file)
    if not path.is_file():
        if file is not None or os.environ.get(PATH_VARIABLE):
            raise UsageProblem(f"profile: {str(path)!r} is not a file.")
        return Profile(path)
    try:
        answers = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"profile: {str(path)!r}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"profile: {str(path)!r} does not parse: {error}.") from None
    features = answers.pop(FEATURES_TABLE, {})
    if not isinstance(features, dict):
        raise UsageProblem(f"profile: {path}: {FEATURES_TABLE} must be a table.")
    for key, value in answers.items():
        if key not in KEYS:
            raise unknown_name_error("profile", key, list_keys())
        if not isinstance(value, str):
            raise UsageProblem(
                f"profile: {path}: {key}: {format_value(value)} must be a text, in quotes."
            )
    for key, value in features.items():
        if not isinstance(value, bool):
            raise UsageProblem(
                f"profile: {path}: {FEATURES_TABLE}.{key}: {format_value(value)} must be true or "
                "false."
            )
    return Profile(path, answers, features)


def set_value(key: str, value: str, file: Path | None = None) -> None:
    """Write one value; comments and the order of the file stay.

    Args:
        key: a question, or ``features.NAME``.
        value: the answer; for a feature ``on`` or ``off``.
        file: as for ``profile_path``.

    Raises:
        UsageProblem: the key or the value is not allowed.
        AistartError: the file cannot be written.
    """
    if key.startswith(f"{FEATURES_TABLE}."):
        if value.lower() not in _SWITCH_WORDS:
            raise UsageProblem(f"profile: {key}: {format_value(value)} is not one of: on, off.")
        _check_key(key)
        _update(key, _SWITCH_WORDS[value.lower()], file)
        return
    if problem := _find_problem(key, value):
        raise UsageProblem(f"profile: {key}: {format_value(value)} {problem}.")
    _update(key, value, file)


def remove_value(key: str, file: Path | None = None) -> None:
    """Remove one value.

    Args:
        key: a question, or ``features.NAME``, also of a feature that no longer exists.
        file: as for ``profile_path``.

    Raises:
        UsageProblem: the key is not in the profile.
        AistartError: the file cannot be written.
    """
    _update(key, None, file)


def _find_problem(key: str, value: str) -> str | None:
    _check_key(key)
    return _questions_by_key()[key].problem(value)


def _questions_by_key() -> dict[str, "Question"]:
    from aistart.catalog import find_templates
    from aistart.questions import questions

    return {question.key: question for t in find_templates().values() for question in questions(t)}


def _check_key(key: str) -> None:
    if key not in list_keys():
        raise unknown_name_error("profile", key, list_keys())


def list_choices(key: str) -> tuple[str, ...]:
    """Return the values that a key can have; empty if it can have any text."""
    if key.startswith(f"{FEATURES_TABLE}."):
        return ("on", "off")
    question = _questions_by_key().get(key)
    return question.choices if question else ()


def list_keys() -> list[str]:
    """Return the keys that a profile can have."""
    from aistart.catalog import find_templates

    features = {name for template in find_templates().values() for name in template.features}
    return [*KEYS, *(f"{FEATURES_TABLE}.{name}" for name in sorted(features))]


def _update(key: str, value: Any, file: Path | None) -> None:
    """Set a key in the file, or remove it if ``value`` is None."""
    import tomlkit

    path = profile_path(file)
    if path.is_file():
        _parse(path)  # refuse to change a file that is not a profile
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else None
    document = tomlkit.document() if document is None else document
    *table, name = key.split(".")
    entries: Any = document.setdefault(FEATURES_TABLE, tomlkit.table()) if table else document
    if value is not None:
        entries[name] = value
    elif name in entries:
        del entries[name]
    else:
        raise UsageProblem(f"profile: {key} is not in {str(path)!r}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.resolve()  # a symbolic link, for example to a team's file, stays a link
        temporary = target.with_name(f".{target.name}.new")
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise AistartError(f"profile: {str(path)!r}: {error.strerror}.") from None
