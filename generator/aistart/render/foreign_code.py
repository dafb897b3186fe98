"""Guards for the process while the code of a foreign template runs: hooks, extensions, Jinja."""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aistart.catalog import Template, load_foreign_template
from aistart.errors import AistartError
from aistart.staging import SignalExit, staging_folder


@contextmanager
def run_pre_prompt_hook(template: Template) -> Iterator[Template]:
    """Run a template's ``pre_prompt`` hook, which may check the machine and change the questions.

    The hook runs in a copy of the template, which exists until the end of the context.

    Yields:
        the template as the hook left it; without such a hook, the same template.

    Raises:
        AistartError: the hook fails.
    """
    if not any((template.own_layer.path / "hooks").glob("pre_prompt.*")):
        yield template
        return
    from cookiecutter.hooks import find_hook, run_script
    from cookiecutter.utils import work_in

    with staging_folder() as stage, convert_errors():
        copy = stage / template.own_layer.path.name
        shutil.copytree(template.own_layer.path, copy, ignore=shutil.ignore_patterns(".git"))
        with work_in(copy):
            for script in find_hook("pre_prompt") or []:
                run_script(script, copy)
        origin = replace(template.origin, repo_dir=str(copy))
        after_hook = load_foreign_template(copy, template.reference)
        yield replace(after_hook, origin=origin, directory=template.directory)


@contextmanager
def convert_errors() -> Iterator[None]:
    """Convert whatever a foreign template's code raises to an ``AistartError`` of one line."""
    # With a handler of its own, cookiecutter's logger does not print what the error already says.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    try:
        yield
    except (AistartError, OSError, SignalExit):
        raise
    except SystemExit as exit_request:
        raise AistartError(
            f"template: its code ends the program (exit status: {exit_request.code})"
        ) from exit_request
    except Exception as error:
        # Cookiecutter's own exceptions wrap Jinja's, and print all answers.
        cause = getattr(error, "error", error)
        reason = " ".join(str(cause).split()) or type(error).__name__
        if type(error).__name__ == "FailedHookException":
            status = reason.removeprefix("Hook script failed").strip()
            raise AistartError(f"template: one of its hooks failed {status}") from error
        raise AistartError(f"template: it does not render: {reason}") from error


@contextmanager
def allow_imports_from(folder: Path) -> Iterator[None]:
    """Let a template import the Jinja extensions that lie beside its ``cookiecutter.json``."""
    dont_write_bytecode = sys.dont_write_bytecode
    sys.path.append(str(folder))
    sys.dont_write_bytecode = True  # the folder belongs to somebody else
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = dont_write_bytecode


@contextmanager
def use_temporary_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` the temporary folder: cookiecutter leaves rendered hooks there."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder.resolve())
    try:
        yield
    finally:
        tempfile.tempdir = before
