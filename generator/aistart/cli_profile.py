"""``aistart profile``: the defaults of a person or a team."""

from pathlib import Path

import click

from aistart import completion


@click.group()
@click.option(
    "--profile",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="This file instead of AISTART_PROFILE or your own.",
)
@click.pass_context
def profile(context: click.Context, file: Path | None) -> None:
    """Show and change the defaults of a person or a team.

    They are the author, the organisation, the licence, the Python version, the MLflow server, and
    which features are on.

    \b
    Examples:
      aistart profile set author "Ada Lovelace"
      aistart profile set features.kubernetes on
      AISTART_PROFILE=team/profile.toml aistart new vision-classifier
    """
    context.obj = {**context.obj, "file": file}


@profile.command()
@click.pass_obj
def show(settings: dict[str, Path | None]) -> None:
    """Show all values, and the file that they are in."""
    from aistart.profile import FEATURES, keys, read

    found = read(settings["file"])
    click.echo(f"{found.path}{'' if found.path.is_file() else ' (not there yet)'}")
    for key, value in found.answers.items():
        click.echo(f"  {key} = {value}")
    for name, is_on in found.features.items():
        known = f"{FEATURES}.{name}" in keys()
        note = "" if known else "  (for templates of your own: none of aistart's has it)"
        click.echo(f"  {FEATURES}.{name} = {'on' if is_on else 'off'}{note}")


@profile.command("set")
@click.argument("key", shell_complete=completion.profile_keys)
@click.argument("value", shell_complete=completion.profile_values)
@click.pass_obj
def set_value(settings: dict[str, Path | None], key: str, value: str) -> None:
    """Set KEY to VALUE; KEY is a question or features.NAME, which is on or off."""
    from aistart.profile import put

    put(key, value, settings["file"])


@profile.command()
@click.argument("key", shell_complete=completion.profile_keys)
@click.pass_obj
def unset(settings: dict[str, Path | None], key: str) -> None:
    """Take KEY out of the profile."""
    from aistart.profile import remove

    remove(key, settings["file"])


@profile.command()
@click.pass_obj
def path(settings: dict[str, Path | None]) -> None:
    """Print the profile's file."""
    from aistart.profile import place

    click.echo(place(settings["file"]))
