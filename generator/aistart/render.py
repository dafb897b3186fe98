"""The files of a project, rendered in a stage. The one module that knows cookiecutter."""

import logging
import os
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from aistart.catalog import (
    PROJECT,
    Layer,
    Template,
    foreign_template,
    hooks_of,
    leads_out,
    merge_manifests,
)
from aistart.errors import AistartError, UsageProblem
from aistart.manifest import MANIFEST
from aistart.naming import folder_problem
from aistart.questions import YES
from aistart.staging import Ended, staged

EXTENSIONS = ["aistart.quoting.Quoting"]


def render_text(template: Template, text: str, answers: Mapping[str, str]) -> str:
    """Render a template's own text over answers; what the answers hold is not evaluated.

    Args:
        answers: to all questions, or to the first ones.

    Raises:
        AistartError: it does not render.
    """
    if "{" not in text and "_jinja2_env_vars" not in template.declarations:
        return text
    with _said_in_a_line(), _importable(template.own.path):
        environment = _environment(template)
        seen = _seen(template.declarations, answers, environment)
        return str(environment.from_string(text).render(cookiecutter=seen))


@cache
def _environment(template: Template) -> Any:
    from cookiecutter.utils import create_env_with_context

    declared = template.declarations
    # A plain template renders as with cookiecutter alone.
    known = declared if template.is_plain else _with_extensions(declared)
    with _importable(template.own.path):
        return create_env_with_context({"cookiecutter": known})


