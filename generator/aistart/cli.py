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
    quiet_option,
    verbose_option,
)
from aistart.cli_profile import profile

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SHELLS = ("bash", "zsh", "fish")


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="aistart")
@verbose_option
@quiet_option
@click.pass_context
def main(context: click.Context) -> None:
    """Starter projects for deep learning that work on their first run."""
    if os.environ.get("NO_COLOR"):
        context.color = False


main.add_command(new)
main.add_command(profile)


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@verbose_option
def list_templates(as_json: bool) -> None:
    """List the templates."""
    from aistart.catalog import find_templates
    from aistart.layout import is_narrow, wrap

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
        click.echo(wrap(template.summary, 4 if is_narrow() else width + 2))


@main.command()
@click.argument("template", shell_complete=completion.complete_templates)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@foreign_template_options
@verbose_option
def show(
    template: str, as_json: bool, checkout: str | None, directory: str | None, trust: bool
) -> None:
    """Show the questions, models, data sources, features and files of TEMPLATE."""
    from aistart import describe
    from aistart.answers import resolve_defaults, select_features
    from aistart.project import Request, preview

    with open_trusted_source(template, checkout, directory, trust=trust) as source:
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
@verbose_option
def doctor(project: Path | None, as_json: bool) -> None:
    """Check this machine, and PROJECT with its environment.

    PROJECT defaults to the project that the current folder is in. Each line is ok, a warning or a
    problem, with a command that fixes it. To learn what the framework sees, PROJECT's own Python is
    started, which takes some seconds.
    """
    from aistart.doctor import examine, print_report

    sys.exit(print_report(examine(project), as_json))


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
