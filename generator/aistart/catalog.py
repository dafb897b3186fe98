"""The templates that exist, and the layers that each of them is made of.

A layer is a folder with a ``cookiecutter.json`` and a ``{{ cookiecutter.project_slug }}`` tree.
A layer whose ``cookiecutter.json`` has a ``_template`` object is a template that users can name.
A foreign template without that object is a plain cookiecutter template, and its own only layer.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from aistart import manifest
from aistart.errors import UsageProblem, unknown_name_error
from aistart.manifest import MANIFEST

PROJECT_FOLDER = "{{ cookiecutter.project_slug }}"  # a layer's tree of files
LAYERS_FOLDER = "layers"  # in the templates' root: layers that are not templates
FEATURES_FOLDER = "features"  # in a layer: what it adds to a feature, by the feature's name


def templates_root() -> Path:
    """Return the folder of templates: of the installed package, else of the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parents[1] / "templates"


@dataclass(frozen=True)
class Layer:
    """A folder of files and declarations; a project is made of several.

    Attributes:
        path: the folder.
        is_plain: whether it is a whole plain cookiecutter template, where aistart's keys mean
            nothing.
    """

    path: Path
    is_plain: bool = False

    @property
    def name(self) -> str:
        """The name by which templates refer to it; for ours, its path below ``layers``.

        What a template adds to a feature has the feature's name, and what features add to each
        other those of all of them: ``features/docker+serve``.
        """
        root = templates_root() / LAYERS_FOLDER
        if self.path.is_relative_to(root):
            path = self.path.relative_to(root).as_posix()
            return path.replace(f"/{FEATURES_FOLDER}/", "+")
        folder = self.path
        features: list[str] = []
        while folder.parent.name == FEATURES_FOLDER:
            features.insert(0, folder.name)
            folder = folder.parents[1]
        return f"{FEATURES_FOLDER}/{'+'.join(features)}" if features else folder.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The parsed ``cookiecutter.json``."""
        return manifest.load(self.path, is_plain=self.is_plain)

    @cached_property
    def project(self) -> Path:
        """The tree of the project's files; its name is rendered."""
        if not self.is_plain and (self.path / PROJECT_FOLDER).is_dir():
            return self.path / PROJECT_FOLDER
        marks = ("cookiecutter", *manifest.variable_delimiters(self.manifest))
        # Unsorted: where several qualify, cookiecutter takes the first in the file system's order.
        folders = [
            path
            for path in self.path.iterdir()
            if all(mark in path.name for mark in marks) and path.is_dir()
        ]
        if not folders and self.subtemplates:
            raise UsageProblem(
                f"template: {str(self.path)!r} holds several templates; choose one with "
                f"--directory: {', '.join(self.subtemplates)}."
            )
        if not folders and not self.is_plain and "_template" not in self.manifest:
            return self.path / PROJECT_FOLDER  # a layer may only add to features
        if not folders:
            raise UsageProblem(
                f"template: {str(self.path)!r} has no folder {PROJECT_FOLDER!r}, or another that "
                "cookiecutter renders."
            )
        return folders[0]

    @property
    def subtemplates(self) -> dict[str, str]:
        """Titles of a plain template's nested templates, which replace its own files, by folder."""
        if not self.is_plain:
            return {}
        several, old_style = self.manifest.get("templates"), self.manifest.get("template")
        if several:
            titles = {entry["path"]: entry.get("title", key) for key, entry in several.items()}
        else:
            lines = [str(line) for line in old_style] if isinstance(old_style, list) else []
            matches = [re.fullmatch(r"(.*?)\((.+)\).*", line) for line in lines]
            titles = {match[2]: match[1].strip() for match in matches if match}
        return {str(PurePosixPath(folder)): str(title) for folder, title in titles.items()}


@dataclass(frozen=True)
class Feature:
    """Optional layers of a template, which users add or leave out together.

    Attributes:
        layers: the feature's own, those that it names, and what the template's layers add to it.
        requires: names of features without which it makes no sense.
    """

    name: str
    layers: tuple[Layer, ...]
    summary: str
    default: bool
    requires: tuple[str, ...] = ()

    @property
    def full_summary(self) -> str:
        """The summary, and what the feature requires."""
        return (
            f"{self.summary} (with {', '.join(self.requires)})" if self.requires else self.summary
        )


@dataclass(frozen=True)
class Origin:
    """Where a foreign template comes from, in the terms in which cookiecutter tells its code."""

    template: str = ""
    repo_dir: str = ""
    checkout: str | None = None


