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
from aistart.answers_file import PLACE, keep
from aistart.catalog import Layer, Template, hooks_of
from aistart.errors import AistartError, UsageProblem
from aistart.render import Rendering, folder_of, prepare, render_text
from aistart.staging import made_in_place, staged, sweep

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

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What the project is made of."""
        return self.template.layers_for(self.answers, self.features)

    @property
    def hooks(self) -> list[Path]:
        """Programs of another's template that take part."""
        return [] if self.template.built_in else hooks_of(self.layers)


def create(request: Request) -> Path:
    """Make the project and return its folder: it is there whole or not at all.

    With hooks of another's template it is made where it will lie, as cookiecutter does it: they may
    write its path down, as an environment of Python has it, or rename it. It is removed again if
    anything fails or ends the program. The folder that is returned is then the one that the hooks
    leave. Of a program that is killed a part may stay, and its stage until the next project is made
    beside it.

    Raises:
        UsageProblem: the target exists and is not an empty folder.
        AistartError: the disk or a permission is in the way.
    """
    target = request.target
    check_free(target)
    sweep(target.parent)
    try:
        # Beside the target it is on the target's own file system: the last step is one rename.
        with _existing(request.output_dir), staged(target.parent) as stage:
            rendering = _prepared(request, stage)
            if rendering.has_hooks:
                return _create_with_hooks(request, rendering, target)
            made = rendering.render_files()
            _commit(request, made)
            log.debug("moved to %s", target)
            _move(made, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"output folder: {str(request.output_dir)!r}: {reason}.") from error
    return target


def _create_with_hooks(request: Request, rendering: Rendering, target: Path) -> Path:
    with made_in_place(target) as find:
        mode = target.stat().st_mode
        rendering.run_hook("pre_gen_project", target)
        made = rendering.render_files()
        shutil.copytree(made, target, dirs_exist_ok=True)  # beside what the hook may have made
        target.chmod(mode)
        rendering.run_hook("post_gen_project", target)
        project = find()
        if project is None:  # the hook has put its files elsewhere
            return target.parent
        _commit(request, project)
    return project


def _commit(request: Request, project: Path) -> None:
    """Make the project a repository, unless a hook has done so."""
    place = project / ".git"
    if request.repository and not place.exists():
        name = request.template.name
        git.first_commit(project, f"Start from aistart's {name} template")
    if place.is_dir() and not (project / PLACE).exists():
        keep(place, request.template.name, request.answers, request.features)


@dataclass(frozen=True)
class File:
    """A file of a project that is not made yet: its path, bytes, and the layer it comes from."""

    path: str
    size: int
    layer: str


def preview(request: Request) -> list[File]:
    """The files that ``create`` would make, in order; nothing is left of them."""
    origins = _origins(request)
    try:
        with staged() as stage:
            made = _prepared(request, stage).render_files()
            sizes = {
                path.relative_to(made).as_posix(): path.stat().st_size for path in _files(made)
            }
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"temporary folder: {tempfile.gettempdir()!r}: {reason}.") from error
    only = request.template.own.name if request.template.is_plain else ""
    return [File(path, size, origins.get(path, only)) for path, size in sorted(sizes.items())]


def _origins(request: Request) -> dict[str, str]:
    """The layer of each file, by its path in the project."""
    template, layers = request.template, request.layers
    if template.is_plain:
        return {}  # there is but one
    return {
        render_text(
            template, path.relative_to(layer.project).as_posix(), request.answers
        ): layer.name
        for layer in layers
        for path in _files(layer.project)
    }


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _prepared(request: Request, stage: Path) -> Rendering:
    template, answers = request.template, request.answers
    extra = {
        "_template_name": template.name,
        "_aistart_version": __version__,
        "_answers": answers,
        "_features_chosen": list(request.features),
        "_year": date.today().year,
    }
    layers = request.layers
    log.debug("layers %s in %s", ", ".join(layer.name for layer in layers), stage)
    return prepare(template, layers, answers, extra, stage, request.output_dir)


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
