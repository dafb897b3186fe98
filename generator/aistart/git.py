"""The first commit of a project."""

import logging
import os
import shutil
import subprocess
from pathlib import Path

import click

from aistart.errors import AistartError

log = logging.getLogger(__name__)

# Of the repository that aistart is called from, a hook for one; not of the one being made.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_FALLBACK_IDENTITY = ("-c", "user.name=aistart", "-c", "user.email=aistart@localhost")
# All files into one pack, not into a file in a folder each; git packs them anew in time.
_PACKED = ("-c", "core.bigFileThreshold=1", "-c", "core.compression=1")
# What the user ignores everywhere, *.lock for one, is committed all the same; what the project's
# own .gitignore names, secrets among it, is not.
_OWN_IGNORES = ("-c", f"core.excludesFile={os.devnull}")
# The user's hooks and signing key belong to the user's own commits; there is nothing to maintain.
_PLAIN = (
    *("-c", "commit.gpgsign=false", "-c", f"core.hooksPath={os.devnull}"),
    *("-c", "maintenance.auto=false"),
)


def first_commit(project: Path, message: str) -> None:
    """Make the folder a git repository that holds its files, but for those that its own
    ``.gitignore`` names; without git, say so and go on."""
    if shutil.which("git") is None:
        click.echo("git is not installed: the project has no repository yet.", err=True)
        return
    # Without a template there is no info/exclude either.
    _git(project, "init", "--quiet", "--initial-branch=main", "--template=")
    _git(project, *_PACKED, *_OWN_IGNORES, "add", "--all")
    commit = (*_PLAIN, "commit", "--quiet", "--allow-empty", "--message", message)
    if _git(project, *commit, check=False).returncode:  # who commits may be unknown
        _git(project, *_FALLBACK_IDENTITY, *commit)


def _git(project: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    log.debug("git %s", " ".join(words))
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    result = subprocess.run(
        ["git", *words], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if check and result.returncode != 0:
        command = next(word for word in words if word in ("init", "add", "commit"))
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AistartError(f"git {command}: {reason}")
    return result
