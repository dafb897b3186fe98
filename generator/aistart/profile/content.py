"""The content of a profile: TOML parsed into values that are checked.

author = "Ada Lovelace"
tracking_uri = "http://mlflow:5000"

[features]
docker = false
required = ["report"]

[templates.forecaster]
source = "gh:our-team/templates"
directory = "forecaster"
checkout = "v3"
summary = "Demand of the next weeks, from sales."

[machine]
python = ">=3.12"
memory_gib = 16
"""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aistart import __version__, naming
from aistart.errors import (
    AistartError,
    UsageProblem,
    format_value,
    unknown_name_error,
)
from aistart.versions import is_in_range

if TYPE_CHECKING:
    from aistart.questions import Question

# Questions whose answers belong to a person or a team, not to a project.
KEYS = ("author", "organisation", "license", "python_version", "tracking_uri")
FEATURES_TABLE, TEMPLATES_TABLE, MACHINE_TABLE = "features", "templates", "machine"
REQUIRED_KEY = "required"  # in the table of features: the names of those that every project has
_TEMPLATE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_RANGE = re.compile(r"(>=|<=|==|!=|>|<) *\d+(\.\d+)*( *, *(>=|<=|==|!=|>|<) *\d+(\.\d+)*)*")
_VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class TeamTemplate:
    """A template in the catalogue of a profile.

    Attributes:
        name: what users type for it.
        source: a folder, or a git repository: a URL or ``gh:owner/repository``.
        directory: the template's folder within the source.
        checkout: branch, tag or commit of a repository.
        summary: what it is for, in a sentence.
    """

    name: str
    source: str
    directory: str | None = None
    checkout: str | None = None
    summary: str = ""

    @property
    def place(self) -> str:
        """Where it comes from, in words."""
        parts = (("", self.source), ("folder ", self.directory), ("at ", self.checkout))
        return ", ".join(f"{word}{value}" for word, value in parts if value)


