"""The steps of an update around the merge: which base, which template, what is left to do."""

from pathlib import Path

from aistart.errors import AistartError, UsageProblem
from aistart.sources import Source
from aistart.update.merge import MARKERS
from aistart.update.plan import check_permissions
from aistart.update.proposal import Proposal, find_due_files, make_request
from aistart.update.record import NoPristine, Record, read_answers_only, read_record
from aistart.update.report import describe_step, format_releases
from aistart.update.scratch import list_tree, read_blobs, run_git
from aistart.update.transaction import Transaction
from aistart.update.trees import RECORD_PATHS, SUBMODULE, Entry, Tree, render_tree


def read_base(project: Path, revision: str | None) -> Record:
    """Read the record of a project, or build it from a commit.

    Args:
        project: its folder.
        revision: the commit of the project's own repository at which its files were as rendered;
            None: its record has them.

    Raises:
        UsageProblem: the record cannot be used, or a revision is given and not needed.
        AistartError: git fails.
    """
    if revision is None:
        try:
            return read_record(project)
        except NoPristine as problem:
            raise UsageProblem(problem.message + _suggest_base(project)) from None
    try:
        read_record(project)
    except UsageProblem:
        return read_answers_only(project).with_tree(read_commit(project, revision))
    raise UsageProblem("--base: the project's record is whole and says what was rendered.")


def _suggest_base(project: Path) -> str:
    """Return a hint with the first commit of the project, if it is in a repository."""
    try:
        words = ("log", "--reverse", "--format=%h", "--", ".aistart/answers.toml")
        commits = run_git(*words, folder=project).decode().split()
    except AistartError:
        return ""
    return f" Its record was first committed in {commits[0]}." if commits else ""


def read_commit(project: Path, revision: str) -> Tree:
    """Read the project's files at a commit, without its record.

    Raises:
        UsageProblem: there is no such commit.
        AistartError: git is not installed.
    """
    if revision.startswith("-"):
        raise UsageProblem(f"--base: {revision!r} is not a commit of the project's repository.")
    try:
        commit = run_git("rev-parse", "--verify", f"{revision}^{{commit}}", folder=project)
        rows = list_tree(commit.decode().strip(), folder=project)
    except AistartError:
        raise UsageProblem(
            f"--base: {revision!r} is not a commit of the project's repository."
        ) from None
    files = {  # a submodule has no content
        path: row for path, row in rows.items() if row[0] != SUBMODULE and path not in RECORD_PATHS
    }
    contents = read_blobs([blob for _, blob in files.values()], folder=project)
    if any(blob not in contents for _, blob in files.values()):
        raise AistartError(f"--base: git lacks some of the files of {revision!r}.")
    return {path: Entry(mode, contents[blob]) for path, (mode, blob) in files.items()}


def find_reference(
    project: Path, record: Record, template: str | None = None, checkout: str | None = None
) -> tuple[str, str | None, str | None]:
    """Return what ``open_source`` needs to find the project's template.

    Args:
        project: its folder.
        record: what it was made from.
        template: where a foreign template is now, if it has moved.
        checkout: another revision of it; default: the recorded one.

    Raises:
        UsageProblem: an option is given that a built-in template does not have.
    """
    source = record.source
    if source is None:
        for option, value in (("--template", template), ("--checkout", checkout)):
            if value is not None:
                raise UsageProblem(
                    f"{option}: {record.template} comes with aistart; it is for other templates."
                )
        return record.template, None, None
    reference = template or source.locate(project)
    return reference, checkout or (None if template else source.checkout), source.directory


def begin(proposal: Proposal, title: str) -> Transaction | None:
    """Write an update down; None if there is nothing to do.

    Raises:
        AistartError: the disk or a permission prevents it; nothing was changed.
    """
    notes = format_releases(proposal.old, proposal.new)
    plan = proposal.make_plan(f"{title} ({describe_step(proposal.old, proposal.new)})", notes)
    if not (plan.changes or plan.conflicts or plan.record):
        return None
    check_permissions(proposal.project, plan.changes)
    return Transaction.begin(proposal.project, plan)


def find_marked(transaction: Transaction) -> list[str]:
    """Return the files of an update that still have conflict markers."""
    paths = [conflict.path for conflict in transaction.conflicts if conflict.has_markers]
    return [path for path in paths if _has_markers(transaction.project / path)]


def _has_markers(path: Path) -> bool:
    if not path.is_file():  # deleting it is a decision, too
        return False
    return any(line.startswith(MARKERS) for line in path.read_bytes().split(b"\n"))


def check_unchanged(project: Path, record: Record, source: Source) -> None:
    """Check that a template renders what it rendered for the project, so that a change of features
    is nothing but that.

    Raises:
        UsageProblem: it renders something else.
    """
    template = source.template
    missing = [name for name in record.features if name not in template.features]
    due = missing
    if not missing:
        request = make_request(project, record, template, record.answers, record.features)
        due = find_due_files(record, render_tree(request))
    if due:
        raise UsageProblem(
            f"feature: the template has changed since the project was made "
            f"({len(due)} file{'s' * (len(due) != 1)}); run `aistart update` first, and commit it."
        )