@dataclass(frozen=True)
class Template:
    """A template that users can name: its description and its layers.

    Attributes:
        layers: the layers of every project, base first and the template's own last.
        reference: what a user types for it: a name, a folder or a repository.
        is_built_in: whether it comes with aistart; to render a foreign one is to run its code.
        origin: where a foreign one comes from.
        directory: its folder within the reference.
    """

    name: str
    title: str
    summary: str
    domain: str
    layers: tuple[Layer, ...]
    reference: str
    is_built_in: bool = True
    origin: Origin = Origin()
    directory: str | None = None

    @cached_property
    def declarations(self) -> dict[str, Any]:
        """The merged manifests of its layers: base's questions first, later layers win."""
        return merge_manifests(self.layers)

    @property
    def own_layer(self) -> Layer:
        """The layer that describes the template."""
        return self.layers[-1]

    @property
    def is_plain(self) -> bool:
        """Whether it is a plain cookiecutter template, without aistart's keys."""
        return self.own_layer.is_plain

    @cached_property
    def name_key(self) -> str | None:
        """The question that NAME on the command line answers, if there is one."""
        return "project_name" if "project_name" in self.declarations else self.folder_key

    @cached_property
    def folder_key(self) -> str | None:
        """The question whose answer alone is the name of the project's folder, if there is one."""
        start, end = map(re.escape, manifest.variable_delimiters(self.own_layer.manifest))
        variable = rf"{start} *cookiecutter\.([A-Za-z]\w*) *{end}"
        match = re.fullmatch(variable, self.own_layer.project.name)
        return match[1] if match and match[1] in self.declarations else None

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Its features by name: those that later layers declare first, so its own before all's."""
        if self.is_plain:
            return {}
        entries = self.declarations.get("_features", {})
        names: list[str] = []
        for layer in self.layers:
            declared = layer.manifest.get("_features", {})
            names = [*(name for name in declared if name not in names), *names]
        found = {}
        for name in names:
            entry = entries[name]
            own = self._find_layer(entry["layer"])
            layers = self._layers_for_feature(name, own)
            requires = tuple(own.manifest.get("_requires", ()))
            found[name] = Feature(name, layers, entry["summary"], entry["default"], requires)
        for feature in found.values():
            for name in feature.requires:
                if name not in found:
                    raise UsageProblem(
                        f"template: the feature {feature.name!r} requires {name!r}, which is none."
                    )
        return found

    @property
    def distributions(self) -> set[str]:
        """Names of all packages that its projects install, from the template's lock file."""
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
        """Return all layers of one project.

        Args:
            answers: to all questions; some choices add a layer.
            features: names of the project's features.
        """
        by_choice = self._layers_by_choice
        names = [
            by_choice[key].get(answer, by_choice[key].get("*"))  # *: any other answer
            for key, answer in answers.items()
            if key in by_choice
        ]
        choice_layers = [self._find_layer(name) for name in names if name]
        layers = (*self.layers, *choice_layers, *self._layers_of_features(list(features)))
        return tuple(dict.fromkeys(layers))  # features may share some

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """Every layer that a project of this template can have."""
        by_choice = self._layers_by_choice.values()
        names = {name for by_answer in by_choice for name in by_answer.values()}
        choice_layers = [self._find_layer(name) for name in sorted(filter(None, names))]
        layers = (*self.layers, *choice_layers, *self._layers_of_features(list(self.features)))
        return tuple(dict.fromkeys(layers))

    @property
    def _layers_by_choice(self) -> dict[str, dict[str, str]]:
        by_choice: dict[str, dict[str, str]] = self.declarations.get("_layers_by_choice", {})
        return {} if self.is_plain else by_choice

    def _layers_for_feature(self, name: str, own: Layer) -> tuple[Layer, ...]:
        """Return a feature's own layer, those below it, and what the template adds to it."""
        if not is_template_path(name):
            raise UsageProblem(f"template: {name!r} cannot be the name of a feature.")
        below = [find_layer(layer, own.path) for layer in own.manifest.get("_layers", [])]
        added = _find_additions(self.layers, name)
        return (*below, own, *(layer for layer in added if layer.path != own.path))

    def _layers_of_features(self, names: list[str]) -> list[Layer]:
        """Return the layers of these features, each followed by what it adds to the others."""

        def follow(layer: Layer) -> Iterator[Layer]:
            yield layer
            for name in names:  # what two features add together may add to a third
                for added in _find_additions([layer], name):
                    yield from follow(added)

        layers = (layer for name in names for layer in self.features[name].layers)
        return [found for layer in layers for found in follow(layer)]

    def _find_layer(self, name: str) -> Layer:
        return find_layer(name, self.own_layer.path)


