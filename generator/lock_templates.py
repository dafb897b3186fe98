"""Make each template's requirements.lock anew: python generator/lock_templates.py [TEMPLATE …].

A lock covers the default project with its tests and tools, on a CPU, for every platform and Python
that the project supports. It carries hashes and no index address.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from aistart.answers import resolve
from aistart.catalog import PROJECT, Template, find_templates, templates_root
from aistart.project import Request, create

COMMAND = (
    "uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 "
    "--generate-hashes --no-emit-index-url --no-header --no-annotate"
)


def lock(template: Template) -> Path:
    """Resolve the template's default project and write its lock; returns the lock's path."""
    target = templates_root() / template.name / PROJECT / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder:
        request = Request(template, resolve(template, {}), Path(folder), repository=False)
        project = create(request)
        command = [*COMMAND.split(), "--upgrade", "--output-file", "new.lock", "--quiet"]
        subprocess.run(command, cwd=project, check=True)
        resolved = (project / "new.lock").read_text(encoding="utf-8")
    target.write_text(header(template) + resolved, encoding="utf-8")
    return target


def header(template: Template) -> str:
    """What the lock covers and how it was made, as comments."""
    return (
        f"# The exact set that {template.name} projects are tested with: a CPU, tests and tools,\n"
        "# Python 3.11 to 3.13, Linux, macOS and Windows (WSL). Made by:\n"
        f"#   {COMMAND}\n"
    )


if __name__ == "__main__":
    wished = sys.argv[1:]
    for name, template in find_templates().items():
        if not wished or name in wished:
            print(lock(template))
