"""The files of a project, rendered in a stage. The one module that knows cookiecutter."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aistart.catalog import MANIFEST, Layer, merge_manifests
from aistart.errors import AistartError, UsageProblem

EXTENSIONS = ["aistart.quoting.Quoting"]


def render_text(text: str, answers: Mapping[str, str]) -> str:
    """Render a template's own text over answers; what the answers hold is not evaluated."""
    if "{" not in text:
        return text
    from cookiecutter.utils import create_env_with_context

    context = {"cookiecutter": {**answers, "_extensions": EXTENSIONS}}
    return str(create_env_with_context(context).from_string(text).render(**context))


def render_project(
    layers: tuple[Layer, ...], answers: Mapping[str, str], extra: Mapping[str, Any], stage: Path
) -> Path:
    """Merge the layers in the stage and render them once; returns the project's folder there.

    ``extra`` are values that templates may use beside the answers (private keys).
    """
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_files

    merged = stage / "template"
    for layer in layers:
        _copy_layer(layer.path, merged)
    declared = merge_manifests(layers)
    private = {key: value for key, value in declared.items() if key.startswith("_")}
    context = {"cookiecutter": {**private, **answers, **extra, "_extensions": EXTENSIONS}}
    try:
        project = generate_files(merged, context, output_dir=stage / "out", accept_hooks=False)
    except CookiecutterException as error:
        raise AistartError(f"template: it does not render: {error}") from error
    return Path(project)


def _copy_layer(layer: Path, merged: Path) -> None:
    # pip byte-compiles the packaged templates: its __pycache__ must not reach a project.
    for source in sorted(layer.rglob("*")):
        relative = source.relative_to(layer)
        if source.is_dir() or "__pycache__" in relative.parts or relative.name == MANIFEST:
            continue
        target = merged / relative
        if target.exists():
            raise UsageProblem(f"template: two layers hold the same file {relative.as_posix()!r}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)
