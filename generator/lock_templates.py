"""Regenerate the lock files of each template: python generator/lock_templates.py [TEMPLATE …].

TEMPLATE is a name, or the folder of a template of one's own.

Where only some templates are named, the locks of the others limit the versions: all must agree,
since the tests have one environment for all of them.

``requirements.lock`` covers the default project with its tests and tools, on a CPU, for every
platform and Python that the project supports. ``requirements-serve.lock`` covers what the image of
its service needs, with the same versions: the project's dependencies, with others in the place of
those that ``_service_dependencies`` of a manifest names. ``requirements-mlflow.lock`` is for the
image of an MLflow server and ``requirements-hooks.lock`` for hooks of git, one for all templates.
They have hashes, and no address of a package index.
"""

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from aistart.answers import resolve, select_features
from aistart.catalog import (
    PROJECT_FOLDER,
    Template,
    find_templates,
    load_foreign_template,
    merge_manifests,
    templates_root,
)
from aistart.manifest import MANIFEST
from aistart.project import Request, create

COMPILE = (
    "uv pip compile {} --universal --python-version 3.11 --generate-hashes --no-emit-index-url "
    "--no-header --no-annotate"
)
COMMAND = COMPILE.format("pyproject.toml --extra dev")
PINNED_COMMAND = COMPILE.format("requirements.in --constraint requirements.lock")
SERVICE_LAYER = Path("features/docker/features/serve")
MLFLOW_LAYER = Path("layers/features/compose")
MLFLOW_SERVER = ["mlflow", "psycopg[binary]>=3.2,<4"]
HOOKS_LAYER = Path("layers/features/pre-commit")
HOOKS = ["pre-commit>=4.7,<5", "pre-commit-hooks>=6,<7"]


def lock(template: Template, others: Sequence[Path] = ()) -> list[Path]:
    """Resolve the dependencies of a default project, write its locks and return their paths.

    Args:
        template: of the project.
        others: locks whose versions it must have, as far as they have them.
    """
    folder = template.own_layer.path
    target = folder / PROJECT_FOLDER / "requirements.lock"
    with tempfile.TemporaryDirectory() as output:
        features = tuple(select_features(template))
        request = Request(template, resolve(template, {}), Path(output), features, repository=False)
        project = create(request)
        (project / "others.lock").write_bytes(b"".join(file.read_bytes() for file in others))
        packages = compile_lock(project, f"{COMMAND} --upgrade --constraint others.lock")
        target.write_text(format_header(template) + packages, encoding="utf-8")
        service = list_service_dependencies(request, project)
        of_service = make_layer(folder, SERVICE_LAYER) / "requirements-serve.lock"
        lock_pinned(of_service, [target], service, f"What the service of {template.name} projects")
    return [target, of_service]


def make_layer(folder: Path, layer: Path) -> Path:
    """Make a layer of a template and those around it, unless they are there.

    Args:
        folder: of the template.
        layer: the layer's place below it.

    Returns:
        The folder for the layer's files.
    """
    for place in (layer.parents[1], layer):
        manifest = folder / place / MANIFEST
        manifest.parent.mkdir(parents=True, exist_ok=True)
        if not manifest.exists():
            manifest.write_text("{}\n", encoding="utf-8")
    return folder / layer / PROJECT_FOLDER


def list_service_dependencies(request: Request, project: Path) -> list[str]:
    """Return the requirements of a project's service.

    Args:
        request: the project, which has the features ``docker`` and ``serve``.
        project: its folder.
    """
    replacements = merge_manifests(request.layers)["_service_dependencies"]
    declared = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = []
    for requirement in declared["project"]["dependencies"]:
        name = requirement.split(">=")[0]
        requirements += replacements.get(name, [requirement])
    return requirements


def lock_pinned(target: Path, lock_files: list[Path], requirements: list[str], what: str) -> None:
    """Write a lock whose versions are those of others, as far as they have them.

    Args:
        target: the lock to write.
        lock_files: the others, whose versions agree.
        requirements: what the lock is for.
        what: needs it; the beginning of a sentence.
    """
    lines = [f"{what} needs, in the versions of requirements.lock. Made by:", f"  {PINNED_COMMAND}"]
    lines += ["    requirements.in:", *(f"    {requirement}" for requirement in requirements)]
    header = "".join(f"# {line}\n" for line in lines)
    with tempfile.TemporaryDirectory() as output:
        folder = Path(output)
        (folder / "requirements.in").write_text("\n".join(requirements), encoding="utf-8")
        pins = b"".join(file.read_bytes() for file in lock_files)
        (folder / "requirements.lock").write_bytes(pins)
        packages = compile_lock(folder, PINNED_COMMAND)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(header + packages, encoding="utf-8")


def compile_lock(folder: Path, command: str) -> str:
    """Run uv in a folder and return the lock that it writes."""
    words = [*command.split(), "--output-file", "new.lock", "--quiet"]
    subprocess.run(words, cwd=folder, check=True)
    return (folder / "new.lock").read_text(encoding="utf-8")


def format_header(template: Template) -> str:
    """Return comments that say what the lock covers and how it was made."""
    return (
        f"# The exact set that {template.name} projects are tested with: a CPU, tests and tools,\n"
        "# Python 3.11 to 3.13, Linux, macOS and Windows (WSL). Made by:\n"
        f"#   {COMMAND}\n"
    )


if __name__ == "__main__":
    names = sys.argv[1:]
    root = templates_root()
    paths = {name: root / name / PROJECT_FOLDER / "requirements.lock" for name in find_templates()}
    others = [path for name, path in paths.items() if names and name not in names]
    for name, template in find_templates().items():
        if not names or name in names:
            print(*lock(template, others), sep="\n")
    for name in names:
        if Path(name).is_dir():
            print(*lock(load_foreign_template(Path(name).resolve(), name)), sep="\n")
    locks = list(paths.values())
    mlflow = root / MLFLOW_LAYER / PROJECT_FOLDER / "requirements-mlflow.lock"
    lock_pinned(mlflow, locks, MLFLOW_SERVER, "What a server of MLflow with PostgreSQL")
    hooks = root / HOOKS_LAYER / PROJECT_FOLDER / "requirements-hooks.lock"
    lock_pinned(hooks, locks, HOOKS, "What pre-commit with its hooks")
    print(mlflow, hooks, sep="\n")
