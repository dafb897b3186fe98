"""The files of a project, rendered in a stage. The one module that knows cookiecutter."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from aistart.catalog import MANIFEST, PROJECT, Layer, Template, merge_manifests
from aistart.errors import AistartError, UsageProblem
from aistart.naming import folder_problem

EXTENSIONS = ["aistart.quoting.Quoting"]


def render_text(text: str, answers: Mapping[str, Any]) -> str:
    """Render a template's own text over answers; what the answers hold is not evaluated."""
    if "{" not in text:
        return text
    return str(_environment().from_string(text).render(cookiecutter=answers))


@cache
def _environment() -> Any:
    from cookiecutter.utils import create_env_with_context

    return create_env_with_context({"cookiecutter": {"_extensions": EXTENSIONS}})


def folder_of(template: Template, answers: Mapping[str, str]) -> str:
    """The name of the project's folder.

    Raises:
        UsageProblem: no folder can have it.
    """
    name = render_text(template.own.project.name, answers)
    if problem := folder_problem(name):
        raise UsageProblem(f"project folder: {name!r} {problem}.")
    return name


def render_project(
    template: Template,
    layers: tuple[Layer, ...],
    answers: Mapping[str, Any],
    extra: Mapping[str, Any],
    stage: Path,
) -> Path:
    """Render the layers in the stage as one project; returns its folder there.

    Args:
        extra: values that templates may use beside the answers (private keys).
    """
    declared = merge_manifests(layers)
    values = {k: v for k, v in declared.items() if k.startswith("_") or isinstance(v, dict)}
    extensions = [*EXTENSIONS, *declared.get("_extensions", [])]
    context = {"cookiecutter": {**values, **answers, **extra, "_extensions": extensions}}
    if template.built_in:
        return _render_ours(layers, context, stage / "out")
    merged = stage / "template"
    for source, name in _files(layers):
        _copy(source, merged / name)
    return _render_with_hooks(merged, context, stage / "out")


def _render_ours(layers: tuple[Layer, ...], context: dict[str, Any], out: Path) -> Path:
    """What ``_render_with_hooks`` makes of our own layers, which have no hooks, in half the time:
    its way loads a console for prompts, and compiles each path as a template."""
    from cookiecutter.utils import create_env_with_context
    from jinja2 import FileSystemLoader

    environment = create_env_with_context(context)
    environment.loader = FileSystemLoader([layer.path / "templates" for layer in layers])

    @cache
    def rendered(text: str) -> str:
        return environment.from_string(text).render(**context) if "{" in text else text

    for source, name in _files(layers):
        project, *parts = name.parts
        if project != PROJECT:
            continue  # what files of the project include
        target = out.joinpath(rendered(project), *map(rendered, parts))
        path = "/".join(parts)
        if any(fnmatch(path, copied) for copied in context["cookiecutter"]["_copy_without_render"]):
            _copy(source, target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rendered(source.read_text("utf-8")), "utf-8", newline="\n")
        shutil.copymode(source, target)
    return out / rendered(PROJECT)


def _render_with_hooks(merged: Path, context: dict[str, Any], out: Path) -> Path:
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_files

    try:
        with _importable(merged):
            _check_names(merged, context)
            return Path(generate_files(merged, context, output_dir=out))
    except CookiecutterException as error:
        reason = " ".join(str(error).split())
        raise AistartError(f"template: it does not render: {reason}") from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """A plain template may bring extensions of its own, beside its ``cookiecutter.json``."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _check_names(merged: Path, context: dict[str, Any]) -> None:
    """No name of a file renders to a path that leads out of the project."""
    from cookiecutter.utils import create_env_with_context

    environment = create_env_with_context(context)
    for path in merged.glob("*{{*}}*/**/*"):
        name = path.relative_to(merged).as_posix()
        made = environment.from_string(name).render(**context)
        if ".." in Path(made).parts or Path(made).is_absolute() or "\\" in made:
            raise UsageProblem(f"template: the file {name!r} would lie outside of the project.")


def _files(layers: Iterable[Layer]) -> Iterator[tuple[Path, Path]]:
    """Each file of the layers, and its name in its layer."""
    # pip byte-compiles the packaged templates: its __pycache__ must not reach a project.
    left_out = {"__pycache__", ".git"}
    seen = set()
    for layer in layers:
        for source in sorted(layer.path.rglob("*")):
            name = source.relative_to(layer.path)
            if source.is_dir() or left_out & set(name.parts) or name.name == MANIFEST:
                continue
            if name in seen:
                raise UsageProblem(f"template: two layers hold the same file {name.as_posix()!r}.")
            seen.add(name)
            yield source, name


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copymode(source, target)
