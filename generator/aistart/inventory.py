"""The models and data sources that a template's code offers."""

import runpy

from aistart.catalog import Template
from aistart.errors import UsageProblem


def list_models(template: Template) -> list[str]:
    """Return the names of a template's models, the default first; empty if it has no table."""
    return _registry_keys(template, "MODELS")


def list_data_sources(template: Template) -> list[str]:
    """Return the names of a template's data sources, the default first; empty without a table."""
    return _registry_keys(template, "SOURCES")


def _registry_keys(template: Template, table: str) -> list[str]:
    """Run each ``registry.py``, which imports nothing of its package, and read a table's keys."""
    names: list[str] = []
    if template.is_plain:  # its modules may be Jinja templates, or use these names otherwise
        return names
    for layer in template.layers:
        for path in layer.project.glob("src/*/registry.py"):
            try:
                names += map(str, runpy.run_path(str(path)).get(table, {}))
            except (Exception, SystemExit) as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise UsageProblem(f"{path.name} cannot be read: {reason}") from error
    return names
