"""What an update does or did, as text for people."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from aistart.layout import abbreviate, wrap
from aistart.shell import join_command
from aistart.trust import escape_unprintable
from aistart.update.changelog import find_releases
from aistart.update.differences import format_difference
from aistart.update.plan import OpenConflict
from aistart.update.proposal import Proposal
from aistart.update.record import Record
from aistart.update.transaction import BACKUP, Transaction

_SHOWN = 5  # names in a message of one line
_MIN_OF_FOLDER = 3  # files of a folder that moved, from which on only the folder is listed
_TITLES = {
    "updated": "Updated",
    "merged": "Merged with your edits",
    "new": "New",
    "removed": "Removed",
    "kept": "Kept as yours",
}


def update_command(project: Path, *words: str) -> str:
    """Return the command line ``aistart update`` for a project, from the current folder."""
    place = [] if project.resolve() == Path.cwd().resolve() else [str(project)]
    return join_command("aistart", "update", *place, *words)


def describe_step(old: Record, new: Record) -> str:
    """Return from which version to which a project goes."""
    versions = [describe_version(record) for record in (old, new)]
    return f"{new.template} {' → '.join(dict.fromkeys(versions))}"


def describe_version(record: Record) -> str:
    """Return the version of a project's template: that of aistart, or its repository's commit."""
    commit = record.source.commit if record.source else None
    return record.aistart if commit is None else commit[:12]


def format_proposal(proposal: Proposal, *, with_conflicts: bool = True) -> str:
    """Format an update: versions, then files by what happens to them, then what else to know.

    Args:
        proposal: the update.
        with_conflicts: whether to list conflicts; once it is applied they are listed apart.
    """
    if not proposal.is_due and not proposal.record_changes:
        return format_nothing(proposal)
    blocks = [wrap(describe_step(proposal.old, proposal.new), 0, 2)]
    blocks += format_groups(proposal, with_conflicts=with_conflicts)
    blocks += ["\n".join(wrap(note, 0, 2) for note in proposal.notes)] if proposal.notes else []
    return "\n\n".join(blocks)


def format_nothing(proposal: Proposal) -> str:
    """Return the line for an update that changes nothing."""
    return f"Nothing to do: {proposal.new.template} {describe_version(proposal.new)} is up to date."


def format_check(proposal: Proposal) -> str:
    """Return the line of ``--check``."""
    if not proposal.is_due:
        return f"Up to date: {describe_step(proposal.old, proposal.new)}."
    count = len(proposal.changes)
    conflicts = len(proposal.result.conflicts)
    text = f"An update is due: {describe_step(proposal.old, proposal.new)}, {_count(count, 'file')}"
    return text + (f", {_count(conflicts, 'conflict')}." if conflicts else ".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def format_groups(proposal: Proposal, *, with_conflicts: bool = True) -> list[str]:
    """Format the files of an update by what happens to them: counts, then a block for each group.

    Args:
        proposal: the update.
        with_conflicts: whether to list conflicts.
    """
    result = proposal.result
    origins = {new: old for old, new in result.moves.items()}
    groups = {title: list(getattr(result, name)) for name, title in _TITLES.items()}
    listed = {path for paths in groups.values() for path in paths}
    listed |= {conflict.path for conflict in result.conflicts}
    groups["Moved with their folder"] = [path for path in origins if path not in listed]
    counts = [
        f"{len(paths)} {title.split()[0].lower()}" for title, paths in groups.items() if paths
    ]
    if result.conflicts:
        counts.append(_count(len(result.conflicts), "conflict"))
    blocks = [wrap(f"{', '.join(counts) or 'No file changes; only the record does'}.")]
    for title, paths in groups.items():
        if paths:
            deleted = set(result.kept) - result.tree.keys()
            lines = _describe_paths(paths, origins, deleted)
            blocks.append("\n".join([f"{title} ({len(paths)}):", *lines]))
    if with_conflicts and result.conflicts:
        lines = [_describe_conflict(c.path, c.message) for c in result.conflicts]
        blocks.append("\n".join([f"Conflicts ({len(lines)}):", *lines]))
    return blocks


def _describe_paths(paths: list[str], origins: dict[str, str], deleted: set[str]) -> list[str]:
    """Return a line for each path; files that moved with their folder share the folder's line.

    Args:
        paths: of files.
        origins: where they were, of those that moved.
        deleted: those that the user deleted.
    """
    moved = {path: _strip_common_end(origins.get(path, path), path) for path in paths}
    counts = Counter(moved.values())
    lines = []
    for path in sorted(paths):
        old, new = moved[path]
        if old != new and counts[old, new] >= _MIN_OF_FOLDER:
            path, origin = f"{new}/ ({counts[old, new]} files)", f"{old}/"
        else:
            origin = origins.get(path, path)
        line = f"  {escape_unprintable(path)}"
        was = "" if origin == path else f"\n    was {escape_unprintable(origin)}"
        lines.append(line + was + ("\n    you deleted it" if path in deleted else ""))
    return list(dict.fromkeys(lines))


def _strip_common_end(old: str, new: str) -> tuple[str, str]:
    """Return two paths without the parts at their ends in which they agree."""
    olds, news = old.split("/"), new.split("/")
    while olds and news and olds[-1] == news[-1]:
        del olds[-1], news[-1]
    return "/".join(olds), "/".join(news)


def _describe_conflict(path: str, message: str) -> str:
    return f"  {escape_unprintable(path)}\n{wrap(escape_unprintable(message), 4)}"


def format_open_conflicts(transaction: Transaction, paths: Iterable[str] | None = None) -> str:
    """Format the conflicts that wait for a decision, and the commands that go on.

    Args:
        transaction: the update that has begun.
        paths: of the conflicts to show; default: all.
    """
    shown = None if paths is None else set(paths)
    conflicts = [c for c in transaction.conflicts if shown is None or c.path in shown]
    verb = "needs" if len(conflicts) == 1 else "need"
    lines = [f"{_count(len(conflicts), 'file')} {verb} a decision:"]
    for conflict in conflicts:
        lines.append(_describe_conflict(conflict.path, _explain(conflict)))
        if conflict.theirs:
            lines.append(f"    {transaction.theirs(conflict.path)}")
    project = transaction.project
    lines += [
        *_format_kept(transaction.kept),
        "",
        "When that is done:",
        f"  {update_command(project, '--continue')}",
        "To go back to the files as they were:",
        f"  {update_command(project, '--abort')}",
    ]
    return "\n".join(lines)


def _explain(conflict: OpenConflict) -> str:
    return f"{conflict.message}; the template's is in" if conflict.theirs else conflict.message


def format_waiting(transaction: Transaction) -> str:
    """Return the message for a command that cannot run while an update waits for decisions."""
    project = transaction.project
    if transaction.stage != "undecided":
        return (
            f"{transaction.title} was interrupted; go on with "
            f"`{update_command(project, '--continue')}`, or back with "
            f"`{update_command(project, '--abort')}`."
        )
    paths = [escape_unprintable(conflict.path) for conflict in transaction.conflicts]
    return (
        f"{transaction.title} waits for your decision on {abbreviate(paths, _SHOWN)}; then "
        f"`{update_command(project, '--continue')}`, or go back with "
        f"`{update_command(project, '--abort')}`."
    )


def format_no_update(project: Path) -> str:
    """Return the message for --continue and --abort where no update has begun."""
    text = f"{project}: no update has begun that is not finished."
    if (project / BACKUP).is_dir():
        text += f" The files before the last one are in {BACKUP}."
    return text


def format_finished(transaction: Transaction) -> str:
    """Format what to know after an update: what is new, and where the files before it are."""
    blocks = ["\n".join(transaction.notes)] if transaction.notes else []
    if transaction.kept:
        blocks.append("\n".join(_format_kept(transaction.kept)))
    if transaction.changes_files:
        blocks.append(f"The files before the update are in {BACKUP}.")
    return "\n\n".join(blocks)


def format_aborted(kept: list[str]) -> str:
    """Format the result of --abort.

    Args:
        kept: where files lie that the user had changed since the update began.
    """
    return "\n".join(["All files are as they were before the update.", *_format_kept(kept)])


def _format_kept(kept: list[str]) -> list[str]:
    paths = [f"  {escape_unprintable(path)}" for path in kept]
    return ["What you changed since is kept in:", *paths] if kept else []


def format_undone(transaction: Transaction) -> str:
    """Return the message for --continue where nothing of the update is left in the files."""
    return (
        f"the files are as they were before {transaction.title}: finish with "
        f"`{update_command(transaction.project, '--abort')}`, and update again."
    )


def format_releases(old: Record, new: Record) -> list[str]:
    """Return the changelog between two records of a built-in template, as lines."""
    if new.source is not None:
        return []
    lines: list[str] = []
    for release in find_releases(old.aistart, new.aistart):
        lines += ["", f"aistart {release.version} ({release.date}):", *_wrap_markdown(release.text)]
    return lines[1:]


def _wrap_markdown(text: str) -> list[str]:
    return [
        wrap(line, 2, 4) if line.startswith("- ") else wrap(line, 2)
        for line in text.splitlines()
        if line.strip()
    ]


def format_patch(proposal: Proposal) -> str:
    """Format all changes of an update as a unified diff."""
    return "".join(
        format_difference(change.path, change.before, change.after) for change in proposal.changes
    )
