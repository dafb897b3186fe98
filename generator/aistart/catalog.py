"""Which templates there are, and the layers each is made of.

A layer is a folder with a ``cookiecutter.json`` and a ``{{ cookiecutter.project_slug }}`` tree.
A layer whose ``cookiecutter.json`` has a ``_template`` key is a template that users can name. One
without our keys is a plain cookiecutter template, which is its own only layer.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from aistart import manifest
from aistart.errors import UsageProblem, unknown
from aistart.manifest import MANIFEST

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

    @property
    def name(self) -> str:
        """As templates name it: of ours, its path below their folder."""
        root = templates_root()
        if self.path.is_relative_to(root):
            return self.path.relative_to(root).as_posix()
        return self.path.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The parsed ``cookiecutter.json``."""
        return manifest.read(self.path)

    @cached_property
    def project(self) -> Path:
        """The folder of files, whose name is a template."""
        if (self.path / PROJECT).is_dir():
            return self.path / PROJECT
        found = [p for p in sorted(self.path.glob("*{{*}}*")) if p.is_dir()]
        if not found and self._others:
            raise UsageProblem(
                f"template: {str(self.path)!r} holds several; choose with --directory: "
                f"{', '.join(self._others)}."
            )
        if not found:
            raise UsageProblem(
                f"template: {str(self.path)!r} has no folder {PROJECT!r}, or another that "
                "cookiecutter renders."
            )
        return found[0]

    @property
    def _others(self) -> list[str]:
        """Folders of the templates that a plain one offers instead of its own files."""
        several, old = self.manifest.get("templates"), self.manifest.get("template")
        if several:
            return [str(PurePosixPath(said["path"])) for said in several.values()]
        listed = old if isinstance(old, list) else []
        found = [re.search(r"\((.+)\)", str(said)) for said in listed]
        return [str(PurePosixPath(match[1])) for match in found if match]


@dataclass(frozen=True)
class Feature:
    """What a project may have besides: a layer that is added on wish."""

    name: str
    layer: Layer
    summary: str
    default: bool


@dataclass(frozen=True)
class Template:
    """A template that users can name: its description and its layers, base first.

    Attributes:
        word: what a user types for it.
        built_in: whether it came with aistart; rendering another's is running its code.
    """

    name: str
    title: str
    summary: str
    domain: str
    layers: tuple[Layer, ...]
    word: str
    built_in: bool = True

    @cached_property
    def declarations(self) -> dict[str, Any]:
        """The layers' manifests merged: questions first in the base's order, later layers win."""
        return merge_manifests(self.layers)

    @property
    def own(self) -> Layer:
        """The layer that says what the template is."""
        return self.layers[-1]

    @cached_property
    def is_plain(self) -> bool:
        """Whether it is one of cookiecutter's, without our keys."""
        return "_template" not in self.own.manifest

    @cached_property
    def name_key(self) -> str | None:
        """The question that a project's name answers."""
        return "project_name" if "project_name" in self.declarations else self.folder_key

    @cached_property
    def folder_key(self) -> str | None:
        """The question that names the project's folder, if one alone does."""
        folder = re.fullmatch(r"\{\{ *cookiecutter\.([A-Za-z]\w*) *\}\}", self.own.project.name)
        return folder[1] if folder and folder[1] in self.declarations else None

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Features by name."""
        return {
            name: Feature(name, self._layer(said["layer"]), said["summary"], said["default"])
            for name, said in self.declarations.get("_features", {}).items()
        }

    @property
    def distributions(self) -> set[str]:
        """Names of all packages that a project of this template installs, from its lock."""
        locks = (layer.project / "requirements.lock" for layer in self.layers)
        lines = [
            line
            for lock in locks
            if lock.is_file()
            for line in lock.read_text(encoding="utf-8").splitlines()
        ]
        return {line.split("==")[0] for line in lines if line and line[0] not in " #"}

    def layers_for(
        self, answers: Mapping[str, str], features: Iterable[str] = ()
    ) -> tuple[Layer, ...]:
        """All layers of a project: the template's, those of the answers, those of features."""
        by_choice = self._layers_by_choice
        names = [
            by_choice[key].get(value, by_choice[key].get("*"))  # *: any other answer
            for key, value in answers.items()
            if key in by_choice
        ]
        chosen = [self._layer(name) for name in names if name]
        return (*self.layers, *chosen, *(self.features[name].layer for name in features))

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """The layers of every project that can be made."""
        named = {
            name for by_answer in self._layers_by_choice.values() for name in by_answer.values()
        }
        chosen = [self._layer(name) for name in sorted(filter(None, named))]
        return (*self.layers, *chosen, *(feature.layer for feature in self.features.values()))

    @property
    def _layers_by_choice(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = self.declarations.get("_layers_by_choice", {})
        return found

    def _layer(self, name: str) -> Layer:
        return find_layer(name, self.own.path)


def find_layer(name: str, beside: Path) -> Layer:
    """The layer that a template in the folder ``beside`` names: ``./x`` is its own, ``x`` is ours.

    Raises:
        UsageProblem: the name leads elsewhere, or there is none.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise UsageProblem(f"template: the layer {name!r} lies outside of the template.")
    folder = (beside if name.startswith("./") else templates_root()) / path
    if not (folder / MANIFEST).is_file():
        raise UsageProblem(f"template: there is no layer {name!r}.")
    return Layer(folder)


def merge_manifests(layers: Iterable[Layer]) -> dict[str, Any]:
    """The manifests of layers as one, a later layer's above an earlier one's."""
    return manifest.merge([layer.manifest for layer in layers])


def find_templates() -> dict[str, Template]:
    """All built-in templates by name, in alphabetical order."""
    folders = sorted(path.parent for path in templates_root().glob(f"*/{MANIFEST}"))
    layers = [Layer(folder) for folder in folders]
    return {
        layer.path.name: _template(layer, layer.path.name, built_in=True)
        for layer in layers
        if "_template" in layer.manifest
    }


def find_template(name: str) -> Template:
    """The built-in template with this name.

    Raises:
        UsageProblem: there is none; the message names the nearest one.
    """
    templates = find_templates()
    if name not in templates:
        raise unknown("template", name, templates)
    return templates[name]


def foreign_template(folder: Path, word: str) -> Template:
    """The template in a folder that did not come with aistart.

    Raises:
        UsageProblem: it is none.
    """
    if not (folder / MANIFEST).is_file():
        raise UsageProblem(f"template: {word!r} has no {MANIFEST}.")
    return _template(Layer(folder), word, built_in=False)


def _template(layer: Layer, word: str, *, built_in: bool) -> Template:
    described = layer.manifest.get("_template", {})
    names = layer.manifest.get("_layers", [])
    return Template(
        name=layer.path.name,
        title=described.get("title", layer.path.name),
        summary=described.get("summary", ""),
        domain=described.get("domain", ""),
        layers=(*(find_layer(name, layer.path) for name in names), layer),
        word=word,
        built_in=built_in,
    )
