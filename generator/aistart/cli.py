"""The command line: words in, one call of the library, words out."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aistart import __version__, completion
from aistart.cli_profile import profile
from aistart.errors import AistartError, UsageProblem

if TYPE_CHECKING:
    from aistart.prompts import Terminal
    from aistart.sources import Source

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SHELLS = ("bash", "zsh", "fish")


def _be_verbose(context: click.Context, parameter: click.Parameter, verbose: bool) -> None:
    if context.parent is None:
        AistartError.shows_traceback = False
    if verbose:
        import logging

        AistartError.shows_traceback = True
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s", stream=sys.stderr)


def _be_quiet(context: click.Context, parameter: click.Parameter, quiet: bool) -> None:
    context.ensure_object(dict)
    context.obj["quiet"] = quiet or context.obj.get("quiet", False)


# Before the command or behind it, as one types them.
says_more = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_be_verbose,
    help="Say what is done, and show tracebacks.",
)
says_less = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_be_quiet,
    help="Say nothing but errors and what was asked for.",
)


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="aistart")
@says_more
@says_less
@click.pass_context
def main(context: click.Context) -> None:
    """Starter projects for deep learning that work on their first run."""
    if os.environ.get("NO_COLOR"):
        context.color = False


main.add_command(profile)


def of_another(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that templates of others need."""
    for option in (
        click.option("--trust", is_flag=True, help="Run the code of another's template."),
        click.option("--directory", metavar="FOLDER", help="The template's folder in there."),
        click.option(
            "--checkout", metavar="REVISION", help="Branch, tag or commit of a repository."
        ),
    ):
        command = option(command)
    return command


@main.command(
    epilog="""\b
Examples:
  aistart new vision-classifier my-app              asks on a terminal
  aistart new recommender shop -y --set license=MIT asks nothing
  aistart new text-classifier tickets --minimal --with ci
  aistart new medical-diagnosis risk --dry-run      shows what would come out
  aistart new vision-classifier b -y --answers a    the answers of project a
  aistart new gh:your-team/templates app --directory vision --trust
"""
)
@click.argument("template", required=False, shell_complete=completion.templates)
@click.argument("name", required=False)
@click.option(
    "-o",
    "--output-dir",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder in which the project's folder is made.  [default: this folder]",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completion.settings,
    help="Answer a question, e.g. license=MIT. Can be repeated.",
)
@click.option(
    "--answers",
    "answers_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answers from a TOML or YAML file, or from the folder of an existing project.",
)
@click.option(
    "--profile",
    "profile_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Defaults from this profile instead of your own.",
)
@click.option("-y", "--defaults", is_flag=True, help="Ask nothing: defaults for what is not set.")
@click.option(
    "--with",
    "wanted",
    metavar="FEATURE",
    multiple=True,
    shell_complete=completion.features,
    help="Add a feature. Can be repeated.",
)
@click.option(
    "--without",
    "unwanted",
    metavar="FEATURE",
    multiple=True,
    shell_complete=completion.features,
    help="Leave a feature out. Can be repeated.",
)
@click.option("--minimal", is_flag=True, help="No features but those of --with.")
@click.option("--dry-run", is_flag=True, help="Show the files that would be made, and stop.")
@click.option("--no-git", is_flag=True, help="Make no git repository.")
@of_another
@click.option("--trust-always", is_flag=True, help="And next time too, of this version of it.")
@says_more
@says_less
@click.pass_context
def new(
    context: click.Context,
    template: str | None,
    name: str | None,
    output_dir: Path,
    settings: tuple[str, ...],
    answers_file: Path | None,
    profile_file: Path | None,
    defaults: bool,
    wanted: tuple[str, ...],
    unwanted: tuple[str, ...],
    minimal: bool,
    dry_run: bool,
    no_git: bool,
    checkout: str | None,
    directory: str | None,
    trust: bool,
    trust_always: bool,
) -> None:
    """Make a new project from TEMPLATE, called NAME.

    TEMPLATE is a name that `aistart list` shows, a folder, or a git repository: a URL, or
    gh:owner/repository. Without TEMPLATE a terminal offers those of the list.
    """
    from aistart import answers_file as files
    from aistart import describe
    from aistart import profile as profiles
    from aistart.answers import choose_features, resolve
    from aistart.catalog import find_templates
    from aistart.layout import is_narrow, wrapped
    from aistart.project import Request, check_free, check_output, create, preview

    ask = None if defaults or not _on_terminal() else _terminal()
    usual = profiles.read(profile_file)
    if template is None:
        if ask is None:
            raise UsageProblem("TEMPLATE: it is missing; `aistart list` shows what there is.")
        offered = find_templates().values()
        template = ask.template({each.name: each.title for each in offered})
    with _opened(
        template, checkout, directory, ask, trust=trust, always=trust_always, picks=True
    ) as source:
        chosen = source.template
        from_file = files.read(answers_file) if answers_file else files.GivenAnswers()
        given = files.merged(from_file, chosen, settings, name)
        wishes = files.features_of(from_file, wanted, unwanted, minimal=minimal)
        # What is wrong already is said before the first question.
        check_output(output_dir)
        features = choose_features(chosen, wishes, profile=usual)

        def choose() -> None:
            features[:] = choose_features(chosen, wishes, ask, usual)

        def check_folder(folder: str) -> None:
            check_free(output_dir / folder)

        answers = resolve(chosen, given, ask, usual, finish=choose, check_folder=check_folder)
        request = Request(chosen, answers, output_dir, tuple(features), repository=not no_git)
        if dry_run:
            check_free(request.target)
            click.echo(f"{request.target}\n{describe.tree(request, preview(request))}")
            return
        target = create(request)
    if context.obj["quiet"]:
        return
    taken = describe.taken_from(usual, request)
    features_said = f", with {', '.join(request.features)}" if request.features else ""
    said = [f"Made {target} ({chosen.title or chosen.name}{features_said})."]
    if taken:
        said.append(f"From the profile {usual.path}: {', '.join(taken)}.")
    for line in said:
        # The commands below are whole lines in any case: they are to be copied.
        click.echo(wrapped(line) if is_narrow() else line)
    again = describe.same_again(request, usual, profile_file, source.commit)
    steps = "\n".join(f"  {step}" for step in describe.next_steps(target, chosen))
    click.echo(f"\nNext:\n{steps}\n\nThe same again, without questions:\n  {again}")


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@says_more
def list_templates(as_json: bool) -> None:
    """List the templates."""
    from aistart.catalog import find_templates
    from aistart.layout import is_narrow, wrapped

    templates = find_templates().values()
    if as_json:
        keys = ("name", "title", "summary", "domain")
        _print_json([{key: getattr(template, key) for key in keys} for template in templates])
        return
    width = max(len(template.name) for template in templates)
    for template in templates:
        if is_narrow():
            click.echo(f"{template.name}\n  {template.title} ({template.domain})")
        else:
            click.echo(f"{template.name:<{width}}  {template.domain:<14}  {template.title}")
        click.echo(wrapped(template.summary, 4 if is_narrow() else width + 2))


