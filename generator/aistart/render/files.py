"""Generation of a project's files from its layers, and the hooks around it."""

import os
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from aistart.catalog import (
    FEATURES_FOLDER,
    PROJECT_FOLDER,
    Layer,
    Template,
    find_hooks,
    is_within,
    merge_manifests,
)
from aistart.errors import UsageProblem
from aistart.manifest import MANIFEST
from aistart.render.context import add_extensions, apply_answers, evaluate_declarations
from aistart.render.foreign_code import allow_imports_from, convert_errors, use_temporary_folder

# What pip and tools leave in the templates must not reach a project.
_IGNORED_FOLDERS = {"__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


@dataclass(frozen=True)
class Rendering:
    """A project ready to be rendered: its layers, context and staging folder.

    Attributes:
        layers: all layers of the project.
        context: the variables for files, their names and hooks.
        repo_dir: the folder with the tree and the hooks, in cookiecutter's terms.
        tree: name of the folder of files in ``repo_dir``, which is rendered, too.
        stage: the staging folder for the files.
        is_built_in: whether the template comes with aistart; then no hooks run.
    """

    layers: tuple[Layer, ...]
    context: dict[str, Any]
    repo_dir: Path
    tree: str
    stage: Path
    is_built_in: bool

    @property
    def has_hooks(self) -> bool:
        """Whether the template's hooks take part."""
        return not self.is_built_in and bool(find_hooks(self.layers))

    def render_files(self) -> Path:
        """Render the files into the staging folder and return the project's folder there.

        Raises:
            UsageProblem: a file would lie outside of the project.
            AistartError: a file does not render.
        """
        from cookiecutter.generate import generate_files

        output = self.stage.resolve() / "out"
        if self.is_built_in:
            return _render_layers(self.layers, self.context, output)
        with self._guard_foreign_code():
            expected = self._check_names()
            project = Path(generate_files(self.repo_dir, self.context, output, accept_hooks=False))
            # A name can render differently the second time, after it was checked.
            written = sum(path.is_file() for path in project.rglob("*"))
            if project.parent != output or [*output.iterdir()] != [project]:
                raise UsageProblem("template: it writes beside the project's folder.")
            if written < expected:
                raise UsageProblem(
                    f"template: of its {expected} files only {written} are in the project's folder."
                )
        return project

    def run_hook(self, name: str, project: Path) -> None:
        """Run a hook in the project's folder, if the template has it.

        Args:
            name: ``pre_gen_project`` or ``post_gen_project``.
            project: the project's folder.

        Raises:
            AistartError: the hook fails.
        """
        from cookiecutter.hooks import run_hook_from_repo_dir

        with self._guard_foreign_code():
            folder = str(project.absolute())
            run_hook_from_repo_dir(self.repo_dir, name, folder, self.context, False)

    @contextmanager
    def _guard_foreign_code(self) -> Iterator[None]:
        with (
            allow_imports_from(self.repo_dir),
            convert_errors(),
            use_temporary_folder(self.stage),
        ):
            yield

    def _check_names(self) -> int:
        """Check that every file will lie within the project, and return how many there will be.

        Raises:
            UsageProblem: one would not.
        """
        from cookiecutter.utils import create_env_with_context

        context = deepcopy(self.context)  # rendering a name may change its values
        environment = create_env_with_context(context)
        kinds = ("variable", "block", "comment")
        start_marks = [getattr(environment, f"{kind}_start_string") for kind in kinds]
        name = environment.from_string(self.tree).render(**context)
        parent = str(self.stage.absolute().parent)
        for path, label in ((name, "project folder"), (parent, "output folder")):
            # Cookiecutter renders names of subfolders together with the path that leads to them.
            if mark := next((mark for mark in start_marks if mark in path), None):
                raise UsageProblem(
                    f"{label}: {path!r} must not hold {mark!r}: it would be rendered."
                )
        files = set()
        for source, is_file in _walk_rendered_names(self.repo_dir / self.tree, context):
            target = environment.from_string(source).render(**context)
            if not is_within(target):
                raise UsageProblem(
                    f"template: the file {source!r} would lie outside of the project."
                )
            # Cookiecutter skips a file whose name renders to nothing.
            if is_file and target and not target.endswith("/"):
                files.add(str(PurePosixPath(target)).casefold())
        return len(files)


def prepare_rendering(
    template: Template,
    layers: tuple[Layer, ...],
    answers: Mapping[str, str],
    extra: Mapping[str, Any],
    stage: Path,
    output_dir: Path,
) -> Rendering:
    """Build the context of a project and, for a foreign template, merge its layers in the stage.

    Args:
        template: the project's template.
        layers: all layers of the project.
        answers: to all questions.
        extra: private values (``_x``) beside the answers; plain templates do not get them.
        stage: an empty staging folder.
        output_dir: the folder in which the project will lie; foreign templates may ask for it.

    Raises:
        UsageProblem: the template has no files, or two layers hold the same one.
        AistartError: a value does not render.
    """
    tree = template.own_layer.project.name
    values = evaluate_declarations(template, merge_manifests(layers), answers)
    own_folder = template.own_layer.path
    if template.is_built_in:
        context = {"cookiecutter": add_extensions({**values, **extra})}
        return Rendering(layers, context, own_folder, tree, stage, is_built_in=True)
    origin, repo_dir = template.origin, own_folder
    if not template.is_plain:
        repo_dir = stage / "template"
        for source, name in _walk_layers(layers):
            _copy(source, repo_dir / name)
    origin_values = {
        "_template": origin.template,
        "_output_dir": os.path.normpath(output_dir.absolute()),
        "_repo_dir": origin.repo_dir if template.is_plain else str(repo_dir),
        "_checkout": origin.checkout,
    }
    if template.is_plain:
        # In cookiecutter's order and types, since hooks may print it.
        keys = [key for key in template.declarations if key != "__prompts__"]
        ordered = OrderedDict((key, values[key]) for key in keys)
        context = {
            "cookiecutter": ordered | origin_values,
            "_cookiecutter": apply_answers(template, answers),
        }
    else:
        context = {"cookiecutter": {**origin_values, **add_extensions({**values, **extra})}}
    return Rendering(layers, context, repo_dir.absolute(), tree, stage, is_built_in=False)


def _render_layers(layers: tuple[Layer, ...], context: dict[str, Any], output: Path) -> Path:
    """Render layers of aistart itself to the files that cookiecutter would generate.

    This exists for speed alone: with ``generate_files`` the whole of ``aistart new`` took a third
    longer (0.44 s against 0.33 s, without git, medians of 40 runs in turn), since it imports a
    console, compiles every path as a template and needs the layers copied into one folder. Hooks
    and names that leave the project need no care here. A test compares the two for each template.
    """
    from cookiecutter.utils import create_env_with_context
    from jinja2 import FileSystemLoader

    environment = create_env_with_context(context)
    environment.loader = FileSystemLoader([layer.path / "templates" for layer in layers])
    verbatim_patterns = context["cookiecutter"]["_copy_without_render"]

    @cache
    def render(text: str) -> str:
        return environment.from_string(text).render(**context) if "{" in text else text

    for source, name in _walk_layers(layers):
        folder, *parts = name.parts
        if folder != PROJECT_FOLDER or source.is_dir():
            continue  # other folders hold what the files include
        target = output.joinpath(render(folder), *map(render, parts))
        path = "/".join(parts)
        if any(fnmatch(path, pattern) for pattern in verbatim_patterns):
            _copy(source, target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(render(source.read_text("utf-8")), "utf-8", newline="\n")
        shutil.copymode(source, target)
    return output / render(PROJECT_FOLDER)


def _walk_rendered_names(folder: Path, context: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Walk a template's tree: each name that is rendered, and whether it is a file's.

    What lies in a folder that is copied without rendering keeps its name and is left out.
    """
    from cookiecutter.generate import is_copy_only_path

    for root, folders, files in os.walk(folder):
        relative = Path(root).relative_to(folder)
        yield from ((str(relative / name), False) for name in folders)
        yield from ((str(relative / name), True) for name in files)
        folders[:] = [f for f in folders if not is_copy_only_path(str(relative / f), context)]


def _walk_layers(layers: Iterable[Layer]) -> Iterator[tuple[Path, Path]]:
    """Walk the files and folders of layers: each path, and its path relative to its layer.

    Raises:
        UsageProblem: two layers hold the same file.
    """
    files = set()
    for layer in layers:
        for source in sorted(layer.path.rglob("*")):
            name = source.relative_to(layer.path)
            if _IGNORED_FOLDERS & set(name.parts) or name == Path(MANIFEST):
                continue
            if not layer.is_plain and _is_of_feature(layer, name):
                continue  # a layer of its own
            if source.is_dir():
                yield source, name
                continue
            if name in files:
                raise UsageProblem(f"template: two layers hold the same file {name.as_posix()!r}.")
            files.add(name)
            yield source, name


def _is_of_feature(layer: Layer, name: Path) -> bool:
    """Whether a path of a layer belongs to what the layer adds to a feature."""
    folder, *parts = name.parts
    return folder == FEATURES_FOLDER and bool(
        parts and (layer.path / folder / parts[0] / MANIFEST).is_file()
    )


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copymode(source, target)
