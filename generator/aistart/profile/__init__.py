"""The profile: defaults of a person and of a team.

A person's own profile lies over the team's that ``aistart profile use`` put in use: the person's
values win, but features that either requires cannot be left out. A profile that is named, with
``--profile`` or ``AISTART_PROFILE``, is in force instead of both.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aistart.errors import UsageProblem
from aistart.profile import team
from aistart.profile.content import (
    FEATURES_TABLE,
    MACHINE_TABLE,
    REQUIRED_KEY,
    TEMPLATES_TABLE,
    Content,
    MachineNeeds,
    TeamTemplate,
    check_values,
    list_features,
    list_keys,
    parse,
)
from aistart.profile.reference import Reference, fetch, parse_reference, read_file
from aistart.user_config import PROFILE, PROFILE_VARIABLE, config_path

__all__ = [
    "FEATURES_TABLE",
    "MACHINE_TABLE",
    "REQUIRED_KEY",
    "TEMPLATES_TABLE",
    "MachineNeeds",
    "Profile",
    "ProfileLayer",
    "TeamTemplate",
    "list_features",
    "list_keys",
    "load",
    "profile_path",
    "read",
]


@dataclass(frozen=True)
class ProfileLayer:
    """One profile of those in force.

    Attributes:
        place: its path or URL.
        content: its values.
        in_use: how it came into use, if it is the team's.
    """

    place: str
    content: Content
    in_use: team.TeamProfile | None = None

    @property
    def label(self) -> str:
        """How prompts mark its values."""
        return "from the team's profile" if self.in_use else "from the profile"


@dataclass(frozen=True)
class Profile:
    """The profiles in force together; values of earlier layers win."""

    layers: tuple[ProfileLayer, ...] = ()

    @property
    def answers(self) -> dict[str, str]:
        """The default answers, by question."""
        return {k: v for layer in reversed(self.layers) for k, v in layer.content.answers.items()}

    @property
    def features(self) -> dict[str, bool]:
        """Whether each feature is on by default, by name."""
        return {k: v for layer in reversed(self.layers) for k, v in layer.content.features.items()}

    @property
    def required(self) -> dict[str, str]:
        """The features that cannot be left out, each with the place of the profile that says so."""
        return {name: layer.place for layer in self.layers for name in layer.content.required}

    @property
    def templates(self) -> dict[str, TeamTemplate]:
        """The catalogue of templates, by name."""
        layers = reversed(self.layers)
        return {name: t for layer in layers for name, t in layer.content.templates.items()}

    def check_optional(self, names: Iterable[str]) -> None:
        """Raise UsageProblem if one of these features cannot be left out."""
        required = self.required
        for name in sorted(required.keys() & set(names)):
            raise UsageProblem(
                f"feature: {name!r} cannot be left out: the profile {required[name]} requires it."
            )

    def find_layer(self, key: str) -> ProfileLayer | None:
        """Return the profile whose answer to a question is in force, if one has an answer."""
        return next((layer for layer in self.layers if key in layer.content.answers), None)


def profile_path(named: str | None = None) -> Path:
    """Return the path of the profile that can be changed: the one that is named, else the user's.

    Args:
        named: the value of ``--profile``; None: that of ``AISTART_PROFILE``.

    Raises:
        UsageProblem: it is at a URL or in a repository.
    """
    named = named or os.environ.get(PROFILE_VARIABLE)
    if not named:
        return config_path(PROFILE)
    reference = parse_reference(named)
    if reference.is_remote:
        raise UsageProblem(f"profile: {reference.address!r} is not a file of this machine.")
    return Path(reference.address)


def read(named: str | None = None, *, offline: bool = False) -> Profile:
    """Read and check the profiles in force.

    Args:
        named: the value of ``--profile``, in force instead of all others; None: that of
            ``AISTART_PROFILE``, else the user's own and the team's in use.
        offline: whether to refuse a profile that must be fetched.

    Raises:
        UsageProblem: a profile that was named is missing, none was signed off with this content,
            or one holds something that is not allowed.
        AistartError: a URL cannot be reached.
    """
    if named := named or os.environ.get(PROFILE_VARIABLE):
        return Profile((_read_named(parse_reference(named), offline),))
    path = config_path(PROFILE)
    content = load(read_file(path, str(path)), Reference(str(path))) if path.is_file() else None
    own = ProfileLayer(str(path), content or Content())
    in_use = team.find()
    if in_use is None:
        return Profile((own,))
    content = load(in_use.read(), in_use.reference)
    return Profile((own, ProfileLayer(in_use.address, content, in_use)))


def load(data: bytes, reference: Reference) -> Content:
    """Parse and check the content of a profile.

    Args:
        data: the content.
        reference: where it is.

    Raises:
        UsageProblem: it holds something that is not allowed.
    """
    folder = None if reference.is_remote else Path(reference.address).absolute().parent
    content = parse(data, reference.address, folder)
    check_values(content, reference.address)
    return content


def _read_named(reference: Reference, offline: bool) -> ProfileLayer:
    """Read a profile that was named: what others can change must have been signed off."""
    in_use = None
    if not reference.is_remote:
        data = fetch(reference)
    elif reference.sha256:
        copy = team.find_copy(reference.sha256)
        if copy is None and offline:
            raise UsageProblem(f"profile: {reference.address!r} is not kept on this machine.")
        data = fetch(reference) if copy is None else copy
    else:
        in_use = team.find()
        if in_use is None or in_use.address != reference.address:
            raise UsageProblem(
                f"profile: {reference.address!r} is not signed off; use `aistart profile use`, or "
                "add #sha256=HASH to it."
            )
        data = in_use.read()
    return ProfileLayer(reference.address, load(data, reference), in_use)
