"""A whole project put in place: rendered in a stage beside the target, then renamed."""

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from aistart import __version__, git
from aistart.catalog import Template
from aistart.errors import AistartError, UsageProblem
from aistart.render import folder_of, render_project, render_text

log = logging.getLogger(__name__)
_STOPPING = (signal.SIGINT, signal.SIGTERM)


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
    _check_free(target)
    try:
        with _stage_in(target.parent) as stage:
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
        with _stage_in(Path(tempfile.gettempdir())) as stage:
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
    """Projects can be made in existing folders.

    Raises:
        UsageProblem: it is none.
    """
    if not folder.is_dir():
        raise UsageProblem(f"output folder: {str(folder)!r} is not an existing folder.")


def _check_free(target: Path) -> None:
    parent = target.parent
    check_output(parent)
    if target.is_symlink():
        raise UsageProblem(f"project folder: {str(target)!r} is a symbolic link.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageProblem(f"project folder: {str(target)!r} exists and is not an empty folder.")


@contextmanager
def _stage_in(folder: Path) -> Iterator[Path]:
    """A new folder that is gone afterwards, also after Ctrl-C or SIGTERM at any moment.

    Beside the target it is on the target's own file system, so that the last step is one rename.
    """
    stage = folder / f".aistart-{secrets.token_hex(8)}"
    terminated = _on_signal(signal.SIGTERM, _leave)
    try:
        try:
            stage.mkdir()
            yield stage
        finally:
            _removed(stage)
    finally:
        # A signal that fell into the line above has ended it; the second one is complete.
        _removed(stage)
        _on_signal(signal.SIGTERM, terminated)


def _removed(stage: Path) -> None:
    before = {number: _on_signal(number, signal.SIG_IGN) for number in _STOPPING}
    shutil.rmtree(stage, ignore_errors=True)
    for number, handler in before.items():
        _on_signal(number, handler)


def _on_signal(number: signal.Signals, handler: Any) -> Any:
    """Set what a signal does and return what it did; only the main thread can."""
    if handler is not None and threading.current_thread() is threading.main_thread():
        return signal.signal(number, handler)
    return None


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _move(made: Path, target: Path) -> None:
    if os.name == "nt" and target.is_dir():
        target.rmdir()  # Windows renames onto nothing, not onto an empty folder
    try:
        made.rename(target)
    except OSError:
        _check_free(target)  # another run was faster
        raise
