"""``aistart profile``: shows and changes the defaults of a person or a team."""

from pathlib import Path

import click

from aistart import completion


@click.group()
@click.option(
    "--profile",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Use this file instead of that of AISTART_PROFILE or your own.",
)
@click.pass_context
def profile(context: click.Context, file: Path | None) -> None:
    """Show and change the defaults of a person or a team.

    A profile has defaults for the author, the organisation, the licence, the Python version, the
    MLflow server, and which features are on.

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
    """Show all values and the path of the file."""
    from aistart.profile import FEATURES_TABLE, list_keys, read

    content = read(settings["file"])
    click.echo(f"{content.path}{'' if content.path.is_file() else ' (does not exist yet)'}")
    for key, value in content.answers.items():
        click.echo(f"  {key} = {value}")
    for name, is_on in content.features.items():
        is_known = f"{FEATURES_TABLE}.{name}" in list_keys()
        note = "" if is_known else "  (only for your own templates: no built-in template has it)"
        click.echo(f"  {FEATURES_TABLE}.{name} = {'on' if is_on else 'off'}{note}")


@profile.command("set")
@click.argument("key", shell_complete=completion.complete_profile_keys)
@click.argument("value", shell_complete=completion.complete_profile_values)
@click.pass_obj
def set_value(settings: dict[str, Path | None], key: str, value: str) -> None:
    """Set KEY to VALUE. KEY is a question, or features.NAME with the VALUE on or off."""
    from aistart.profile import set_value as set_profile_value

    set_profile_value(key, value, settings["file"])


@profile.command()
@click.argument("key", shell_complete=completion.complete_profile_keys)
@click.pass_obj
def unset(settings: dict[str, Path | None], key: str) -> None:
    """Remove KEY from the profile."""
    from aistart.profile import remove_value

    remove_value(key, settings["file"])


@profile.command()
@click.pass_obj
def path(settings: dict[str, Path | None]) -> None:
    """Print the path of the profile's file."""
    from aistart.profile import profile_path

    click.echo(profile_path(settings["file"]))
