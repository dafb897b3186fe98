"""``aistart update``, ``add``, ``remove``, ``diff`` and ``status``: the life of a project."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aistart import completion
from aistart.cli_options import (
    find_terminal,
    open_trusted_source,
    quiet_option,
    trust_always_option,
    verbose_option,
)
from aistart.errors import AistartError, UsageProblem

if TYPE_CHECKING:
    from aistart.catalog import Template
    from aistart.sources import Source
    from aistart.update.proposal import Proposal
    from aistart.update.record import Record
    from aistart.update.transaction import Transaction

_folder = click.Path(path_type=Path)
_dirty_option = click.option(
    "--allow-dirty", is_flag=True, help="Go on although not everything is committed."
)
_trust_option = click.option("--trust", is_flag=True, help="Run the code of a foreign template.")
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would happen, and change nothing."
)
_diff_option = click.option(
    "--diff", "show_diff", is_flag=True, help="Show every change as a unified diff."
)
_project_option = click.option(
    "-C",
    "--project",
    metavar="PROJECT",
    type=_folder,
    help="The project.  [default: the one that the current folder is in]",
)


def _feature_change_options(command: "Callable[..., None]") -> "Callable[..., None]":
    """Add the options of a change of features to a command."""
    for option in (
        quiet_option,
        verbose_option,
        trust_always_option,
        _trust_option,
        _dirty_option,
        _diff_option,
        _dry_run_option,
        _project_option,
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  aistart update --dry-run --diff          shows what would change
  aistart update                           merges it into your files
  aistart update --set license=MIT         with another answer
  aistart update --set project_name=Shop   renames; files move, edits stay
  aistart update --check                   for CI: exit code 1 if one is due

Exit code: 0 done, 1 files need a decision (or --check: an update is due), 2 wrong use.
"""
)
@click.argument("project", required=False, type=_folder)
@_dry_run_option
@_diff_option
@click.option("--check", is_flag=True, help="Exit with 1 if an update is due; change nothing.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completion.complete_settings_of_project,
    help="Answer a question anew. Can be repeated.",
)
@click.option(
    "--continue", "resume", is_flag=True, help="Finish an update whose conflicts you resolved."
)
@click.option("--abort", is_flag=True, help="Go back to the files before an unfinished update.")
@_dirty_option
@click.option(
    "--checkout", metavar="REVISION", help="Another branch, tag or commit of a foreign template."
)
@click.option(
    "--template",
    metavar="TEMPLATE",
    help="Where a foreign template is now, if it has moved: a folder or a repository.",
)
@click.option(
    "--base",
    metavar="REVISION",
    help="For a project without .aistart/pristine.xz: the commit of its own repository that is "
    "as it was rendered.",
)
@_trust_option
@trust_always_option
@verbose_option
@quiet_option
def update(
    project: Path | None,
    dry_run: bool,
    show_diff: bool,
    check: bool,
    settings: tuple[str, ...],
    resume: bool,
    abort: bool,
    allow_dirty: bool,
    checkout: str | None,
    template: str | None,
    base: str | None,
    trust: bool,
    trust_always: bool,
) -> None:
    """Bring PROJECT to what its template is now.

    The template's changes are merged with yours. PROJECT defaults to the project that the current
    folder is in. If both changed the same lines, the file gets conflict markers, and the project's
    record moves only with --continue. A backup stays in .aistart/update/ until the next update.
    """
    from aistart.answers_file import parse_settings
    from aistart.update import report
    from aistart.update.proposal import propose
    from aistart.update.transaction import lock

    folder = _find_project(project)
    modes = {"--continue": resume, "--abort": abort, "--check": check, "--dry-run": dry_run}
    _check_modes(modes, diff=show_diff, others=bool(settings or checkout or template or base))
    if resume or abort:
        with lock(folder):
            _go_on(folder, abort=abort)
        return
    answers = parse_settings(settings)
    with _prepare(folder, base, looks=dry_run or check, allow_dirty=allow_dirty) as record:
        if record is None:
            return
        with _open_template(
            folder, record, template, checkout, trust=trust, remember=trust_always
        ) as source:
            proposal = propose(folder, record, source, answers)
        if check:
            click.echo(report.format_check(proposal))
            sys.exit(1 if proposal.is_due else 0)
        _show_or_apply(proposal, "the update", dry_run=dry_run, show_diff=show_diff)


@click.command()
@click.argument(
    "features", nargs=-1, required=True, shell_complete=completion.complete_missing_features
)
@_feature_change_options
def add(features: tuple[str, ...], project: Path | None, **options: Any) -> None:
    """Add FEATURES to a project, with those that they require."""
    from aistart.update.features import add_features

    title = f"adding {', '.join(features)}"
    _change_features(project, title, partial(add_features, names=features), **options)


