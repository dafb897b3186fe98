"""Templates that change, and projects of theirs that somebody edits."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.generator.foreign import PROJECT

Files = Mapping[str, str | bytes]
QUESTIONS = {
    "_template": {"title": "Team", "summary": "A team's own.", "domain": "team"},
    "project_name": "Demo",
    "project_slug": "{{ cookiecutter.project_name | folder_name }}",
}
GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@e", "-c", "core.hooksPath=/dev/null")


def run_git(folder: Path, *words: str) -> str:
    done = subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def commit(folder: Path, message: str = "Work") -> str:
    """Commit everything, and return the commit."""
    if not (folder / ".git").exists():
        run_git(folder, "init", "--quiet", "--initial-branch=main")
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return run_git(folder, "rev-parse", "HEAD").strip()


def write_files(folder: Path, files: Files) -> None:
    """Write files; a name that ends with ``*`` is executable, one with ``@`` is a link."""
    for name, content in files.items():
        path = folder / name.rstrip("*@")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("@"):
            path.symlink_to(os.fsdecode(content))
            continue
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if name.endswith("*") else 0o644)


def write_template(folder: Path, files: Files, **manifest: object) -> Path:
    """Write a template with these files in the place of the one that was there."""
    for path in folder.glob("[!.]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_files(folder, {"cookiecutter.json": json.dumps(QUESTIONS | manifest)})
    write_files(folder / PROJECT, files)
    return folder


def read_project(folder: Path, *, record: bool = True) -> dict[str, tuple[str, bytes]]:
    """Read the kind and the content of all files, but git's and those of an update's state."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_hidden = name.startswith((".git/", ".aistart/update/"))
        if is_hidden or (not record and name.startswith(".aistart/")):
            continue
        if path.is_symlink():
            found[name] = ("link", os.fsencode(os.readlink(path)))  # noqa: PTH115
        elif path.is_file():
            kind = "program" if path.stat().st_mode & 0o100 else "file"
            found[name] = (kind, path.read_bytes())
    return found
