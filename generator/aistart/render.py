"""The files of a project, rendered in a stage. The one module that knows cookiecutter."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aistart.catalog import MANIFEST, Layer, Template, merge_manifests
from aistart.errors import AistartError, UsageProblem
from aistart.naming import folder_problem

EXTENSIONS = ["aistart.quoting.Quoting"]


def render_text(text: str, answers: Mapping[str, Any]) -> str:
    """Render a template's own text over answers; what the answers hold is not evaluated."""
    if "{" not in text:
        return text
    from cookiecutter.utils import create_env_with_context

    context = {"cookiecutter": {**answers, "_extensions": EXTENSIONS}}
    return str(create_env_with_context(context).from_string(text).render(**context))


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
    """Merge the layers in the stage and render them once; returns the project's folder there.

    Args:
        extra: values that templates may use beside the answers (private keys).
    """
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_files

    merged = stage / "template"
    for layer in layers:
        _copy_layer(layer.path, merged)
    declared = merge_manifests(layers)
    values = {k: v for k, v in declared.items() if k.startswith("_") or isinstance(v, dict)}
    extensions = [*EXTENSIONS, *declared.get("_extensions", [])]
    context = {"cookiecutter": {**values, **answers, **extra, "_extensions": extensions}}
    try:
        with _importable(merged):
            if not template.built_in:
                _check_names(merged, context)
            project = generate_files(
                merged, context, output_dir=stage / "out", accept_hooks=not template.built_in
            )
    except CookiecutterException as error:
        reason = " ".join(str(error).split())
        raise AistartError(f"template: it does not render: {reason}") from error
    return Path(project)


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


def _copy_layer(layer: Path, merged: Path) -> None:
    # pip byte-compiles the packaged templates: its __pycache__ must not reach a project.
    left_out = {"__pycache__", ".git"}
    for source in sorted(layer.rglob("*")):
        relative = source.relative_to(layer)
        if source.is_dir() or left_out & set(relative.parts) or relative.name == MANIFEST:
            continue
        target = merged / relative
        if target.exists():
            raise UsageProblem(f"template: two layers hold the same file {relative.as_posix()!r}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)