def _with_extensions(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {**declared, "_extensions": [*EXTENSIONS, *declared.get("_extensions", [])]}


def _seen(declared: Mapping[str, Any], answers: Mapping[str, str], environment: Any) -> Any:
    """What expressions of a template see as ``cookiecutter``, which is as cookiecutter has it:
    answers, each of its declared type; ``_x`` as it is declared; ``__x`` and objects as they
    render; null where a plain template's null was left.

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
            seen[key] = _value(answers[key], value, seen, environment)
        elif value is None:
            seen[key] = None
        else:
            return seen
    return seen | {key: _rendered(declared[key], seen, environment) for key in objects}


def _value(answer: str, declared: Any, seen: dict[str, Any], environment: Any) -> Any:
    """What an answer stands for: a choice may be a boolean, say, of which it is the text."""
    if isinstance(declared, bool):
        return answer == YES
    if not isinstance(declared, list):
        return answer
    others = [option for option in declared if not isinstance(option, str)]
    values = (_rendered(option, seen, environment) for option in others)
    return next((value for value in values if str(value) == answer), answer)


def _rendered(value: Any, seen: dict[str, Any], environment: Any) -> Any:
    from cookiecutter.prompt import render_variable  # it loads a console, and few templates need it

    return render_variable(environment, value, seen)


def folder_of(template: Template, answers: Mapping[str, str]) -> str:
    """The name of the project's folder.

    Raises:
        UsageProblem: no folder can have it.
    """
    name = render_text(template, template.own.project.name, answers)
    # Another's names are free, as long as they lead nowhere else.
    elsewhere = name in ("", ".", "..") or any(sign in name for sign in "/\\\0")
    is_wrong = "is not the name of one folder" if elsewhere else None
    if problem := is_wrong if template.is_plain else folder_problem(name):
        raise UsageProblem(f"project folder: {name!r} {problem}.")
    return name


@dataclass(frozen=True)
class Rendering:
    """A template with complete answers, whose files and hooks are to make a project.

    Attributes:
        context: what the files, their names and the hooks see.
        repo: the folder with the template's tree and its hooks.
        tree: the folder of files in there, whose name is a template.
        stage: for the files that are made, and what is left over.
    """

    layers: tuple[Layer, ...]
    context: dict[str, Any]
    repo: Path
    tree: str
    stage: Path
    is_ours: bool

    @property
    def has_hooks(self) -> bool:
        """Whether programs of the template take part."""
        return not self.is_ours and bool(hooks_of(self.layers))

    def render_files(self) -> Path:
        """Make the files in the stage, where nothing else is, and return the project's folder.

        Raises:
            UsageProblem: one would lie elsewhere.
            AistartError: one does not render.
        """
        from cookiecutter.generate import generate_files

        out = self.stage.resolve() / "out"
        if self.is_ours:
            return _render_ours(self.layers, self.context, out)
        with self._template_code():
            files = self._check_names()
            made = Path(generate_files(self.repo, self.context, out, accept_hooks=False))
            # Names were rendered twice: they may not have come out the same.
            there = sum(path.is_file() for path in made.rglob("*"))
            if made.parent != out or [*out.iterdir()] != [made]:
                raise UsageProblem("template: it writes beside the project's folder.")
            if there < files:
                raise UsageProblem(
                    f"template: of its {files} files only {there} are in the project's folder."
                )
        return made

    def run_hook(self, name: str, project: Path) -> None:
        """Run ``pre_gen_project`` or ``post_gen_project`` in the project's folder, if there is one.

        Raises:
            AistartError: it fails.
        """
        from cookiecutter.hooks import run_hook_from_repo_dir

        with self._template_code():
            run_hook_from_repo_dir(self.repo, name, str(project.absolute()), self.context, False)

    @contextmanager
    def _template_code(self) -> Iterator[None]:
        with _importable(self.repo), _said_in_a_line(), _temporary_files_in(self.stage):
            yield

    def _check_names(self) -> int:
        """Check that no file would lie outside of the project; returns how many there will be."""
        from cookiecutter.utils import create_env_with_context

        context = deepcopy(self.context)  # names are templates, which may change it
        environment = create_env_with_context(context)
        marks = ("variable", "block", "comment")
        starts = [getattr(environment, f"{mark}_start_string") for mark in marks]
        name = environment.from_string(self.tree).render(**context)
        around = str(self.stage.absolute().parent)
        for text, place in ((name, "project folder"), (around, "output folder")):
            # Cookiecutter renders names of folders within the project as part of their whole path.
            if mark := next((start for start in starts if start in text), None):
                raise UsageProblem(
                    f"{place}: {text!r} must not hold {mark!r}: it would be rendered."
                )
        made = set()
        for source, is_file in _names(self.repo / self.tree, context):
            said = environment.from_string(source).render(**context)
            if leads_out(said):
                raise UsageProblem(
                    f"template: the file {source!r} would lie outside of the project."
                )
            if is_file and said and not said.endswith("/"):  # others are left out
                made.add(str(PurePosixPath(said)).casefold())
        return len(made)


def prepare(
    template: Template,
    layers: tuple[Layer, ...],
    answers: Mapping[str, str],
    extra: Mapping[str, Any],
    stage: Path,
    output_dir: Path,
) -> Rendering:
    """Put the layers of a project together, to be rendered.

    Args:
        extra: values that templates with our keys may use beside the answers (private keys).
        output_dir: where the project will lie.

    Raises:
        UsageProblem: the template has no files.
        AistartError: a value does not render.
    """
    tree = template.own.project.name
    with _said_in_a_line(), _importable(template.own.path):
        seen = _seen(merge_manifests(layers), answers, _environment(template))
    if template.built_in:
        context = {"cookiecutter": _with_extensions({**seen, **extra})}
        return Rendering(layers, context, template.own.path, tree, stage, is_ours=True)
    origin, repo = template.origin, template.own.path
    if not template.is_plain:
        repo = stage / "template"
        for source, name in _paths(layers):
            _copy(source, repo / name)
    told = {
        "_template": origin.template,
        "_output_dir": os.path.normpath(output_dir.absolute()),
        "_repo_dir": origin.repo_dir if template.is_plain else str(repo),
        "_checkout": origin.checkout,
    }
    if template.is_plain:
        declared = template.declarations
        # In cookiecutter's order and types: hooks may print it.
        known = OrderedDict((key, seen[key]) for key in declared if key != "__prompts__")
        context = {"cookiecutter": known | told, "_cookiecutter": _as_asked(template, answers)}
    else:
        context = {"cookiecutter": {**told, **_with_extensions({**seen, **extra})}}
    return Rendering(layers, context, repo.absolute(), tree, stage, is_ours=False)


def _as_asked(template: Template, answers: Mapping[str, str]) -> dict[str, Any]:
    """Questions of a plain template as it declares them, with the answers that are no defaults."""
    asked = {k: value for k, value in template.declarations.items() if not k.startswith("_")}

    def is_text_of(value: Any, answer: str) -> bool:
        try:
            return render_text(template, str(value), answers) == answer
        except AistartError:  # a default that nobody needed
            return False

    for key, answer in answers.items():
        value = asked[key]
        if isinstance(value, bool):
            asked[key] = answer == YES
        elif isinstance(value, list):  # what was chosen comes first
            asked[key] = sorted(value, key=lambda option: not is_text_of(option, answer))
        elif value is None or not is_text_of(value, answer):
            asked[key] = answer
    return asked


def _names(folder: Path, context: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Names in a template's tree that are rendered, relative to it, and whether each is a file's.
    What a folder holds that is copied as it is keeps its names."""
    from cookiecutter.generate import is_copy_only_path

    for root, folders, files in os.walk(folder):
        here = Path(root).relative_to(folder)
        yield from ((str(here / name), False) for name in folders)
        yield from ((str(here / name), True) for name in files)
        folders[:] = [f for f in folders if not is_copy_only_path(str(here / f), context)]


def _render_ours(layers: tuple[Layer, ...], context: dict[str, Any], out: Path) -> Path:
    """What cookiecutter makes of our own layers, which have no hooks, in half the time: its way
    loads a console for prompts, and compiles each path as a template."""
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
        origin = replace(template.origin, repo_dir=str(copy))
        changed = foreign_template(copy, template.word)
        yield replace(changed, origin=origin, directory=template.directory)


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
    except (AistartError, OSError, Ended):
        raise
    except SystemExit as end:
        raise AistartError(
            f"template: its code ends the program (exit status: {end.code})"
        ) from end
    except Exception as error:
        said = getattr(error, "error", error)  # cookiecutter's own hold Jinja's, and all answers
        reason = " ".join(str(said).split()) or type(error).__name__
        if type(error).__name__ == "FailedHookException":
            status = reason.removeprefix("Hook script failed").strip()
            raise AistartError(f"template: one of its hooks failed {status}") from error
        raise AistartError(f"template: it does not render: {reason}") from error


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
