"""Which templates there are, and the layers each is made of.

A layer is a folder with a ``cookiecutter.json`` and a ``{{ cookiecutter.project_slug }}`` tree.
A layer whose ``cookiecutter.json`` has a ``_template`` object is a template that users can name.
Another's without it is a plain cookiecutter template, which is its own only layer.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from aistart import manifest
from aistart.errors import UsageProblem, unknown
from aistart.manifest import MANIFEST

PROJECT = "{{ cookiecutter.project_slug }}"  # a layer's folder of files
LAYERS = "layers"  # the folder, beside the templates, of layers that are no templates


def templates_root() -> Path:
    """The folder of templates: packaged with an installed aistart, else the checkout's."""
    package = Path(__file__).resolve().parent
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parents[1] / "templates"


@dataclass(frozen=True)
class Layer:
    """One folder of files and declarations that a project is put together from.

    Attributes:
        plain: whether it is a whole template of cookiecutter's: our keys mean nothing in it.
    """

    path: Path
    plain: bool = False

    @property
    def name(self) -> str:
        """As templates name it: of ours, its path below the folder of layers."""
        root = templates_root() / LAYERS
        if self.path.is_relative_to(root):
            return self.path.relative_to(root).as_posix()
        return self.path.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The parsed ``cookiecutter.json``."""
        return manifest.read(self.path, plain=self.plain)

    @cached_property
    def project(self) -> Path:
        """The folder of files, whose name is a template."""
        if not self.plain and (self.path / PROJECT).is_dir():
            return self.path / PROJECT
        marks = ("cookiecutter", *manifest.delimiters(self.manifest))
        # Unsorted: of several, cookiecutter takes the first one that the disk names.
        named = [p for p in self.path.iterdir() if all(mark in p.name for mark in marks)]
        found = [path for path in named if path.is_dir()]
        if not found and self.nested:
            raise UsageProblem(
                f"template: {str(self.path)!r} holds several; choose with --directory: "
                f"{', '.join(self.nested)}."
            )
        if not found:
            raise UsageProblem(
                f"template: {str(self.path)!r} has no folder {PROJECT!r}, or another that "
                "cookiecutter renders."
            )
        return found[0]

    @property
    def nested(self) -> dict[str, str]:
        """Templates that a plain one offers instead of its own files: folder -> title."""
        if not self.plain:
            return {}
        several, old = self.manifest.get("templates"), self.manifest.get("template")
        if several:
            titles = {said["path"]: said.get("title", key) for key, said in several.items()}
        else:
            listed = [str(said) for said in old] if isinstance(old, list) else []
            found = [re.fullmatch(r"(.*?)\((.+)\).*", said) for said in listed]
            titles = {match[2]: match[1].strip() for match in found if match}
        return {str(PurePosixPath(folder)): str(title) for folder, title in titles.items()}


@dataclass(frozen=True)
class Feature:
    """What a project may have besides: a layer that is added on wish."""

    name: str
    layer: Layer
    summary: str
    default: bool


@dataclass(frozen=True)
class Origin:
    """Where another's template comes from, as cookiecutter tells it to the template's own code."""

    template: str = ""
    repo_dir: str = ""
    checkout: str | None = None


@dataclass(frozen=True)
class Template:
    """A template that users can name: its description and its layers, base first.

    Attributes:
        word: what a user types for it.
        built_in: whether it came with aistart; rendering another's is running its code.
        directory: its folder in what the word names.
    """

    name: str
    title: str
    summary: str
    domain: str
    layers: tuple[Layer, ...]
    word: str
    built_in: bool = True
    origin: Origin = Origin()
    directory: str | None = None

    @cached_property
    def declarations(self) -> dict[str, Any]:
        """The layers' manifests merged: questions first in the base's order, later layers win."""
        return merge_manifests(self.layers)

    @property
    def own(self) -> Layer:
        """The layer that says what the template is."""
        return self.layers[-1]

    @property
    def is_plain(self) -> bool:
        """Whether it is one of cookiecutter's, without our keys."""
        return self.own.plain

    @cached_property
    def name_key(self) -> str | None:
        """The question that a project's name answers."""
        return "project_name" if "project_name" in self.declarations else self.folder_key

    @cached_property
    def folder_key(self) -> str | None:
        """The question that names the project's folder, if one alone does."""
        start, end = map(re.escape, manifest.delimiters(self.own.manifest))
        key = rf"{start} *cookiecutter\.([A-Za-z]\w*) *{end}"
        folder = re.fullmatch(key, self.own.project.name)
        return folder[1] if folder and folder[1] in self.declarations else None

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Features by name."""
        if self.is_plain:
            return {}
        return {
            name: Feature(name, self._layer(said["layer"]), said["summary"], said["default"])
            for name, said in self.declarations.get("_features", {}).items()
        }

    @property
    def distributions(self) -> set[str]:
        """Names of all packages that a project of this template installs, from its lock."""
        if self.is_plain:
            return set()
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
        return {} if self.is_plain else found

    def _layer(self, name: str) -> Layer:
        return find_layer(name, self.own.path)


def find_layer(name: str, beside: Path) -> Layer:
    """The layer that a template in the folder ``beside`` names: ``./x`` is its own, ``x`` is ours.

    Raises:
        UsageProblem: the name leads elsewhere, or there is none.
    """
    path = PurePosixPath(name)
    if not is_part(name):
        raise UsageProblem(f"template: the layer {name!r} lies outside of the template.")
    roots = [beside] if name.startswith("./") else [templates_root() / LAYERS, templates_root()]
    folder = next((root / path for root in roots if (root / path / MANIFEST).is_file()), None)
    if folder is None:
        raise UsageProblem(f"template: there is no layer {name!r}.")
    return Layer(folder)


def hooks_of(layers: Iterable[Layer]) -> list[Path]:
    """Programs that may change a project while its files are made."""
    names = ("pre_gen_project", "post_gen_project")
    found = [path for layer in layers for path in sorted((layer.path / "hooks").glob("*"))]
    return [path for path in found if path.stem in names and not path.name.endswith("~")]


def leads_out(name: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    has_anchor = bool(Path(name).anchor)  # also C: on Windows
    return has_anchor or ".." in PurePosixPath(name).parts or "\\" in name


def is_part(name: str) -> bool:
    """Whether a path in a template's source belongs to it: what git keeps there is no part of any
    version."""
    return not leads_out(name) and ".git" not in PurePosixPath(name.lower()).parts


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
    layer = Layer(folder, plain=manifest.is_plain(folder))
    return _template(layer, word, built_in=False)


def nested_template(outer: Template, name: str) -> Template:
    """One of the templates that a plain one offers.

    Raises:
        UsageProblem: it lies outside of the other, or is none.
    """
    if not is_part(name) or PurePosixPath(name) == PurePosixPath():
        raise UsageProblem(f"template: {name!r} lies outside of the template.")
    place = outer.own.path / name
    found = replace(foreign_template(place, name), word=outer.word)
    directory = str(PurePosixPath(outer.directory or ".", name))
    return replace(
        found, origin=Origin(str(place), str(place), outer.origin.checkout), directory=directory
    )


def _template(layer: Layer, word: str, *, built_in: bool) -> Template:
    ours = {} if layer.plain else layer.manifest
    described = ours.get("_template", {})
    return Template(
        name=layer.path.name,
        title=described.get("title", layer.path.name),
        summary=described.get("summary", ""),
        domain=described.get("domain", ""),
        layers=(*(find_layer(name, layer.path) for name in ours.get("_layers", [])), layer),
        word=word,
        built_in=built_in,
    )
