"""Which templates there are, and the layers each is made of.

A layer is a folder with a ``cookiecutter.json`` and a ``{{ cookiecutter.project_slug }}`` tree.
A layer whose ``cookiecutter.json`` has a ``_template`` key is a template that users can name.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aistart.errors import UsageProblem, unknown

MANIFEST = "cookiecutter.json"
PROJECT = "{{ cookiecutter.project_slug }}"  # a layer's folder of files


def templates_root() -> Path:
    """The folder of templates: packaged with an installed aistart, else the checkout's."""
    package = Path(__file__).resolve().parent
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parents[1] / "templates"


@dataclass(frozen=True)
class Layer:
    """One folder of files and declarations that a project is put together from."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The parsed ``cookiecutter.json``."""
        try:
            manifest = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageProblem(
                f"template: {self.path / MANIFEST} is not readable: {error}"
            ) from None
        if not isinstance(manifest, dict):
            raise UsageProblem(f"template: {self.path / MANIFEST} must hold an object.")
        return manifest


@dataclass(frozen=True)
class Template:
    """A template that users can name: its description and its layers, base first."""

    name: str
    title: str
    summary: str
    domain: str
    layers: tuple[Layer, ...]

    @cached_property
    def declarations(self) -> dict[str, Any]:
        """The layers' manifests merged: questions first in the base's order, later layers win."""
        return merge_manifests(self.layers)

    @property
    def distributions(self) -> set[str]:
        """Names of all packages that a project of this template installs, from its lock."""
        locks = (layer.path / PROJECT / "requirements.lock" for layer in self.layers)
        lines = [
            line
            for lock in locks
            if lock.is_file()
            for line in lock.read_text(encoding="utf-8").splitlines()
        ]
        return {line.split("==")[0] for line in lines if line and line[0] not in " #"}

    def layers_for(self, answers: dict[str, str]) -> tuple[Layer, ...]:
        """All layers of a project with these answers: the template's, then those chosen."""
        chosen = self.declarations.get("_layers_by_choice", {})
        names = [chosen[key].get(value) for key, value in answers.items() if key in chosen]
        return self.layers + tuple(Layer(templates_root() / name) for name in names if name)


def merge_manifests(layers: tuple[Layer, ...]) -> dict[str, Any]:
    """Merge manifests: a later layer adds to private lists and objects, and overrides the rest."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.manifest.items():
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


def find_templates() -> dict[str, Template]:
    """All built-in templates by name, in alphabetical order."""
    folders = sorted(path.parent for path in templates_root().glob(f"*/{MANIFEST}"))
    layers = [Layer(folder) for folder in folders]
    return {layer.path.name: _template(layer) for layer in layers if "_template" in layer.manifest}


def find_template(name: str) -> Template:
    """The built-in template with this name.

    Raises:
        UsageProblem: there is none; the message names the nearest one.
    """
    templates = find_templates()
    if name not in templates:
        raise unknown("template", name, templates)
    return templates[name]


def _template(layer: Layer) -> Template:
    described = layer.manifest["_template"]
    below = [Layer(templates_root() / name) for name in layer.manifest.get("_layers", [])]
    return Template(
        name=layer.path.name,
        title=described["title"],
        summary=described["summary"],
        domain=described["domain"],
        layers=(*below, layer),
    )
