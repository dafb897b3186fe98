"""The projects of a team at a glance: versions, what is due, what was edited."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aistart.catalog import find_template
from aistart.errors import AistartError, UsageProblem
from aistart.layout import is_narrow, wrap
from aistart.trust import escape_unprintable
from aistart.update.comparison import find_edited
from aistart.update.proposal import carry_answers, carry_features, find_due_files, make_request
from aistart.update.record import Record, read_record
from aistart.update.transaction import Transaction
from aistart.update.trees import RECORD_PATHS, Tree, render_tree


@dataclass(frozen=True)
class ProjectStatus:
    """The state of one project.

    Attributes:
        path: its folder.
        name: the project's name.
        template: the name of its template.
        version: of aistart, that made or updated it.
        commit: of a foreign template.
        features: names.
        due: whether an update would change files; None: it is not known.
        due_files: how many files of the template have changed.
        edited_files: how many of the template's files the team has changed.
        pending: whether an update waits for decisions, or was interrupted.
        problem: why some of these are not known.
    """

    path: str
    name: str
    template: str = ""
    version: str = ""
    commit: str | None = None
    features: tuple[str, ...] = ()
    due: bool | None = None
    due_files: int | None = None
    edited_files: int | None = None
    pending: bool = False
    problem: str | None = None

    def as_object(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return asdict(self)


def has_record(folder: Path) -> bool:
    """Whether a folder is a project: it has a record, or a part of one."""
    return any((folder / path).is_file() for path in RECORD_PATHS)


def find_projects(folders: Iterable[Path]) -> list[Path]:
    """Return the projects among folders and directly below them.

    Raises:
        UsageProblem: a folder does not exist, or there is no project.
    """
    folders = list(folders)
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageProblem(f"DIR: {str(folder)!r} is not a folder.")
        if has_record(folder):
            found[folder] = None
            continue
        try:
            found |= dict.fromkeys(path for path in sorted(folder.iterdir()) if has_record(path))
        except OSError as error:
            raise AistartError(f"DIR: {str(folder)!r}: {error.strerror}.") from None
    if not found:
        places = ", ".join(repr(str(folder)) for folder in folders)
        raise UsageProblem(f"DIR: there is no project in or directly below {places}.")
    return list(found)


def examine_project(project: Path) -> ProjectStatus:
    """Return the status of a project; what fails is told in it, so that others follow."""
    folder = project.resolve().name
    try:
        pending = Transaction.find(project) is not None
    except AistartError as error:
        return ProjectStatus(str(project), folder, pending=True, problem=error.message)
    try:
        record = read_record(project)
        edited = find_edited(project, record)
    except AistartError as error:
        return ProjectStatus(str(project), folder, pending=pending, problem=error.message)
    status: dict[str, Any] = {
        "path": str(project),
        "name": record.answers.get("project_name", folder),
        "template": record.template,
        "version": record.aistart,
        "commit": record.source.commit if record.source else None,
        "features": tuple(record.features),
        "edited_files": len(edited),
        "pending": pending,
    }
    try:
        due = find_due(project, record)
    except AistartError as error:
        return ProjectStatus(**status, problem=error.message)
    return ProjectStatus(**status, due=None if due is None else bool(due), due_files=due)


def find_due(project: Path, record: Record) -> int | None:
    """Return how many files of a project's template have changed since; None: a foreign template's
    are not looked at, since to render it is to run its code.
    """
    return None if record.source else len(find_due_files(record, render_present(project, record)))


def render_present(project: Path, record: Record) -> Tree:
    """Render a project as its template is now; nothing for a foreign one, whose code would run."""
    if record.source is not None:
        return {}
    template = find_template(record.template)
    answers, _ = carry_answers(template, record.answers, {})
    features, _ = carry_features(template, record.features)
    return render_tree(make_request(project, record, template, answers, features))


def format_statuses(statuses: list[ProjectStatus]) -> str:
    """Format statuses as a table, or below each other on a narrow terminal."""
    rows = [("project", "template", "version", "edited", "update")]
    rows += [_format_row(status) for status in statuses]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, status in zip(rows, [None, *statuses], strict=True):
        if not is_narrow():
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        elif status is not None:
            lines += [row[0], f"  {row[1]} {row[2]}", f"  edited: {row[3]}", f"  update: {row[4]}"]
        if status is not None and status.problem:
            lines.append(wrap(status.problem, 2))
    return "\n".join(lines)


def _format_row(status: ProjectStatus) -> tuple[str, str, str, str, str]:
    version = status.commit[:12] if status.commit else status.version
    place = Path(status.path).resolve().name if status.path in (".", "..") else status.path
    edited = "?" if status.edited_files is None else str(status.edited_files)
    name = escape_unprintable(place)
    return (name, status.template or "?", version or "?", edited, _format_due(status))


def _format_due(status: ProjectStatus) -> str:
    if status.pending:
        return "not finished"
    if status.due is None:
        return "not known" if status.problem else "see `aistart update --check`"
    if not status.due:
        return "none"
    return f"{status.due_files} file{'s' * (status.due_files != 1)}"
