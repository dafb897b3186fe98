"""A whole project put in place: rendered in a stage beside the target, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from aistart import __version__, git
from aistart.catalog import Template
from aistart.errors import AistartError, UsageProblem
from aistart.render import render_project


@dataclass(frozen=True)
class Request:
    """What is to be made: a template, complete answers, and the folder to make it in."""

    template: Template
    answers: dict[str, str]
    output_dir: Path

    @property
    def target(self) -> Path:
        """The project's folder."""
        return self.output_dir / self.answers["project_slug"]


def create(request: Request) -> Path:
    """Make the project and return its folder: it is there whole or not at all.

    Raises:
        UsageProblem: the target exists and is not an empty folder.
        AistartError: the disk or a permission is in the way.
    """
    target = request.target
    _check_free(target)
    try:
        with _stage_beside(target) as stage:
            extra = {
                "_template_name": request.template.name,
                "_aistart_version": __version__,
                "_answers": request.answers,
                "_year": date.today().year,
            }
            layers = request.template.layers_for(request.answers)
            made = render_project(layers, request.answers, extra, stage)
            git.first_commit(made, f"Start from aistart's {request.template.name} template")
            _move(made, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"output folder: {str(request.output_dir)!r}: {reason}.") from error
    return target


def _check_free(target: Path) -> None:
    parent = target.parent
    if not parent.is_dir():
        raise UsageProblem(f"output folder: {str(parent)!r} is not an existing folder.")
    if target.is_symlink():
        raise UsageProblem(f"project folder: {str(target)!r} is a symbolic link.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageProblem(f"project folder: {str(target)!r} exists and is not an empty folder.")


@contextmanager
def _stage_beside(target: Path) -> Iterator[Path]:
    # On the target's own file system, so that the last step is one atomic rename.
    stage = Path(tempfile.mkdtemp(prefix=".aistart-", dir=target.parent))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _move(made: Path, target: Path) -> None:
    if os.name == "nt" and target.is_dir():
        target.rmdir()  # Windows renames onto nothing, not onto an empty folder
    try:
        made.rename(target)
    except OSError:
        _check_free(target)  # another run was faster
        raise
