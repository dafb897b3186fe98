"""The files of a project, rendered in a stage. The one module that knows cookiecutter."""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from aistart.catalog import PROJECT, Layer, Template, foreign_template, merge_manifests
from aistart.errors import AistartError, UsageProblem
from aistart.manifest import MANIFEST
from aistart.naming import folder_problem
from aistart.questions import YES
from aistart.staging import staged

EXTENSIONS = ["aistart.quoting.Quoting"]


def render_text(template: Template, text: str, answers: Mapping[str, str]) -> str:
    """Render a template's own text over answers; what the answers hold is not evaluated.

    Args:
        answers: to all questions, or to the first ones.

    Raises:
        AistartError: it does not render.
    """
    if "{" not in text:
        return text
    with _said_in_a_line():
        environment = _environment(template)
        seen = _seen(template.declarations, answers, environment)
        return str(environment.from_string(text).render(cookiecutter=seen))


@cache
def _environment(template: Template) -> Any:
    from cookiecutter.utils import create_env_with_context

    with _importable(template.own.path):
        return create_env_with_context({"cookiecutter": _with_extensions(template.declarations)})


def _with_extensions(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {**declared, "_extensions": [*EXTENSIONS, *declared.get("_extensions", [])]}


def _seen(declared: Mapping[str, Any], answers: Mapping[str, str], environment: Any) -> Any:
    """What expressions of a template see as ``cookiecutter``, which is as cookiecutter has it:
    answers, booleans as such; ``_x`` as it is declared; ``__x`` and objects as they render.

    Args:
        answers: to all questions, or to the first ones: then nothing that comes later is seen.
    """
    seen: dict[str, Any] = {key: value for key, value in declared.items() if key.startswith("_")}
    objects = []
    for key, value in declared.items():
        if key.startswith("__") and key != "__prompts__":
            seen[key] = _rendered(value, seen, environment)
        elif key.startswith("_"):
            continue
        elif isinstance(value, dict):
            objects.append(key)
        elif key in answers:
            seen[key] = answers[key] == YES if isinstance(value, bool) else answers[key]
        else:
            return seen
    return seen | {key: _rendered(declared[key], seen, environment) for key in objects}


def _rendered(value: Any, seen: dict[str, Any], environment: Any) -> Any:
    from cookiecutter.prompt import render_variable  # it loads a console, and few templates need it

    return render_variable(environment, value, seen)


def folder_of(template: Template, answers: Mapping[str, str]) -> str:
    """The name of the project's folder.

    Raises:
        UsageProblem: no folder can have it.
    """
    name = render_text(template, template.own.project.name, answers)
    if problem := folder_problem(name):
        raise UsageProblem(f"project folder: {name!r} {problem}.")
    return name


def render_project(
    template: Template,
    layers: tuple[Layer, ...],
    answers: Mapping[str, str],
    extra: Mapping[str, Any],
    stage: Path,
    hooks: bool = True,
) -> Path:
    """Render the layers in the stage as one project; returns its folder there.

    Args:
        extra: values that templates may use beside the answers (private keys).
        hooks: whether those of another's template run.
    """
    declared = merge_manifests(layers)
    with _said_in_a_line():
        seen = _seen(declared, answers, _environment(template))
    context = {"cookiecutter": _with_extensions({**seen, **extra})}
    if template.built_in:
        return _render_ours(layers, context, stage / "out")
    merged, out = stage / "template", stage / "out"
    for source, name in _paths(layers):
        _copy(source, merged / name)
    of_cookiecutter = {"_output_dir": str(out), "_repo_dir": str(merged), "_checkout": None}
    known = {"_template": template.word, **of_cookiecutter, **context["cookiecutter"]}
    return _render_with_hooks(merged, {"cookiecutter": known}, out, hooks)


def _render_ours(layers: tuple[Layer, ...], context: dict[str, Any], out: Path) -> Path:
    """What ``_render_with_hooks`` makes of our own layers, which have no hooks, in half the time:
    its way loads a console for prompts, and compiles each path as a template."""
    from cookiecutter.utils import create_env_with_context
    from jinja2 import FileSystemLoader

    environment = create_env_with_context(context)
    environment.loader = FileSystemLoader([layer.path / "templates" for layer in layers])

    @cache
    def rendered(text: str) -> str:
        return environment.from_string(text).render(**context) if "{" in text else text

    for source, name in _paths(layers):
        project, *parts = name.parts
        if project != PROJECT or source.is_dir():
            continue  # what files of the project include, and folders, which files bring
        target = out.joinpath(rendered(project), *map(rendered, parts))
        path = "/".join(parts)
        if any(fnmatch(path, copied) for copied in context["cookiecutter"]["_copy_without_render"]):
            _copy(source, target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rendered(source.read_text("utf-8")), "utf-8", newline="\n")
        shutil.copymode(source, target)
    return out / rendered(PROJECT)


@contextmanager
def after_first_hook(template: Template) -> Iterator[Template]:
    """The template as its ``pre_prompt`` hook leaves it, which may check the machine and change
    what is asked: it runs in a copy, which is there until the end of the context.

    Raises:
        AistartError: the hook fails.
    """
    if not any((template.own.path / "hooks").glob("pre_prompt.*")):
        yield template
        return
    from cookiecutter.hooks import find_hook, run_script
    from cookiecutter.utils import work_in

    with staged() as stage, _said_in_a_line():
        copy = stage / template.own.path.name
        shutil.copytree(template.own.path, copy, ignore=shutil.ignore_patterns(".git"))
        with work_in(copy):
            for script in find_hook("pre_prompt") or []:
                run_script(script, copy)
        yield foreign_template(copy, template.word)


def _render_with_hooks(merged: Path, context: dict[str, Any], out: Path, hooks: bool) -> Path:
    from cookiecutter.generate import generate_files

    with _importable(merged), _said_in_a_line(), _temporary_files_in(merged.parent):
        _check_names(merged, context)
        return Path(generate_files(merged, context, output_dir=out, accept_hooks=hooks))


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Cookiecutter leaves the hooks that it has rendered among the temporary files."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder.resolve())
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """A plain template may bring extensions of its own, beside its ``cookiecutter.json``."""
    writes_nothing = sys.dont_write_bytecode
    sys.path.append(str(folder))
    sys.dont_write_bytecode = True  # the folder is another's
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes_nothing


@contextmanager
def _said_in_a_line() -> Iterator[None]:
    """What another's template does wrong, which may be anything, is an error of ours."""
    # With a handler of its own cookiecutter does not print what is said here.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    try:
        yield
    except (AistartError, OSError):
        raise
    except Exception as error:
        said = getattr(error, "error", error)  # cookiecutter's own hold Jinja's, and all answers
        reason = " ".join(str(said).split()) or type(error).__name__
        if type(error).__name__ == "FailedHookException":
            status = reason.removeprefix("Hook script failed").strip()
            raise AistartError(f"template: one of its hooks failed {status}") from error
        raise AistartError(f"template: it does not render: {reason}") from error


def _check_names(merged: Path, context: dict[str, Any]) -> None:
    """No name of a file renders to a path that leads out of the project."""
    from cookiecutter.utils import create_env_with_context

    environment = create_env_with_context(context)
    for path in merged.glob("*{{*}}*/**/*"):
        name = path.relative_to(merged).as_posix()
        made = environment.from_string(name).render(**context)
        if ".." in Path(made).parts or Path(made).is_absolute() or "\\" in made:
            raise UsageProblem(f"template: the file {name!r} would lie outside of the project.")


def _paths(layers: Iterable[Layer]) -> Iterator[tuple[Path, Path]]:
    """Each file and folder of the layers, and its name in its layer."""
    # pip byte-compiles the packaged templates: its __pycache__ must not reach a project.
    left_out = {"__pycache__", ".git"}
    seen = set()
    for layer in layers:
        for source in sorted(layer.path.rglob("*")):
            name = source.relative_to(layer.path)
            if left_out & set(name.parts) or name == Path(MANIFEST):
                continue
            if source.is_dir():
                yield source, name
                continue
            if name in seen:
                raise UsageProblem(f"template: two layers hold the same file {name.as_posix()!r}.")
            seen.add(name)
            yield source, name


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copymode(source, target)
