"""Which models and data sources a template's code has, read without running it."""

import ast
from pathlib import Path

from aistart.catalog import Template

# The table in the code, and the class and field of settings.py whose default is one of its names.
_MODELS = ("model.py", "MODELS", "Model", "name")
_SOURCES = ("data.py", "SOURCES", "Data", "source")


def models(template: Template) -> list[str]:
    """Names of models, the default first; none where the code has no such table."""
    return _names(template, *_MODELS)


def data_sources(template: Template) -> list[str]:
    """Names of data sources, the default first."""
    return _names(template, *_SOURCES)


def _names(template: Template, module: str, table: str, section: str, field: str) -> list[str]:
    names = [name for tree in _parsed(template, module) for name in _keys(tree, table)]
    for tree in _parsed(template, "settings.py"):
        default = _default(tree, section, field)
        names.sort(key=lambda name: name != default)
    return names


def _parsed(template: Template, module: str) -> list[ast.Module]:
    found: list[Path] = []
    if template.is_plain:  # whose modules may be templates, and say other things
        return []
    for layer in template.layers:
        found += layer.project.glob(f"src/*/{module}")
    return [ast.parse(path.read_text(encoding="utf-8")) for path in found]


def _keys(tree: ast.Module, table: str) -> list[str]:
    value = _assigned(tree.body, table)
    keys = value.keys if isinstance(value, ast.Dict) else []
    return [str(key.value) for key in keys if isinstance(key, ast.Constant)]


def _default(tree: ast.Module, section: str, field: str) -> object:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == section:
            value = _assigned(node.body, field)
            return ast.literal_eval(value.args[0]) if isinstance(value, ast.Call) else None
    return None


def _assigned(body: list[ast.stmt], name: str) -> ast.expr | None:
    """What stands behind ``name: type =``."""
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", None) == name:
            return statement.value
    return None
