"""``aistart profile``: the defaults of a person, and the profile of a team."""

import os
import sys
from typing import TYPE_CHECKING

import click

from aistart import completion
from aistart.cli_options import profile_option, quiet_option
from aistart.errors import UsageProblem

if TYPE_CHECKING:
    from aistart.profile.reference import Reference
    from aistart.profile.team import TeamProfile

trust_option = click.option(
    "--trust", is_flag=True, help="Sign it off without a question, for scripts."
)


@click.group(
    epilog="""\b
A team's file, in which everything is optional:
  license = "MIT"
  tracking_uri = "http://mlflow:5000"

\b
  [features]
  docker = false
  required = ["report", "ci"]

\b
  [templates.forecaster]
  source = "gh:our-team/templates"
  directory = "forecaster"
  checkout = "v3"
  summary = "Demand of the next weeks."

\b
  [machine]
  aistart = ">=0.2"
  python = ">=3.12"
  driver = "570"
  gpu_memory_gib = 24
  memory_gib = 32
  disk_gb = 50
"""
)
@profile_option
@click.pass_context
def profile(context: click.Context, named_profile: str | None) -> None:
    """Show and change the defaults of a person or a team.

    A profile has defaults for the author, the organisation, the licence, the Python version, the
    MLflow server, and which features are on. That of a team can also require features, name
    templates, and say what machines must have. Your own values win over the team's; required
    features cannot be left out.

    \b
    Examples:
      aistart profile set author "Ada Lovelace"
      aistart profile set features.kubernetes on
      aistart profile use https://example.com/team/profile.toml
      aistart profile use gh:our-team/config//profile.toml
      AISTART_PROFILE=team/profile.toml aistart new vision-classifier
    """
    context.obj = {**context.obj, "named": named_profile}


@profile.command()
@click.pass_obj
def show(settings: dict[str, str | None]) -> None:
    """Show all values, and the file or URL that each comes from.

    A profile at a URL that --profile names is fetched and shown, whether it is signed off or not.
    """
    from aistart.profile import Profile, ProfileLayer, load, read
    from aistart.profile.describe import describe_profile
    from aistart.profile.reference import fetch, parse_reference

    named = settings["named"]
    if named and (reference := parse_reference(named)).is_remote:
        content = load(fetch(reference), reference)
        profile = Profile((ProfileLayer(reference.address, content),))
    else:
        profile = read(named)
    click.echo(describe_profile(profile))


@profile.command("set")
@click.argument("key", shell_complete=completion.complete_profile_keys)
@click.argument("value", shell_complete=completion.complete_profile_values)
@click.pass_obj
def set_value(settings: dict[str, str | None], key: str, value: str) -> None:
    """Set KEY to VALUE. KEY is a question, or features.NAME with the VALUE on or off."""
    from aistart.profile.edit import set_value as set_profile_value

    set_profile_value(key, value, settings["named"])


@profile.command()
@click.argument("key", shell_complete=completion.complete_profile_keys)
@click.pass_obj
def unset(settings: dict[str, str | None], key: str) -> None:
    """Remove KEY from the profile."""
    from aistart.profile.edit import remove_value

    remove_value(key, settings["named"])


@profile.command()
@click.pass_obj
def path(settings: dict[str, str | None]) -> None:
    """Print the path of the profile's file."""
    from aistart.profile import profile_path

    click.echo(profile_path(settings["named"]))


# === The team's ===


@profile.command()
@click.argument("reference", metavar="FILE|URL", shell_complete=completion.complete_files)
@trust_option
@quiet_option
@click.pass_obj
def use(settings: dict[str, str | None], reference: str, trust: bool) -> None:
    """Use the profile of your team from now on, below your own.

    It is a file, an https URL, or a file in a git repository: gh:team/config//profile.toml. From a
    URL or a repository, a copy is kept, signed off by its SHA-256, and nothing changes for you
    until `aistart profile update`. A URL that ends with #sha256=HASH is signed off by that.
    """
    from aistart.profile import Profile, ProfileLayer, load, team
    from aistart.profile.describe import describe_profile
    from aistart.profile.reference import fetch, parse_reference
    from aistart.user_config import PROFILE_VARIABLE

    parsed = parse_reference(reference)
    data = fetch(parsed)
    layer = ProfileLayer(parsed.address, load(data, parsed))
    if not settings["quiet"]:
        click.echo(describe_profile(Profile((layer,))))
    if parsed.is_remote and not parsed.sha256:
        _require_signature(parsed, data, trust)
    in_use = team.sign_off(parsed, data)
    if not settings["quiet"]:
        click.echo(f"\nIn use: {in_use.address}\nNext: {_doctor_command(parsed)}")
        if os.environ.get(PROFILE_VARIABLE):
            click.echo(f"But {PROFILE_VARIABLE} is set, and its profile is used instead.", err=True)


@profile.command()
@trust_option
@quiet_option
@click.pass_obj
def update(settings: dict[str, str | None], trust: bool) -> None:
    """Fetch the team's profile again, show what changed, and sign it off."""
    from aistart.profile import load, team
    from aistart.profile.describe import diff_profiles
    from aistart.profile.reference import fetch, sha256_of

    in_use = _require_team()
    if in_use.sha256 is None:
        click.echo(f"{in_use.address} is a file of this machine: it is read each time.")
        return
    data = fetch(in_use.reference)
    load(data, in_use.reference)
    if sha256_of(data) == in_use.sha256:
        team.sign_off(in_use.reference, data)  # restores a copy that was edited
        if not settings["quiet"]:
            click.echo(f"{in_use.address} is unchanged.")
        return
    if not (settings["quiet"] and trust):
        click.echo(diff_profiles(team.find_copy(in_use.sha256) or b"", data))
    _require_signature(in_use.reference, data, trust)
    team.sign_off(in_use.reference, data)
    if not settings["quiet"]:
        click.echo(f"\nIn use: {in_use.address}")


@profile.command()
@quiet_option
@click.pass_obj
def leave(settings: dict[str, str | None]) -> None:
    """Stop using the team's profile."""
    from aistart.profile import team

    in_use = _require_team()
    team.leave()
    if not settings["quiet"]:
        click.echo(f"No longer in use: {in_use.address}")


def _require_team() -> "TeamProfile":
    from aistart.profile import team

    in_use = team.find()
    if in_use is None:
        raise UsageProblem("profile: no team's profile is in use; `aistart profile use` does that.")
    return in_use


def _require_signature(reference: "Reference", data: bytes, trust: bool) -> None:
    """Ask a person at a terminal to sign a profile off; raise UsageProblem unless it is."""
    from aistart.profile.reference import sha256_of

    if trust:
        return
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise UsageProblem(
            f"profile: {reference.address!r} is not signed off; look at it, then use --trust, or "
            f"`aistart profile use` with #sha256={sha256_of(data)} at its end."
        )
    if not click.confirm(f"\nSHA-256 {sha256_of(data)}\nUse it?"):
        raise UsageProblem(f"profile: {reference.address!r} is not signed off; nothing changed.")


def _doctor_command(reference: "Reference") -> str:
    from aistart.shell import join_command

    return join_command("aistart", "doctor", "--team", reference.address)