@main.command()
@click.argument("template", shell_complete=completion.templates)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@of_another
@says_more
def show(
    template: str, as_json: bool, checkout: str | None, directory: str | None, trust: bool
) -> None:
    """Show what TEMPLATE asks, has and makes."""
    from aistart import describe
    from aistart.answers import choose_features, usual_answers
    from aistart.project import Request, preview

    with _opened(template, checkout, directory, trust=trust) as source:
        chosen = source.template
        features = choose_features(chosen)
        request = Request(chosen, usual_answers(chosen), features=tuple(features))
        files = preview(request)
        if as_json:
            _print_json(describe.template_as_object(request, files))
        else:
            click.echo(describe.template_as_text(request, files))


@main.command("test")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--python",
    metavar="PROGRAM",
    help="Python whose environment has what the projects need.  [default: one is made]",
)
@click.option("--trust", is_flag=True, help="Run the template's code, which this does.")
@says_more
def test_template(path: Path, python: str | None, trust: bool) -> None:
    """Test the template in the folder PATH.

    It is rendered with its defaults and with each choice, each into a temporary folder, and the
    tests of what came out are run.
    """
    from aistart.template_tests import run_all

    with _opened(str(path), trust=trust) as source:
        passed = True
        for variant in run_all(source.template, python):
            click.echo(f"{'passed' if variant.passed else 'FAILED':<7} {variant.name}")
            if not variant.passed:
                click.echo(variant.output, err=True)
                passed = False
    sys.exit(0 if passed else 1)


@main.command(
    epilog="Exit code: 0 all is ok, 1 there is a problem, 2 wrong use, 3 there are warnings only."
)
@click.argument("project", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@says_more
def doctor(project: Path | None, as_json: bool) -> None:
    """Check this machine, and PROJECT with its environment (default: the one of this folder).

    Each line says ok, warning or problem, with the command that fixes it. PROJECT's own Python is
    asked for what its framework sees, which takes some seconds.
    """
    from aistart.doctor import examine, report

    sys.exit(report(examine(project), as_json))


@main.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def print_completion(shell: str) -> None:
    """Print the script that completes words in SHELL.

    \b
    bash:  aistart completion bash >> ~/.bashrc
    zsh:   aistart completion zsh >> ~/.zshrc
    fish:  aistart completion fish > ~/.config/fish/completions/aistart.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, "the choices are those of click"
    click.echo(made(main, {}, "aistart", "_AISTART_COMPLETE").source())


def _on_terminal() -> bool:
    """Whether a person can see a question and answer it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _terminal() -> "Terminal":
    from aistart.prompts import Terminal

    return Terminal()


@contextmanager
def _opened(
    word: str,
    checkout: str | None = None,
    directory: str | None = None,
    ask: "Terminal | None" = None,
    *,
    trust: bool,
    always: bool = False,
    picks: bool = False,
) -> "Iterator[Source]":
    """What a word names, there until the end of the context, if it may run.

    Args:
        picks: whether one is picked of several that it offers: by the person who is asked, or as
            cookiecutter does, the first.
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from aistart.catalog import nested_template
    from aistart.render import after_first_hook
    from aistart.sources import open_source

    with open_source(word, checkout, directory) as source, ExitStack() as opened:
        _check_trust(source, ask, trust=trust, always=always)
        template = opened.enter_context(after_first_hook(source.template))
        while picks and (several := template.own.nested):
            name = ask.template(several) if ask else next(iter(several))
            template = opened.enter_context(after_first_hook(nested_template(template, name)))
        yield replace(source, template=template)


def _check_trust(source: "Source", ask: "Terminal | None", *, trust: bool, always: bool) -> None:
    """Go on if another's template may run, after what it would run was shown."""
    from aistart import trust as trusted

    if trusted.is_trusted(source):
        return
    if not ((trust or always) and click.get_current_context().obj["quiet"]):
        click.echo(f"{source.template.word}, version {source.version[:12]}, runs:", err=True)
        for line in trusted.what_runs(source):
            click.echo(f"  {line}", err=True)
    if ask and not (trust or always):
        answer = ask.trust(source.template.word)
        trust, always = answer != "no", answer == "always"
    if always:
        trusted.remember(source)
    elif not trust:
        raise trusted.refusal(source)


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2))
