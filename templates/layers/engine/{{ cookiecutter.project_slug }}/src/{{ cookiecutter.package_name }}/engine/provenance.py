"""Provenance of a run: commit, versions, packages. Environment variables are left out, since they
hold secrets; but ``MLFLOW_RUN_CONTEXT`` is meant to be recorded."""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata

from .files import project_root


def environment_tags() -> dict[str, str]:
    """Return versions, the project's commit and the tags in ``MLFLOW_RUN_CONTEXT``, as texts."""
    tags = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "tensorflow": metadata.version("tensorflow"),
        "keras": metadata.version("keras"),
    }
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit:
        tags |= {"git_commit": commit, "git_dirty": str(bool(changed)).lower()}
    return tags | _context_tags()


def _context_tags() -> dict[str, str]:
    """Return the tags that whoever started this process gives to its runs: JSON, as for MLflow."""
    try:
        tags = json.loads(os.environ.get("MLFLOW_RUN_CONTEXT") or "{}")
    except json.JSONDecodeError:
        return {}  # MLflow, too, goes on without them
    return {str(name): str(value) for name, value in tags.items()}


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=project_root(), capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def list_packages() -> str:
    """Return all installed packages with their versions, a line each."""
    lines = {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()}
    return "\n".join([f"# Python {sys.version.split()[0]}", *sorted(lines, key=str.lower), ""])
