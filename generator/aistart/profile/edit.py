"""Changes of a profile's file; comments and the order of the file stay."""

from pathlib import Path
from typing import Any

from aistart.errors import AistartError, UsageProblem, format_value, unknown_name_error
from aistart.profile import profile_path
from aistart.profile.content import FEATURES_TABLE, list_keys, parse, questions_by_key
from aistart.profile.reference import read_file

_SWITCH_WORDS = {
    **{"on": True, "true": True, "yes": True},
    **{"off": False, "false": False, "no": False},
}


def set_value(key: str, value: str, named: str | None = None) -> None:
    """Write one value.

    Args:
        key: a question, or ``features.NAME``.
        value: the answer; for a feature ``on`` or ``off``.
        named: as for ``profile_path``.

    Raises:
        UsageProblem: the key or the value is not allowed.
        AistartError: the file cannot be written.
    """
    if key not in list_keys():
        raise unknown_name_error("profile", key, list_keys())
    if key.startswith(f"{FEATURES_TABLE}."):
        if value.lower() not in _SWITCH_WORDS:
            raise UsageProblem(f"profile: {key}: {format_value(value)} is not one of: on, off.")
        _update(key, _SWITCH_WORDS[value.lower()], named)
        return
    if problem := questions_by_key()[key].problem(value):
        raise UsageProblem(f"profile: {key}: {format_value(value)} {problem}.")
    _update(key, value, named)


def remove_value(key: str, named: str | None = None) -> None:
    """Remove one value.

    Args:
        key: a question, or ``features.NAME``, also of a feature that no longer exists.
        named: as for ``profile_path``.

    Raises:
        UsageProblem: the key is not in the profile.
        AistartError: the file cannot be written.
    """
    _update(key, None, named)


def list_choices(key: str) -> tuple[str, ...]:
    """Return the values that a key can have; empty if it can have any text."""
    if key.startswith(f"{FEATURES_TABLE}."):
        return ("on", "off")
    question = questions_by_key().get(key)
    return question.choices if question else ()


def _update(key: str, value: Any, named: str | None) -> None:
    """Set a key in the file, or remove it if ``value`` is None."""
    import tomlkit

    path = profile_path(named)
    document = _parse_document(path) if path.is_file() else tomlkit.document()
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


def _parse_document(path: Path) -> Any:
    """Parse a profile with its comments, refusing to change a file that is none."""
    import tomlkit

    data = read_file(path, str(path))
    parse(data, str(path), path.absolute().parent)
    return tomlkit.parse(data.decode("utf-8"))
