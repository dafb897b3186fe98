"""The command line: words in, one call of the library, words out."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aistart import __version__
from aistart.errors import UsageProblem

if TYPE_CHECKING:
    from aistart.answers import Question


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aistart")
def main() -> None:
    """Starter projects for deep learning that work on their first run."""


@main.command(
    epilog="Examples: `aistart new vision-classifier my-app`, "
    "`aistart new vision-classifier -y --set license=MIT`."
)
@click.argument("template")
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
    help="Answer a question, e.g. license=MIT. Can be repeated.",
)
@click.option("-y", "--defaults", is_flag=True, help="Ask nothing: defaults for what is not set.")
def new(
    template: str, name: str | None, output_dir: Path, settings: tuple[str, ...], defaults: bool
) -> None:
    """Make a new project from TEMPLATE, called NAME."""
    from aistart.answers import resolve
    from aistart.catalog import find_template
    from aistart.project import Request, create

    chosen = find_template(template)
    given = _parse_settings(settings)
    if name is not None:
        if "project_name" in given:
            raise UsageProblem("project_name: given twice, as NAME and with --set.")
        given["project_name"] = name
    ask = None if defaults or not sys.stdin.isatty() else _ask
    target = create(Request(chosen, resolve(chosen, given, ask), output_dir))
    click.echo(f"Made {target} ({chosen.title}).\n\nNext:")
    click.echo(f"  cd {shlex.quote(str(target))}\n  make setup\n  make train")


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def list_templates(as_json: bool) -> None:
    """List the templates."""
    from aistart.catalog import find_templates

    templates = find_templates().values()
    if as_json:
        import json

        keys = ("name", "title", "summary", "domain")
        listed = [{key: getattr(template, key) for key in keys} for template in templates]
        click.echo(json.dumps(listed, indent=2))
        return
    width = max(len(template.name) for template in templates)
    for template in templates:
        click.echo(f"{template.name:<{width}}  {template.domain:<8}  {template.summary}")


def _parse_settings(settings: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageProblem(f"--set: {setting!r} is not of the form KEY=VALUE.")
        given[key] = value
    return given


def _ask(question: "Question", problem: Callable[[str], str | None]) -> str:
    def checked(value: str) -> str:
        if found := problem(value):
            raise click.UsageError(f"{value!r} {found}.")
        return value

    if question.choices:
        choice = click.Choice(question.choices)
        return str(click.prompt(question.prompt, type=choice, default=question.default))
    shown = bool(question.default)
    default = question.default
    return str(click.prompt(question.prompt, default, value_proc=checked, show_default=shown))
