"""A template's ``cookiecutter.json``: read, and as it must be; another's may hold anything."""

import json
from pathlib import Path
from typing import Any

from aistart.errors import UsageProblem

MANIFEST = "cookiecutter.json"

# What private keys hold: a type; [what each item is]; {key: what its value is}, * for any key.
_SHAPES: dict[str, Any] = {
    "_template": {"*": str},
    "_layers": [str],
    "_layers_by_choice": {"*": {"*": str}},
    "_features": {"*": {"layer": str, "summary": str, "default": bool}},
    "_only_if": {"*": {"*": [str]}},
    "_extensions": [str],
    "_copy_without_render": [str],
    "__prompts__": {"*": (str, dict)},
    "templates": {"*": {"path": str}},
}
_WORDS = {str: "a text", bool: "true or false", (str, dict): "a text or an object"}


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a layer.

    Raises:
        UsageProblem: there is none, or what it holds is not as it must be.
    """
    place = folder / MANIFEST
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"template: {place} is not readable: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"template: {place} is not readable: {error}.") from None
    if problem := _problem_of(found):
        raise UsageProblem(f"template: {place}: {problem}.")
    assert isinstance(found, dict)
    return found


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


def _problem_of(found: Any) -> str | None:
    if not isinstance(found, dict):
        return "it must hold an object"
    for key, value in found.items():
        if value == [] and not key.startswith("_"):
            return f"{key} has no choices"
        if key in _SHAPES and (problem := _misfit(value, _SHAPES[key], key)):
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
