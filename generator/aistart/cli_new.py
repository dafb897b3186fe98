"""``aistart new``: from the words of the command line to a project."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aistart import completion
from aistart.cli_options import (
    find_terminal,
    foreign_template_options,
    open_trusted_source,
    profile_option,
    quiet_option,
    trust_always_option,
    verbose_option,
)
from aistart.errors import UsageProblem

if TYPE_CHECKING:
    from aistart.profile import Profile
    from aistart.project import Request
    from aistart.prompts import Terminal


@click.command(
    epilog="""\b
Examples:
  aistart new vision-classifier my-app              asks on a terminal
  aistart new recommender shop -y --set license=MIT asks nothing
  aistart new text-classifier tickets --minimal --with ci
  aistart new medical-diagnosis risk --dry-run      lists the files only
  aistart new vision-classifier b -y --answers a    reuses the answers of project a
  aistart new gh:your-team/templates app --directory vision --trust
"""
)
@click.argument("template", required=False, shell_complete=completion.complete_templates)
@click.argument("name", required=False)
@click.option(
    "-o",
    "--output-dir",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder in which to make the project's folder.  [default: the current folder]",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completion.complete_settings,
    help="Answer a question, e.g. license=MIT. Can be repeated.",
)
@click.option(
    "--answers",
    "answers_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answers from a TOML or YAML file, or from the folder of an existing project.",
)
@profile_option
@click.option(
    "-y",
    "--defaults",
    is_flag=True,
    help="Ask nothing: use the default of each question that is not set.",
)
@click.option(
    "--with",
    "include",
    metavar="FEATURE",
    multiple=True,
    shell_complete=completion.complete_features,
    help="Add a feature. Can be repeated.",
)
@click.option(
    "--without",
    "exclude",
    metavar="FEATURE",
    multiple=True,
    shell_complete=completion.complete_features,
    help="Leave a feature out. Can be repeated.",
)
@click.option("--minimal", is_flag=True, help="Leave out all features but those of --with.")
@click.option("--dry-run", is_flag=True, help="List the files that would be made, and stop.")
@click.option("--no-git", is_flag=True, help="Do not make a git repository.")
@foreign_template_options
@trust_always_option
@verbose_option
@quiet_option
@click.pass_context
def new(
    context: click.Context,
    template: str | None,
    name: str | None,
    output_dir: Path,
    settings: tuple[str, ...],
    answers_path: Path | None,
    named_profile: str | None,
    defaults: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    minimal: bool,
    dry_run: bool,
    no_git: bool,
    checkout: str | None,
    directory: str | None,
    trust: bool,
    trust_always: bool,
) -> None:
    """Make a new project from TEMPLATE, called NAME.

    TEMPLATE is a name from `aistart list`, a folder, or a git repository: a URL or
    gh:owner/repository. Without TEMPLATE, you choose from the list on a terminal. Defaults, and the
    features that a project must have, come from your profile and your team's: `aistart profile`.
    """
    from aistart import answers_file, describe
    from aistart import profile as profiles
    from aistart.answers import resolve, select_features
    from aistart.project import Request, check_output_dir, check_target, create, preview

    terminal = None if defaults else find_terminal()
    profile = profiles.read(named_profile)
    with open_trusted_source(
        template or _choose_template(terminal, profile),
        checkout,
        directory,
        terminal,
        trust=trust,
        remember=trust_always,
        choose_subtemplate=True,
        catalogue=profile.templates,
    ) as source:
        chosen = source.template
        file = answers_file.read(answers_path) if answers_path else answers_file.AnswersFile()
        given = answers_file.merge_answers(file, chosen, settings, name)
        selection = answers_file.merge_features(file, include, exclude, minimal=minimal)
        # Report errors in what is given before the first question is asked.
        check_output_dir(output_dir)
        features = select_features(chosen, selection, profile=profile)

        def ask_features() -> None:
            features[:] = select_features(chosen, selection, terminal, profile)

        def check_folder(folder: str) -> None:
            check_target(output_dir / folder)

        answers = resolve(chosen, given, terminal, profile, ask_features, check_folder)
        request = Request(chosen, answers, output_dir, tuple(features), repository=not no_git)
        if dry_run:
            check_target(request.target)
            click.echo(f"{request.target}\n{describe.format_tree(request, preview(request))}")
            return
        target = create(request, source)
    if not context.obj["quiet"]:
        command = describe.command_to_repeat(request, profile, named_profile, source.commit)
        _print_result(request, profile, target, command)


def _choose_template(terminal: "Terminal | None", profile: "Profile") -> str:
    from aistart.catalog import find_templates

    if terminal is None:
        raise UsageProblem("TEMPLATE: it is missing; `aistart list` shows what there is.")
    titles = {t.name: t.title for t in find_templates().values()}
    of_team = {t.name: f"{t.name} ({t.summary or t.place})" for t in profile.templates.values()}
    return terminal.ask_template({**titles, **of_team})


def _print_result(request: "Request", profile: "Profile", target: Path, command: str) -> None:
    """Print what was made, what to type next, and the command that makes the same again."""
    from aistart import describe
    from aistart.layout import is_narrow, wrap

    template = request.template
    features = f", with {', '.join(request.features)}" if request.features else ""
    lines = [f"Made {target} ({template.title or template.name}{features})."]
    for layer in profile.layers:
        if keys := describe.list_profile_keys(profile, layer, request):
            lines.append(f"From the profile {layer.place}: {', '.join(keys)}.")
    for line in lines:
        click.echo(wrap(line) if is_narrow() else line)
    # Commands are never wrapped, so that they can be copied.
    steps = "\n".join(f"  {step}" for step in describe.next_steps(target))
    click.echo(f"\nNext:\n{steps}\n\nThe same again, without questions:\n  {command}")
