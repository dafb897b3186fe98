"""Which models and data sources a template's code has."""

import runpy

from aistart.catalog import Template
from aistart.errors import UsageProblem


def models(template: Template) -> list[str]:
    """Names of models, the default first; none where the template has no such table."""
    return _names(template, "MODELS")


def data_sources(template: Template) -> list[str]:
    """Names of data sources, the default first; none where the template has no such table."""
    return _names(template, "SOURCES")


def _names(template: Template, table: str) -> list[str]:
    """Keys of a table in ``registry.py``, which is run: it imports nothing of its package."""
    names: list[str] = []
    if template.is_plain:  # whose modules may be templates, and say other things
        return names
    for layer in template.layers:
        for path in layer.project.glob("src/*/registry.py"):
            try:
                names += map(str, runpy.run_path(str(path)).get(table, {}))
            except (Exception, SystemExit) as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise UsageProblem(f"{path.name} cannot be read: {reason}") from error
    return names