@click.command()
@click.argument(
    "features", nargs=-1, required=True, shell_complete=completion.complete_project_features
)
@_feature_change_options
def remove(features: tuple[str, ...], project: Path | None, **options: Any) -> None:
    """Remove FEATURES from a project. Files of theirs that you edited stay."""
    from aistart.profile import read
    from aistart.update.features import remove_features

    read().check_optional(features)
    title = f"removing {', '.join(features)}"
    _change_features(project, title, partial(remove_features, names=features), **options)


@click.command("diff")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@_project_option
@click.option("--stat", is_flag=True, help="Only paths, with the number of lines.")
@verbose_option
def show_differences(paths: tuple[str, ...], project: Path | None, stat: bool) -> None:
    """Show how a project differs from what its template rendered.

    PATHs are files or folders of the project. Your own files are not shown, only the template's.
    """
    from aistart.trust import escape_unprintable
    from aistart.update.comparison import compare
    from aistart.update.overview import render_present
    from aistart.update.record import read_record

    folder = _find_project(project)
    record = read_record(folder)
    names = [_path_in_project(folder, path) for path in paths]
    differences = compare(folder, record, lambda: render_present(folder, record), names)
    if stat:
        width = max((len(item.format_counts()) for item in differences), default=0)
        for item in differences:
            click.echo(f"{item.format_counts():<{width}}  {escape_unprintable(item.path)}")
        return
    for item in differences:
        click.echo(item.format_patch(), nl=False)
    if any(not item.is_complete for item in differences):
        click.echo("Lines in angle brackets stand for lines that are nowhere any more.", err=True)


@click.command()
@click.argument("folders", nargs=-1, metavar="[DIR]...", type=_folder)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@verbose_option
def status(folders: tuple[Path, ...], as_json: bool) -> None:
    """Show the projects in each DIR or directly below it: versions, edits, and what is due.

    DIR defaults to the current folder.
    """
    from aistart.update.overview import examine_project, find_projects, format_statuses

    statuses = [examine_project(project) for project in find_projects(folders or (Path(),))]
    if as_json:
        import json

        click.echo(json.dumps([item.as_object() for item in statuses], indent=2))
    else:
        click.echo(format_statuses(statuses))


def _find_project(folder: Path | None) -> Path:
    """Return the absolute folder of a project.

    Args:
        folder: the project; None: the one around the current folder.

    Raises:
        UsageProblem: there is none.
    """
    from aistart.update.overview import has_record

    try:
        current = Path.cwd()
    except FileNotFoundError:
        raise UsageProblem("the current folder no longer exists.") from None
    candidates = (current, *current.parents) if folder is None else (current / folder,)
    found = next((path for path in candidates if has_record(path)), None)
    if found is None:
        where = (
            "the current folder is in no project"
            if folder is None
            else f"{str(folder)!r} is no project"
        )
        raise UsageProblem(f"PROJECT: {where} of aistart: it has no .aistart/answers.toml.")
    return found


def _path_in_project(project: Path, path: str) -> str:
    """Return a path that is seen from the current folder, or from the project, as the record has
    it.
    """
    absolute, root = Path(os.path.abspath(path)), Path(os.path.abspath(project))  # noqa: PTH100
    if absolute.is_relative_to(root):
        return absolute.relative_to(root).as_posix()
    return path


def _check_modes(modes: dict[str, bool], *, diff: bool, others: bool = False) -> None:
    names = [name for name, is_on in modes.items() if is_on]
    if len(names) > 1:
        raise UsageProblem(f"{names[0]} and {names[1]} exclude each other.")
    if diff and names != ["--dry-run"]:
        raise UsageProblem("--diff: it goes with --dry-run.")
    if others and names and names[0] in ("--continue", "--abort"):
        raise UsageProblem(f"{names[0]}: it goes with no other option; the update has begun.")


@contextmanager
def _prepare(
    folder: Path, base: str | None = None, *, looks: bool, allow_dirty: bool
) -> "Iterator[Record | None]":
    """Lock a project for an update, finish one that was interrupted, and check that all is ready.

    Args:
        folder: the project.
        base: the commit at which its files were as rendered, if its record does not say that.
        looks: whether nothing will be changed; then nothing is locked, finished or checked.
        allow_dirty: whether uncommitted changes are accepted.

    Yields:
        the project's record; None after another update had to be finished first.

    Raises:
        UsageProblem: an update waits for decisions, the record cannot be used, or something is not
            committed.
    """
    from aistart.update import report
    from aistart.update.dirty import check_clean
    from aistart.update.story import read_base
    from aistart.update.transaction import Transaction, lock

    if looks:
        if transaction := Transaction.find(folder):
            raise UsageProblem(report.format_waiting(transaction))
        yield read_base(folder, base)
        return
    with lock(folder):
        transaction = Transaction.find(folder)
        if transaction and transaction.stage == "undecided":
            raise UsageProblem(report.format_waiting(transaction))
        if transaction:
            _go_on(folder, abort=False)
            yield None
            return
        # Before what is not committed: nobody should commit a record that cannot be used.
        record = read_base(folder, base)
        check_clean(folder, allow_dirty=allow_dirty)
        yield record


