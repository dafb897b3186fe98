"""Regenerate the lock file of each template: python generator/lock_templates.py [TEMPLATE …].

A lock covers the default project with its tests and tools, on a CPU, for every platform and Python
that the project supports. It has hashes, and no address of a package index.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from aistart.answers import resolve, select_features
from aistart.catalog import PROJECT_FOLDER, Template, find_templates, templates_root
from aistart.project import Request, create

COMMAND = (
    "uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 "
    "--generate-hashes --no-emit-index-url --no-header --no-annotate"
)


def lock(template: Template) -> Path:
    """Resolve the dependencies of a default project, write the lock and return its path."""
    target = templates_root() / template.name / PROJECT_FOLDER / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder:
        features = tuple(select_features(template))
        request = Request(template, resolve(template, {}), Path(folder), features, repository=False)
        project = create(request)
        command = [*COMMAND.split(), "--upgrade", "--output-file", "new.lock", "--quiet"]
        subprocess.run(command, cwd=project, check=True)
        packages = (project / "new.lock").read_text(encoding="utf-8")
    target.write_text(format_header(template) + packages, encoding="utf-8")
    return target


def format_header(template: Template) -> str:
    """Return comments that say what the lock covers and how it was made."""
    return (
        f"# The exact set that {template.name} projects are tested with: a CPU, tests and tools,\n"
        "# Python 3.11 to 3.13, Linux, macOS and Windows (WSL). Made by:\n"
        f"#   {COMMAND}\n"
    )


if __name__ == "__main__":
    names = sys.argv[1:]
    for name, template in find_templates().items():
        if not names or name in names:
            print(lock(template))