def _find_additions(layers: Iterable[Layer], feature: str) -> list[Layer]:
    """Return what layers add to a feature.

    Args:
        layers: those that may add something.
        feature: its name.
    """
    folders = (layer.path / FEATURES_FOLDER / feature for layer in layers)
    return [Layer(folder) for folder in folders if (folder / MANIFEST).is_file()]


def find_layer(name: str, template_folder: Path) -> Layer:
    """Find a layer by the name that a template gives it.

    Args:
        name: ``./x`` for a folder of the template's own, ``x`` for one of aistart's layers.
        template_folder: the folder of the template.

    Raises:
        UsageProblem: the name leads out of these folders, or there is no such layer.
    """
    path = PurePosixPath(name)
    if not is_template_path(name):
        raise UsageProblem(f"template: the layer {name!r} lies outside of the template.")
    is_own = name.startswith("./")
    roots = [template_folder] if is_own else [templates_root() / LAYERS_FOLDER, templates_root()]
    folder = next((root / path for root in roots if (root / path / MANIFEST).is_file()), None)
    if folder is None:
        raise UsageProblem(f"template: there is no layer {name!r}.")
    return Layer(folder)


def find_hooks(layers: Iterable[Layer]) -> list[Path]:
    """Return the layers' scripts that run, and may change the project, while it is generated."""
    names = ("pre_gen_project", "post_gen_project")
    files = [path for layer in layers for path in sorted((layer.path / "hooks").glob("*"))]
    return [path for path in files if path.stem in names and not path.name.endswith("~")]


def is_within(name: str) -> bool:
    """Whether a relative path stays within the folder that it is relative to."""
    has_anchor = bool(Path(name).anchor)  # also C: on Windows
    return not (has_anchor or ".." in PurePosixPath(name).parts or "\\" in name)


def is_template_path(name: str) -> bool:
    """Whether a relative path belongs to a template's source; git's own files never do.

    Any git command changes those, so no version that a user trusts covers them.
    """
    return is_within(name) and ".git" not in PurePosixPath(name.lower()).parts


def merge_manifests(layers: Iterable[Layer]) -> dict[str, Any]:
    """Merge the manifests of layers; later layers win."""
    return manifest.merge([layer.manifest for layer in layers])


def find_templates() -> dict[str, Template]:
    """Return all built-in templates by name, in alphabetical order."""
    folders = sorted(path.parent for path in templates_root().glob(f"*/{MANIFEST}"))
    layers = [Layer(folder) for folder in folders]
    return {
        layer.path.name: _build_template(layer, layer.path.name, is_built_in=True)
        for layer in layers
        if "_template" in layer.manifest
    }


def find_template(name: str) -> Template:
    """Return the built-in template with this name.

    Raises:
        UsageProblem: there is none; the message suggests the closest name.
    """
    templates = find_templates()
    if name not in templates:
        raise unknown_name_error("template", name, templates)
    return templates[name]


def load_foreign_template(folder: Path, reference: str) -> Template:
    """Load a template that does not come with aistart.

    Args:
        folder: the template's folder.
        reference: what the user typed for it.

    Raises:
        UsageProblem: the folder holds no template.
    """
    if not (folder / MANIFEST).is_file():
        raise UsageProblem(f"template: {reference!r} has no {MANIFEST}.")
    layer = Layer(folder, is_plain=manifest.is_plain_template(folder))
    return _build_template(layer, reference, is_built_in=False)


def load_subtemplate(outer: Template, name: str) -> Template:
    """Load one of the nested templates of a plain template.

    Args:
        outer: the plain template.
        name: the nested template's folder, relative to that of ``outer``.

    Raises:
        UsageProblem: it lies outside of ``outer``, or is no template.
    """
    if not is_template_path(name) or PurePosixPath(name) == PurePosixPath():
        raise UsageProblem(f"template: {name!r} lies outside of the template.")
    folder = outer.own_layer.path / name
    return replace(
        load_foreign_template(folder, name),
        reference=outer.reference,
        origin=Origin(str(folder), str(folder), outer.origin.checkout),
        directory=str(PurePosixPath(outer.directory or ".", name)),
    )


def _build_template(layer: Layer, reference: str, *, is_built_in: bool) -> Template:
    own_keys = {} if layer.is_plain else layer.manifest
    description = own_keys.get("_template", {})
    shared_layers = (find_layer(name, layer.path) for name in own_keys.get("_layers", []))
    return Template(
        name=layer.path.name,
        title=description.get("title", layer.path.name),
        summary=description.get("summary", ""),
        domain=description.get("domain", ""),
        layers=(*shared_layers, layer),
        reference=reference,
        is_built_in=is_built_in,
    )