@contextmanager
def _open_template(
    folder: Path,
    record: "Record",
    template: str | None = None,
    checkout: str | None = None,
    *,
    trust: bool,
    remember: bool,
) -> "Iterator[Source]":
    """Find a project's template; a person at a terminal is asked for trust in a foreign one.

    Args:
        folder: the project.
        record: what it was made from.
        template: where a foreign template is now, if it has moved.
        checkout: another revision of it.
        trust: whether it may run this time.
        remember: whether this version of it may run from now on.

    Raises:
        UsageProblem: it is not there, or nobody trusts it.
        AistartError: git fails.
    """
    from aistart.trust import TrustRequired
    from aistart.update.story import find_reference

    place = find_reference(folder, record, template, checkout)
    terminal = find_terminal() if record.source else None
    with ExitStack() as stack:
        try:
            source = stack.enter_context(
                open_trusted_source(*place, terminal, trust=trust, remember=remember)
            )
        except TrustRequired:
            raise
        except AistartError as error:
            if record.source and template is None and checkout is None:
                hint = "; if it has moved, say where it is with --template."
                raise type(error)(error.message.rstrip(".") + hint) from None
            raise
        if record.source and source.template.is_built_in:
            raise UsageProblem(
                f"--template: {template!r} comes with aistart, and the project is of another one; "
                "name a folder or a repository."
            )
        yield source


def _change_features(
    project: Path | None,
    title: str,
    select: "Callable[[Template, Iterable[str]], list[str]]",
    *,
    dry_run: bool,
    show_diff: bool,
    allow_dirty: bool,
    trust: bool,
    trust_always: bool,
) -> None:
    """Update a project to other features.

    Args:
        project: its folder; None: the one around the current folder.
        title: what happens, for messages.
        select: returns the features that the project has afterwards.
        dry_run: whether nothing is to change.
        show_diff: whether to show all changes.
        allow_dirty: whether uncommitted changes are accepted.
        trust: whether a foreign template may run this time.
        trust_always: whether this version of it may run from now on.
    """
    from aistart.update.proposal import propose
    from aistart.update.story import check_unchanged

    folder = _find_project(project)
    _check_modes({"--dry-run": dry_run}, diff=show_diff)
    with _prepare(folder, looks=dry_run, allow_dirty=allow_dirty) as record:
        if record is None:
            return
        with _open_template(folder, record, trust=trust, remember=trust_always) as source:
            names = select(source.template, record.features)
            check_unchanged(folder, record, source)
            proposal = propose(folder, record, source, features=names)
        _show_or_apply(proposal, title, dry_run=dry_run, show_diff=show_diff)


def _show_or_apply(proposal: "Proposal", title: str, *, dry_run: bool, show_diff: bool) -> None:
    from aistart.update import report
    from aistart.update.story import begin

    if dry_run:
        text = report.format_patch(proposal) if show_diff else report.format_proposal(proposal)
        click.echo(text, nl=not show_diff)
        return
    text = report.format_proposal(proposal, with_conflicts=False)
    transaction = begin(proposal, title)
    if transaction is not None:
        transaction.apply()
    _print(text)
    if transaction is not None:
        _finish(transaction, "\n")


def _go_on(folder: Path, *, abort: bool) -> None:
    from aistart.update import report
    from aistart.update.story import find_marked
    from aistart.update.transaction import Transaction

    transaction = Transaction.find(folder)
    if transaction is None:
        raise UsageProblem(report.format_no_update(folder))
    if abort or transaction.stage == "aborting":
        _print(report.format_aborted(transaction.abort()))
    elif transaction.stage == "applying":
        click.echo(f"Finishing {transaction.title}, which was interrupted.", err=True)
        transaction.apply()
        _finish(transaction)
    else:
        if marked := find_marked(transaction):
            click.echo(report.format_open_conflicts(transaction, marked), err=True)
            sys.exit(1)
        if transaction.is_undone:
            raise UsageProblem(report.format_undone(transaction))
        transaction.finish()
        _finish(transaction)


def _finish(transaction: "Transaction", separator: str = "") -> None:
    """Print what is left to decide, and exit with 1; or else what is new.

    Args:
        transaction: the update, which was applied.
        separator: what to print first, if there is anything to say.
    """
    from aistart.update import report

    if transaction.is_finished:
        text = report.format_finished(transaction)
        _print(separator + text if text else "")
        return
    is_quiet = click.get_current_context().obj["quiet"]
    text = report.format_open_conflicts(transaction)
    click.echo(text if is_quiet else separator + text, err=True)
    sys.exit(1)


def _print(text: str) -> None:
    if text and not click.get_current_context().obj["quiet"]:
        click.echo(text)
