"""Options that several commands share, and what follows from them: output, and trust."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from aistart import completion
from aistart.errors import AistartError

if TYPE_CHECKING:
    from aistart.profile import TeamTemplate
    from aistart.prompts import Terminal
    from aistart.sources import Source


def _set_verbosity(context: click.Context, parameter: click.Parameter, verbose: bool) -> None:
    if context.parent is None:
        AistartError.shows_traceback = False
    if verbose:
        import logging

        AistartError.shows_traceback = True
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s", stream=sys.stderr)


def _set_quiet(context: click.Context, parameter: click.Parameter, quiet: bool) -> None:
    context.ensure_object(dict)
    context.obj["quiet"] = quiet or context.obj.get("quiet", False)


# Both are options of the group and of its commands, so that either order works.
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set_verbosity,
    help="Print each step, and tracebacks of errors.",
)
quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set_quiet,
    help="Print only errors and requested output.",
)


profile_option = click.option(
    "--profile",
    "named_profile",
    metavar="FILE|URL",
    shell_complete=completion.complete_files,
    help="Use this profile instead of your own and your team's.",
)


def foreign_template_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for templates that do not come with aistart to a command."""
    for option in (
        click.option("--trust", is_flag=True, help="Run the code of a foreign template."),
        click.option(
            "--directory", metavar="FOLDER", help="Folder of the template within TEMPLATE."
        ),
        click.option(
            "--checkout", metavar="REVISION", help="Branch, tag or commit of a repository."
        ),
    ):
        command = option(command)
    return command


trust_always_option = click.option(
    "--trust-always", is_flag=True, help="Trust this version of the template from now on."
)


def find_terminal() -> "Terminal | None":
    """Return the terminal at which a person sees questions and answers them, if there is one."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        return None
    from aistart.prompts import Terminal

    return Terminal()


@contextmanager
def open_trusted_source(
    reference: str,
    checkout: str | None = None,
    directory: str | None = None,
    terminal: "Terminal | None" = None,
    *,
    trust: bool,
    remember: bool = False,
    choose_subtemplate: bool = False,
    catalogue: "Mapping[str, TeamTemplate] | None" = None,
) -> "Iterator[Source]":
    """Find a template, and run its ``pre_prompt`` hook, if its code may run.

    Args:
        reference: a built-in name, a folder or the address of a repository.
        checkout: branch, tag or commit of a repository.
        directory: the template's folder within the folder or repository.
        terminal: asks a person for trust and choices; None: nobody is asked.
        trust: whether a foreign template may run this time.
        remember: whether it may run from now on.
        choose_subtemplate: whether to go on to one of a plain template's nested templates: the
            person chooses, or it is the first, as in cookiecutter.
        catalogue: templates of the profile, by name.

    Yields:
        the source; its files exist until the end of the context.

    Raises:
        UsageProblem: there is no such template, or nobody trusts it.
        AistartError: git or a hook fails.
    """
    from dataclasses import replace

    from aistart.catalog import load_subtemplate
    from aistart.render import run_pre_prompt_hook
    from aistart.sources import open_source

    with (
        open_source(reference, checkout, directory, catalogue or {}) as source,
        ExitStack() as hooks,
    ):
        _require_trust(source, terminal, trust=trust, remember=remember)
        template = hooks.enter_context(run_pre_prompt_hook(source.template))
        while choose_subtemplate and (titles := template.own_layer.subtemplates):
            name = terminal.ask_template(titles) if terminal else next(iter(titles))
            template = hooks.enter_context(run_pre_prompt_hook(load_subtemplate(template, name)))
        yield replace(source, template=template)


def _require_trust(
    source: "Source", terminal: "Terminal | None", *, trust: bool, remember: bool
) -> None:
    """Show what a foreign template would run, and raise UsageProblem unless it may."""
    from aistart import trust as trusted_versions

    if trusted_versions.is_trusted(source):
        return
    reference = source.template.reference
    if not ((trust or remember) and click.get_current_context().obj["quiet"]):
        click.echo(f"{reference}, version {source.version[:12]}, runs:", err=True)
        for line in trusted_versions.list_code(source):
            click.echo(f"  {line}", err=True)
    if terminal and not (trust or remember):
        answer = terminal.ask_trust(reference)
        trust, remember = answer != "no", answer == "always"
    if remember:
        trusted_versions.remember(source)
    elif not trust:
        raise trusted_versions.trust_required_error(source)
