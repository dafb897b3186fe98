"""The command line: each command parses its words and calls the library."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from aistart import __version__, completion
from aistart.cli_new import new
from aistart.cli_options import (
    foreign_template_options,
    open_trusted_source,
    profile_option,
    quiet_option,
    verbose_option,
)
from aistart.cli_profile import profile
from aistart.cli_update import add, remove, show_differences, status, update

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SHELLS = ("bash", "zsh", "fish")


def _print_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from aistart.update.changelog import hash_templates, read_releases

    release = read_releases()[0]
    click.echo(f"aistart {__version__}")
    click.echo(f"templates {release.version} ({release.date}), content {hash_templates()}")
    context.exit()


@click.group(context_settings=CONTEXT)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of aistart and of its templates.",
)
@verbose_option
@quiet_option
@click.pass_context
def main(context: click.Context) -> None:
    """Starter projects for deep learning that work on their first run."""
    if os.environ.get("NO_COLOR"):
        context.color = False


main.add_command(new)
for command in (update, add, remove, show_differences, status):
    main.add_command(command)
main.add_command(profile)


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@profile_option
@verbose_option
def list_templates(as_json: bool, named_profile: str | None) -> None:
    """List the templates: those of aistart, and those of your team's profile."""
    from aistart import listing
    from aistart.catalog import find_templates
    from aistart.user_config import has_profile

    templates = [*find_templates().values()]
    of_team = listing.read_catalogue(named_profile) if named_profile or has_profile() else []
    if as_json:
        _print_json(listing.list_as_objects(templates, of_team))
    else:
        click.echo(listing.list_as_text(templates, of_team))


@main.command()
@click.argument("template", shell_complete=completion.complete_templates)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@foreign_template_options
@profile_option
@verbose_option
def show(
    template: str,
    as_json: bool,
    checkout: str | None,
    directory: str | None,
    trust: bool,
    named_profile: str | None,
) -> None:
    """Show the questions, models, data sources, features and files of TEMPLATE."""
    from aistart import describe
    from aistart.answers import resolve_defaults, select_features
    from aistart.profile import read
    from aistart.project import Request, preview

    catalogue = read(named_profile).templates
    with open_trusted_source(
        template, checkout, directory, trust=trust, catalogue=catalogue
    ) as source:
        defaults = resolve_defaults(source.template)
        features = tuple(select_features(source.template))
        request = Request(source.template, defaults, features=features)
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
    help="Python that has the projects' dependencies and pytest.  [default: a new environment]",
)
@click.option("--trust", is_flag=True, help="Run the template's code, which rendering it does.")
@verbose_option
def test_template(path: Path, python: str | None, trust: bool) -> None:
    """Test the template in the folder PATH.

    It is rendered with its defaults, with each other choice and with each feature switched, each
    time into a temporary folder, and the tests of the resulting project are run.
    """
    from aistart.template_tests import run_all

    with open_trusted_source(str(path), trust=trust) as source:
        passed = True
        for result in run_all(source.template, python):
            click.echo(f"{'passed' if result.passed else 'FAILED':<7} {result.name}")
            if not result.passed:
                click.echo(result.output, err=True)
                passed = False
    sys.exit(0 if passed else 1)


@main.command(
    epilog="Exit code: 0 all is ok, 1 there is a problem, 2 wrong use, 3 there are warnings only."
)
@click.argument("project", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@click.option(
    "--team",
    metavar="FILE|URL",
    shell_complete=completion.complete_files,
    help="Check what this profile needs as well.  [default: that of `aistart profile use`]",
)
@verbose_option
def doctor(project: Path | None, as_json: bool, team: str | None) -> None:
    """Check this machine, and PROJECT with its environment.

    PROJECT defaults to the project that the current folder is in. Each line is ok, a warning or a
    problem, with a command that fixes it. To learn what the framework sees, PROJECT's own Python is
    started, which takes some seconds.
    """
    from aistart.doctor import examine, print_report

    sys.exit(print_report(examine(project, team), as_json))


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

    completion_class = get_completion_class(shell)
    assert completion_class is not None, "SHELLS holds only shells that click supports"
    click.echo(completion_class(main, {}, "aistart", "_AISTART_COMPLETE").source())


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2))
