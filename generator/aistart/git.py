"""The git repository of a new project, with its first commit."""

import logging
import os
import shutil
import subprocess
from pathlib import Path

import click

from aistart.errors import AistartError
from aistart.update.trees import RECORD_PATHS

log = logging.getLogger(__name__)

# Set where a git hook calls aistart; they name that hook's repository, not the new one.
_REPOSITORY_VARIABLES = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"),
}
_FALLBACK_IDENTITY = ("-c", "user.name=aistart", "-c", "user.email=aistart@localhost")
# One pack instead of a file for each object is faster; git repacks it in time.
_PACK_OPTIONS = ("-c", "core.bigFileThreshold=1", "-c", "core.compression=1")
# The user's global ignore file may name project files such as *.lock. The project's own .gitignore,
# which covers secrets, stays in force.
_IGNORE_OPTIONS = ("-c", f"core.excludesFile={os.devnull}")
# The user's hooks and signing key are for the user's own commits; a new repository needs no
# maintenance.
_COMMIT_OPTIONS = (
    *("-c", "commit.gpgsign=false", "-c", f"core.hooksPath={os.devnull}"),
    *("-c", "maintenance.auto=false"),
)


def first_commit(project: Path, message: str) -> None:
    """Make the folder a git repository and commit its files, except those in its ``.gitignore``.

    The project's record is committed in any case.

    Where git is not installed, this prints a note and does nothing.

    Args:
        project: the project's folder.
        message: of the commit.

    Raises:
        AistartError: git fails.
    """
    if shutil.which("git") is None:
        click.echo("git is not installed: the project has no repository yet.", err=True)
        return
    # The user's git template could hold an info/exclude.
    _run_git(project, "init", "--quiet", "--initial-branch=main", "--template=")
    _run_git(project, *_PACK_OPTIONS, *_IGNORE_OPTIONS, "add", "--all")
    record = [path for path in RECORD_PATHS if (project / path).exists()]
    if record:  # without it, a clone could not be updated
        _run_git(project, *_PACK_OPTIONS, "add", "--force", "--", *record)
    commit = (*_COMMIT_OPTIONS, "commit", "--quiet", "--allow-empty", "--message", message)
    if _run_git(project, *commit, check=False).returncode:  # the user may have no identity
        _run_git(project, *_FALLBACK_IDENTITY, *commit)


def _run_git(project: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    log.debug("git %s", " ".join(words))
    environment = {
        name: value for name, value in os.environ.items() if name not in _REPOSITORY_VARIABLES
    }
    result = subprocess.run(
        ["git", *words], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if check and result.returncode != 0:
        command = next(word for word in words if word in ("init", "add", "commit"))
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AistartError(f"git {command}: {reason}")
    return result
