"""Objects by the names that the tables of ``registry.py`` give them."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

from . import PACKAGE
from .errors import UsageProblem

PROJECT = Path(__file__).parents[1]  # the project's package


def find(table: Mapping[str, Any], name: str) -> Any:
    """Return what a table of ``registry.py`` has for a name; import it if the table has its place.

    Args:
        table: names or patterns (``tfds:*``) -> an object, or its place in the project's package as
            ``module:attribute``.
        name: a name, not a pattern.

    Raises:
        KeyError: the table has neither the name nor a pattern that matches it.
        UsageProblem: the module has no such attribute.
    """
    key = name if name in table else next((key for key in table if fnmatchcase(name, key)), name)
    value = table[key]
    if not isinstance(value, str):
        return value
    module, _, attribute = value.partition(":")
    try:
        return getattr(import_module(f".{module}", PACKAGE), attribute)
    except AttributeError:
        raise UsageProblem(
            f"registry.py: {key!r} is {value!r}, but {module}.py has no {attribute!r}."
        ) from None


def find_optional(place: str) -> Any:
    """Return an object of the project's package, or None if it has no such module.

    So ``task.py`` names parts whose modules come with a feature, and are left out with it.

    Args:
        place: ``module:attribute``.
    """
    module, _, attribute = place.partition(":")
    if not (PROJECT / module.replace(".", "/")).with_suffix(".py").is_file():
        return None
    return getattr(import_module(f".{module}", PACKAGE), attribute)
