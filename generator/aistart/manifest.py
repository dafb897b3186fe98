"""Reading, checking and merging of ``cookiecutter.json``; a foreign one may hold anything."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from aistart.errors import UsageProblem

MANIFEST = "cookiecutter.json"

# The shape of each key's value: a type; [shape of each item]; {key: shape of its value}, where
# the key * stands for any key.
_COOKIECUTTER_SHAPES: dict[str, Any] = {
    "_extensions": [str],
    "_copy_without_render": [str],
    "_jinja2_env_vars": {"*": object},
    "templates": {"*": {"path": str}},
}
_AISTART_SHAPES: dict[str, Any] = {
    **_COOKIECUTTER_SHAPES,
    "_template": {"*": str},
    "_layers": [str],
    "_layers_by_choice": {"*": {"*": str}},
    "_features": {"*": {"layer": str, "summary": str, "default": bool}},
    "_only_if": {"*": {"*": [str]}},
    "_requires": [str],
    "_vscode": {"*": [str]},
    "_ports": {"*": str},
    "__prompts__": {"*": (str, dict)},
}
_TYPE_NAMES = {str: "a text", bool: "true or false", (str, dict): "a text or an object"}


def load(folder: Path, *, is_plain: bool = False) -> dict[str, Any]:
    """Load and check the ``cookiecutter.json`` of a layer.

    Args:
        folder: the layer's folder.
        is_plain: whether it is a plain cookiecutter template, where aistart's keys mean nothing.

    Raises:
        UsageProblem: the file is missing, not JSON, or a value has the wrong type.
    """
    manifest = _parse(folder / MANIFEST)
    if problem := _find_problem(manifest, _COOKIECUTTER_SHAPES if is_plain else _AISTART_SHAPES):
        raise UsageProblem(f"template: {folder / MANIFEST}: {problem}.")
    assert isinstance(manifest, dict)
    return manifest


def is_plain_template(folder: Path) -> bool:
    """Whether the folder holds a plain cookiecutter template, one without aistart's keys.

    Raises:
        UsageProblem: its manifest cannot be read.
    """
    manifest = _parse(folder / MANIFEST)
    # Cookiecutter itself writes a string to ``_template``; ours is an object.
    return isinstance(manifest, dict) and not isinstance(manifest.get("_template"), dict)


def variable_delimiters(manifest: dict[str, Any]) -> tuple[str, str]:
    """Return the marks around an expression in the template's files and names."""
    settings = manifest.get("_jinja2_env_vars", {})
    defaults = {"variable_start_string": "{{", "variable_end_string": "}}"}
    start, end = (str(settings.get(key, default)) for key, default in defaults.items())
    return start, end


def _parse(path: Path) -> Any:
    try:
        # OrderedDict, as in cookiecutter: a hook may print it and parse what it printed.
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=OrderedDict)
    except OSError as error:
        raise UsageProblem(f"template: {path} is not readable: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"template: {path} is not readable: {error}.") from None


def merge(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge manifests: a later one extends private lists and objects, and overrides the rest."""
    result: dict[str, Any] = {}
    for manifest in manifests:
        for key, value in manifest.items():
            extends = key.startswith("_") and key in result
            result[key] = _merge_values(result[key], value) if extends else value
    return result


def _merge_values(first: Any, second: Any) -> Any:
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *(item for item in second if item not in first)]
    if isinstance(first, dict) and isinstance(second, dict):
        both = {key: _merge_values(first[key], second[key]) for key in first if key in second}
        return {**first, **second, **both}
    return second


def _find_problem(manifest: Any, shapes: dict[str, Any]) -> str | None:
    """Return what is wrong with a manifest, or None."""
    if not isinstance(manifest, dict):
        return "it must hold an object"
    for key, value in manifest.items():
        if value == [] and not key.startswith("_"):
            return f"{key} has no choices"
        if key in shapes and (problem := _find_mismatch(value, shapes[key], key)):
            return problem
    return None


def _find_mismatch(value: Any, shape: Any, path: str) -> str | None:
    """Return where a value differs from its shape, or None."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path} must be a list"
        parts = [(item, shape[0], f"{path}[{number}]") for number, item in enumerate(value)]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{path} must be an object"
        shapes = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
        parts = [(value.get(key), part, f"{path}.{key}") for key, part in shapes.items()]
    else:
        return None if isinstance(value, shape) else f"{path} must be {_TYPE_NAMES[shape]}"
    return next((mismatch for part in parts if (mismatch := _find_mismatch(*part))), None)
