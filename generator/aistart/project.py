"""A whole project put in place: rendered in a stage beside the target, then renamed."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from aistart import __version__, git
from aistart.catalog import Template
from aistart.errors import AistartError, UsageProblem
from aistart.render import folder_of, render_project, render_text
from aistart.staging import staged

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is to be made: a template, complete answers and features, and the folder to make it in.

    Attributes:
        repository: whether the project becomes a git repository.
    """

    template: Template
    answers: Mapping[str, str]
    output_dir: Path = Path()
    features: tuple[str, ...] = ()
    repository: bool = True

    @property
    def target(self) -> Path:
        """The project's folder."""
        return self.output_dir / folder_of(self.template, self.answers)


def create(request: Request) -> Path:
    """Make the project and return its folder: it is there whole or not at all.

    Raises:
        UsageProblem: the target exists and is not an empty folder.
        AistartError: the disk or a permission is in the way.
    """
    target = request.target
    check_free(target)
    try:
        # Beside the target it is on the target's own file system: the last step is one rename.
        with _existing(request.output_dir), staged(target.parent) as stage:
            made = _rendered(request, stage)
            if request.repository:
                name = request.template.name
                git.first_commit(made, f"Start from aistart's {name} template")
            log.debug("moved to %s", target)
            _move(made, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"output folder: {str(request.output_dir)!r}: {reason}.") from error
    return target


@dataclass(frozen=True)
class File:
    """A file of a project that is not made yet: its path, bytes, and the layer it comes from."""

    path: str
    size: int
    layer: str


def preview(request: Request) -> list[File]:
    """The files that ``create`` would make, in order; nothing is left of them."""
    template, answers = request.template, request.answers
    origins = {
        render_text(template, path.relative_to(layer.project).as_posix(), answers): layer.name
        for layer in template.layers_for(answers, request.features)
        for path in _files(layer.project)
    }
    try:
        with staged() as stage:
            made = _rendered(request, stage, hooks=False)
            sizes = {
                path.relative_to(made).as_posix(): path.stat().st_size for path in _files(made)
            }
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"temporary folder: {tempfile.gettempdir()!r}: {reason}.") from error
    return [File(path, size, origins.get(path, "")) for path, size in sorted(sizes.items())]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _rendered(request: Request, stage: Path, hooks: bool = True) -> Path:
    template, answers = request.template, request.answers
    extra = {
        "_template_name": template.name,
        "_aistart_version": __version__,
        "_answers": answers,
        "_features_chosen": list(request.features),
        "_year": date.today().year,
    }
    layers = template.layers_for(answers, request.features)
    log.debug("layers %s in %s", ", ".join(layer.name for layer in layers), stage)
    return render_project(template, layers, answers, extra, stage, hooks)


def check_output(folder: Path) -> None:
    """A project can be made in the folder: it is one, or can become one.

    Raises:
        UsageProblem: it, or what it would lie in, is something else.
    """
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if os.path.lexists(place):
            raise UsageProblem(f"output folder: {str(place)!r} is not a folder.")


@contextmanager
def _existing(folder: Path) -> Iterator[None]:
    """The folder is there; if what follows fails, those that were made for it are gone again."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # another program may use it by now
            for place in missing:
                place.rmdir()
        raise


def check_free(target: Path) -> None:
    """A project can be made there: nothing is, or an empty folder.

    Raises:
        UsageProblem: it cannot.
    """
    parent = target.parent
    check_output(parent)
    if target.is_symlink():
        raise UsageProblem(f"project folder: {str(target)!r} is a symbolic link.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageProblem(f"project folder: {str(target)!r} exists and is not an empty folder.")


def _move(made: Path, target: Path) -> None:
    if target.is_dir():
        shutil.copymode(target, made)  # who may enter is the user's choice
    if os.name == "nt" and target.is_dir():
        target.rmdir()  # Windows renames onto nothing, not onto an empty folder
    try:
        made.rename(target)
    except OSError:
        check_free(target)  # another run was faster
        raise
