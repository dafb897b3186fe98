"""A template's ``cookiecutter.json``: read, and as it must be; another's may hold anything."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from aistart.errors import UsageProblem

MANIFEST = "cookiecutter.json"

# What keys hold: a type; [what each item is]; {key: what its value is}, * for any key.
_COOKIECUTTERS: dict[str, Any] = {
    "_extensions": [str],
    "_copy_without_render": [str],
    "_jinja2_env_vars": {"*": object},
    "templates": {"*": {"path": str}},
}
_SHAPES: dict[str, Any] = {
    **_COOKIECUTTERS,
    "_template": {"*": str},
    "_layers": [str],
    "_layers_by_choice": {"*": {"*": str}},
    "_features": {"*": {"layer": str, "summary": str, "default": bool}},
    "_only_if": {"*": {"*": [str]}},
    "__prompts__": {"*": (str, dict)},
}
_WORDS = {str: "a text", bool: "true or false", (str, dict): "a text or an object"}


def read(folder: Path, *, plain: bool = False) -> dict[str, Any]:
    """The manifest of a layer.

    Args:
        plain: whether it is one of cookiecutter's: our keys mean nothing there.

    Raises:
        UsageProblem: there is none, or what it holds is not as it must be.
    """
    found = _parsed(folder / MANIFEST)
    if problem := _problem_of(found, _COOKIECUTTERS if plain else _SHAPES):
        raise UsageProblem(f"template: {folder / MANIFEST}: {problem}.")
    assert isinstance(found, dict)
    return found


def is_plain(folder: Path) -> bool:
    """Whether a template is one of cookiecutter's, without our keys.

    Raises:
        UsageProblem: it has no manifest that can be read.
    """
    found = _parsed(folder / MANIFEST)
    # A text is what cookiecutter itself writes there.
    return isinstance(found, dict) and not isinstance(found.get("_template"), dict)


def delimiters(manifest: dict[str, Any]) -> tuple[str, str]:
    """What stands around an expression in the template's files and names."""
    said = manifest.get("_jinja2_env_vars", {})
    keys = {"variable_start_string": "{{", "variable_end_string": "}}"}
    start, end = (str(said.get(key, usual)) for key, usual in keys.items())
    return start, end


def _parsed(place: Path) -> Any:
    try:
        # Ordered, as cookiecutter has it: a hook may print it, and Python reads that as it is.
        return json.loads(place.read_text(encoding="utf-8"), object_pairs_hook=OrderedDict)
    except OSError as error:
        raise UsageProblem(f"template: {place} is not readable: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"template: {place} is not readable: {error}.") from None


def merge(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge manifests: a later one adds to private lists and objects, and overrides the rest."""
    merged: dict[str, Any] = {}
    for manifest in manifests:
        for key, value in manifest.items():
            adds = key.startswith("_") and key in merged
            merged[key] = _joined(merged[key], value) if adds else value
    return merged


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *(item for item in second if item not in first)]
    if isinstance(first, dict) and isinstance(second, dict):
        both = {key: _joined(first[key], second[key]) for key in first if key in second}
        return {**first, **second, **both}
    return second


def _problem_of(found: Any, shapes: dict[str, Any]) -> str | None:
    if not isinstance(found, dict):
        return "it must hold an object"
    for key, value in found.items():
        if value == [] and not key.startswith("_"):
            return f"{key} has no choices"
        if key in shapes and (problem := _misfit(value, shapes[key], key)):
            return problem
    return None


def _misfit(value: Any, shape: Any, place: str) -> str | None:
    """How a value differs from its shape."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place} must be a list"
        parts = [(item, shape[0], f"{place}[{number}]") for number, item in enumerate(value)]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place} must be an object"
        wanted = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
        parts = [(value.get(key), part, f"{place}.{key}") for key, part in wanted.items()]
    else:
        return None if isinstance(value, shape) else f"{place} must be {_WORDS[shape]}"
    return next((said for part in parts if (said := _misfit(*part))), None)
