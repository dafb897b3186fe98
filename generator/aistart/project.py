"""Creation of a project: rendered in a staging folder beside the target, then moved into place."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from aistart import __version__, git
from aistart.catalog import Layer, Template, find_hooks
from aistart.errors import AistartError, UsageProblem
from aistart.render import Rendering, prepare_rendering, project_folder_name, render_text
from aistart.sources import Source
from aistart.staging import create_in_place, staging_folder
from aistart.update.record import build_record, write_record
from aistart.update.trees import RECORD_PATHS, read_pristine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A project to create.

    Attributes:
        template: its template.
        answers: to all questions of the template.
        output_dir: the folder in which the project's folder is made.
        features: names of its features.
        repository: whether the project becomes a git repository.
        year: of the licence; default: the present one.
    """

    template: Template
    answers: Mapping[str, str]
    output_dir: Path = Path()
    features: tuple[str, ...] = ()
    repository: bool = True
    year: int = field(default_factory=lambda: date.today().year)

    @property
    def target(self) -> Path:
        """The project's folder."""
        return self.output_dir / project_folder_name(self.template, self.answers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of the project."""
        return self.template.layers_for(self.answers, self.features)

    @property
    def hooks(self) -> list[Path]:
        """Hooks that take part; built-in templates have none."""
        return [] if self.template.is_built_in else find_hooks(self.layers)


def create(request: Request, source: Source | None = None) -> Path:
    """Create the project and return its folder: it is there whole or not at all.

    With hooks of a foreign template it is created where it will lie, as cookiecutter does it: hooks
    may write its path down, as a virtual environment has it, or rename the folder. Everything is
    removed again if a step fails or a signal ends the program, and the returned folder is the one
    that the hooks leave. Only a killed program may leave a part of such a project.

    Args:
        request: the project.
        source: of its template, which knows the commit; None: it is in no repository.

    Raises:
        UsageProblem: the target exists and is not an empty folder.
        AistartError: the disk or a permission prevents it.
    """
    target = request.target
    check_target(target)
    try:
        # Beside the target, so that both are on one file system and the last step is a rename.
        with _make_output_dir(request.output_dir), staging_folder(target.parent) as stage:
            rendering = _prepare(request, stage)
            if rendering.has_hooks:
                return _create_with_hooks(request, source, rendering, target)
            project = rendering.render_files()
            _record(request, source, project)
            _make_repository(request, project)
            log.debug("move to %s", target)
            _move(project, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"output folder: {str(request.output_dir)!r}: {reason}.") from error
    return target


def _create_with_hooks(
    request: Request, source: Source | None, rendering: Rendering, target: Path
) -> Path:
    with create_in_place(target) as find:
        _render_with_hooks(rendering, target)
        project = find()
        if project is None:  # the hook moved its files elsewhere
            return target.parent
        _record(request, source, project)
        _make_repository(request, project)
    return project


def _render_with_hooks(rendering: Rendering, target: Path) -> None:
    mode = target.stat().st_mode
    rendering.run_hook("pre_gen_project", target)
    files = rendering.render_files()
    shutil.copytree(files, target, dirs_exist_ok=True)  # beside what the first hook wrote
    target.chmod(mode)
    rendering.run_hook("post_gen_project", target)


def _record(request: Request, source: Source | None, project: Path) -> None:
    """Write down what the project was made from, and its files as they are now."""
    tree = read_pristine(project, has_hooks=bool(request.hooks))
    write_record(project, build_record(request, source, tree))


def _make_repository(request: Request, project: Path) -> None:
    """Make the project a repository, unless a hook has done so."""
    if request.repository and not (project / ".git").exists():
        name = request.template.name
        git.first_commit(project, f"Start from aistart's {name} template")


@contextmanager
def render_in_stage(request: Request) -> Iterator[Path]:
    """Render a project without its record in a temporary folder, in which its hooks run, too.

    Yields:
        the project's folder.

    Raises:
        AistartError: the template does not render, a hook fails, or the disk prevents it.
    """
    with _report_full_disk(), staging_folder() as stage:
        rendering = _prepare(request, stage)
        if not rendering.has_hooks:
            yield rendering.render_files()
            return
        target = stage / "project" / request.target.name
        target.parent.mkdir()
        with create_in_place(target) as find:
            _render_with_hooks(rendering, target)
            yield find() or target


@contextmanager
def _report_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise AistartError(f"temporary folder: {tempfile.gettempdir()!r}: {reason}.") from error


@dataclass(frozen=True)
class ProjectFile:
    """A file of a project: its path in the project, size in bytes, and the layer it comes from."""

    path: str
    size: int
    layer: str


def preview(request: Request) -> list[ProjectFile]:
    """Return the files that ``create`` would make, in order, and leave none of them on the disk."""
    layer_names = _map_paths_to_layers(request)
    with _report_full_disk(), staging_folder() as stage:
        project = _prepare(request, stage).render_files()
        write_record(project, build_record(request, None, read_pristine(project, has_hooks=False)))
        sizes = {
            path.relative_to(project).as_posix(): path.stat().st_size
            for path in _list_files(project)
        }
    default = request.template.own_layer.name if request.template.is_plain else ""
    layer_names |= dict.fromkeys(RECORD_PATHS, "aistart")
    return [
        ProjectFile(path, size, layer_names.get(path, default))
        for path, size in sorted(sizes.items())
    ]


def _map_paths_to_layers(request: Request) -> dict[str, str]:
    """Return the layer of each file by its path in the project; empty for a plain template."""
    template, layers = request.template, request.layers
    if template.is_plain:
        return {}
    return {
        render_text(
            template, path.relative_to(layer.project).as_posix(), request.answers
        ): layer.name
        for layer in layers
        for path in _list_files(layer.project)
    }


def _list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _prepare(request: Request, stage: Path) -> Rendering:
    template, answers = request.template, request.answers
    extra = {
        "_template_name": template.name,
        "_aistart_version": __version__,
        "_answers": answers,
        "_features_chosen": list(request.features),
        "_year": request.year,
    }
    layers = request.layers
    log.debug("layers %s in %s", ", ".join(layer.name for layer in layers), stage)
    return prepare_rendering(template, layers, answers, extra, stage, request.output_dir)


def check_output_dir(folder: Path) -> None:
    """Check that ``folder`` is a folder, or can be made.

    Raises:
        UsageProblem: it, or a parent of it, exists and is not a folder.
    """
    for path in (folder, *folder.parents):
        if path.is_dir():
            return
        if os.path.lexists(path):
            raise UsageProblem(f"output folder: {str(path)!r} is not a folder.")


def check_target(target: Path) -> None:
    """Check that a project can be created at ``target``: nothing is there, or an empty folder.

    Raises:
        UsageProblem: something else is there.
    """
    check_output_dir(target.parent)
    if target.is_symlink():
        raise UsageProblem(f"project folder: {str(target)!r} is a symbolic link.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageProblem(f"project folder: {str(target)!r} exists and is not an empty folder.")


@contextmanager
def _make_output_dir(folder: Path) -> Iterator[None]:
    """Make the folder and its parents, and remove those again if the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # another program may use them by now
            for path in missing:
                path.rmdir()
        raise


def _move(project: Path, target: Path) -> None:
    if target.is_dir():
        shutil.copymode(target, project)  # the user decided who may enter it
    if os.name == "nt" and target.is_dir():
        target.rmdir()  # Windows cannot rename onto an empty folder
    try:
        project.rename(target)
    except OSError:
        check_target(target)  # a clearer message where another run was faster
        raise
