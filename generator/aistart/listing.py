"""The list of templates: the built-in ones, and those of a profile."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aistart.catalog import Template
from aistart.layout import is_narrow, wrap

if TYPE_CHECKING:
    from aistart.profile import TeamTemplate

TEAM_DOMAIN = "team"  # in place of the domain, for templates of a profile


def read_catalogue(named_profile: str | None) -> "list[TeamTemplate]":
    """Return the templates of the profiles in force (see ``profile.read``)."""
    from aistart.profile import read

    return [*read(named_profile).templates.values()]


def list_as_objects(
    templates: Iterable[Template], of_team: "Iterable[TeamTemplate]"
) -> list[dict[str, Any]]:
    """Describe templates for ``aistart list --json``; those of a team say where they come from.

    Args:
        templates: the built-in ones.
        of_team: those of the profile.
    """
    keys = ("name", "title", "summary", "domain")
    own = [{key: getattr(template, key) for key in keys} for template in templates]
    return own + [{"title": t.name, "domain": TEAM_DOMAIN, **asdict(t)} for t in of_team]


def list_as_text(templates: Iterable[Template], of_team: "Iterable[TeamTemplate]") -> str:
    """List templates for ``aistart list``, in columns if the terminal is wide enough.

    Args:
        templates: the built-in ones.
        of_team: those of the profile.
    """
    rows = [(t.name, t.domain, t.title, t.summary) for t in templates]
    for entry in of_team:
        from aistart.trust import escape_unprintable  # slow to import, and few have a catalogue

        place, summary = escape_unprintable(entry.place), escape_unprintable(entry.summary)
        rows.append((entry.name, TEAM_DOMAIN, place, summary))
    width = max(len(name) for name, *_ in rows)
    lines = []
    for name, domain, title, summary in rows:
        if is_narrow():
            lines += [name, wrap(f"{title} ({domain})", 2)]
        else:
            head = f"{name:<{width}}  {domain:<14}  {title}"
            lines.append(wrap(head, 0, width + 18) if domain == TEAM_DOMAIN else head)
        if summary:
            lines.append(wrap(summary, 4 if is_narrow() else width + 2))
    return "\n".join(lines)