@dataclass(frozen=True)
class MachineNeeds:
    """What a team's machines must have; None: anything will do.

    Attributes:
        python: versions of Python, for example ``>=3.12``.
        aistart: versions of aistart.
        driver: the oldest version of NVIDIA's driver.
        gpu_memory_gib: the least memory of a GPU, in GiB.
        memory_gib: the least main memory, in GiB.
        disk_gb: the least free space on the disk, in GB.
    """

    python: str | None = None
    aistart: str | None = None
    driver: str | None = None
    gpu_memory_gib: float | None = None
    memory_gib: float | None = None
    disk_gb: float | None = None

    def list_values(self) -> dict[str, str | float]:
        """Return the needs that are set, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Content:
    """The content of one profile.

    Attributes:
        answers: by question.
        features: whether each feature is on by default, by name.
        required: names of the features that cannot be left out.
        templates: the catalogue, by name.
        machine: what machines must have.
    """

    answers: dict[str, str] = field(default_factory=dict)
    features: dict[str, bool] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    templates: dict[str, TeamTemplate] = field(default_factory=dict)
    machine: MachineNeeds = MachineNeeds()


def parse(data: bytes, label: str, folder: Path | None = None) -> Content:
    """Parse a profile; the values of answers are not checked (see ``check_values``).

    Args:
        data: the file.
        label: names the file in messages.
        folder: to which a template's source that is a relative folder belongs; None: the profile
            comes from a URL or a repository, and such a source is refused.

    Raises:
        UsageProblem: it is not TOML, or holds something that is not allowed.
    """
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"profile: {label!r} does not parse: {error}.") from None
    tables = (FEATURES_TABLE, TEMPLATES_TABLE, MACHINE_TABLE)
    features, templates, machine = (_pop_table(table, name, label) for name in tables)
    wanted = machine.get("aistart")
    needs = _parse_machine(machine, label)
    for key, value in table.items():
        if key not in KEYS:
            raise _unknown_key_error(key, [*list_keys(), TEMPLATES_TABLE, MACHINE_TABLE], wanted)
        if not isinstance(value, str):
            raise UsageProblem(
                f"profile: {label}: {key}: {format_value(value)} must be a text, in quotes."
            )
    required = _parse_required(features.pop(REQUIRED_KEY, []), label)
    for key, value in features.items():
        if not isinstance(value, bool):
            raise UsageProblem(
                f"profile: {label}: {FEATURES_TABLE}.{key}: {format_value(value)} must be true or "
                "false."
            )
        if not value and key in required:
            raise UsageProblem(
                f"profile: {label}: {FEATURES_TABLE}.{key} is false, and it is required."
            )
    catalogue = {
        name: _parse_template(name, entry, label, folder, wanted)
        for name, entry in templates.items()
    }
    return Content(table, features, required, catalogue, needs)


def check_values(content: Content, label: str) -> None:
    """Check the answers and the names of templates against the built-in templates.

    Args:
        content: a profile's.
        label: names its file in messages.

    Raises:
        UsageProblem: a value is not allowed.
    """
    if content.answers:
        questions = questions_by_key()
        for key, value in content.answers.items():
            if problem := questions[key].problem(value):
                raise UsageProblem(f"profile: {label}: {key}: {format_value(value)} {problem}.")
    if content.templates:
        from aistart.catalog import find_templates

        for name in sorted(content.templates.keys() & find_templates().keys()):
            raise UsageProblem(
                f"profile: {label}: {TEMPLATES_TABLE}.{name}: a built-in template has this name; "
                "choose another."
            )


def questions_by_key() -> dict[str, "Question"]:
    """Return the questions of all built-in templates."""
    from aistart.catalog import find_templates
    from aistart.questions import questions

    return {question.key: question for t in find_templates().values() for question in questions(t)}


def list_keys() -> list[str]:
    """Return the keys for which ``aistart profile set`` can set a value."""
    return [*KEYS, *(f"{FEATURES_TABLE}.{name}" for name in sorted(list_features()))]


def list_features() -> set[str]:
    """Return the names of all features of built-in templates."""
    from aistart.catalog import find_templates

    return {name for template in find_templates().values() for name in template.features}


def _pop_table(table: dict[str, Any], name: str, label: str) -> dict[str, Any]:
    value = table.pop(name, {})
    if not isinstance(value, dict):
        raise UsageProblem(f"profile: {label}: {name} must be a table.")
    return value


def _unknown_key_error(key: str, allowed: Iterable[str], wanted: Any) -> UsageProblem:
    """Build the error for a key that this version does not know; a newer one may.

    Args:
        key: the unknown key.
        allowed: the keys that exist.
        wanted: the versions of aistart that the profile asks for.
    """
    is_range = _find_range_problem(wanted) is None
    if is_range and not is_in_range(__version__, wanted):
        return UsageProblem(
            f"profile: {format_value(key)} is unknown to aistart {__version__}; the profile needs "
            f"aistart {wanted}."
        )
    return unknown_name_error("profile", key, allowed)


def _parse_required(value: Any, label: str) -> tuple[str, ...]:
    is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if not is_list or not all(name.isprintable() for name in value):
        raise UsageProblem(
            f"profile: {label}: {FEATURES_TABLE}.{REQUIRED_KEY}: {format_value(value)} must be a "
            'list of features, for example ["report"].'
        )
    return tuple(dict.fromkeys(value))


def _parse_template(
    name: str, entry: Any, label: str, folder: Path | None, wanted: Any
) -> TeamTemplate:
    key = f"{TEMPLATES_TABLE}.{name}"
    if not _TEMPLATE_NAME.fullmatch(name):
        raise UsageProblem(
            f"profile: {label}: {TEMPLATES_TABLE}: {format_value(name)} must hold only lower-case "
            "letters, digits and '-', at most 40."
        )
    if not isinstance(entry, dict):
        raise UsageProblem(f"profile: {label}: {key} must be a table.")
    allowed = [other.name for other in fields(TeamTemplate) if other.name != "name"]
    for field_name, value in entry.items():
        if field_name not in allowed:
            names = [f"{key}.{other}" for other in allowed]
            raise _unknown_key_error(f"{key}.{field_name}", names, wanted)
        problem = "must be a text, in quotes"
        if isinstance(value, str):
            problem = _find_text_problem(value)
        if problem:
            raise UsageProblem(
                f"profile: {label}: {key}.{field_name}: {format_value(value)} {problem}."
            )
    if not entry.get("source"):
        raise UsageProblem(f"profile: {label}: {key} has no source.")
    template = TeamTemplate(name, **entry)
    try:
        source = _find_source(template, folder)
    except AistartError as error:
        raise UsageProblem(f"profile: {label}: {key}: {error.message}") from None
    return TeamTemplate(name, **{**entry, "source": source})


def _find_text_problem(text: str) -> str:
    """Return why a line of text is not accepted, as the end of a sentence; empty if it is."""
    if "\n" in text:
        return "must be one line"
    return naming.text_problem(text) or ""


def _find_source(template: TeamTemplate, folder: Path | None) -> str:
    """Check a template's source and return it; a folder becomes absolute."""
    from aistart.sources import check_directory, check_revision, repository_url

    if template.directory is not None:
        check_directory(template.directory)
    if repository_url(template.source) is not None:
        if template.checkout is not None:
            check_revision(template.checkout)
        return template.source
    if template.checkout is not None:
        raise UsageProblem("checkout: it is for a repository, not for a folder.")
    path = Path(template.source)
    if folder is None and not path.is_absolute():
        raise UsageProblem(
            f"source: {template.source!r} must be a repository: a URL or gh:owner/repository."
        )
    return str((folder or path) / path)


def _parse_machine(table: Mapping[str, Any], label: str) -> MachineNeeds:
    rules = {entry.name: _find_number_problem for entry in fields(MachineNeeds)}
    rules |= {"python": _find_range_problem, "aistart": _find_range_problem}
    rules["driver"] = _find_version_problem
    for name, value in table.items():
        if name not in rules:
            keys = [f"{MACHINE_TABLE}.{rule}" for rule in rules]
            raise _unknown_key_error(f"{MACHINE_TABLE}.{name}", keys, table.get("aistart"))
        if problem := rules[name](value):
            raise UsageProblem(
                f"profile: {label}: {MACHINE_TABLE}.{name}: {format_value(value)} {problem}."
            )
    return MachineNeeds(**table)


def _find_range_problem(value: Any) -> str | None:
    is_range = isinstance(value, str) and _RANGE.fullmatch(value)
    return None if is_range else 'must be a range of versions, for example ">=3.12"'


def _find_version_problem(value: Any) -> str | None:
    is_version = isinstance(value, str) and _VERSION.fullmatch(value)
    return None if is_version else 'must be a version in quotes, for example "570"'


def _find_number_problem(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and 0 < value < math.inf else "must be a number above 0"
