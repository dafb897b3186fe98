"""The state of the repository that a project is in, before an update changes files."""

from pathlib import Path

from aistart.errors import AistartError, UsageProblem
from aistart.layout import abbreviate
from aistart.trust import escape_unprintable
from aistart.update.scratch import run_git

# Within ``.git``, while a command of git waits for the user.
_UNFINISHED = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}
_SHOWN = 5


def check_clean(project: Path, *, allow_dirty: bool = False) -> None:
    """Check that an update would be alone in ``git diff``. Without a repository all is well.

    Args:
        project: its folder, which may be a part of a repository.
        allow_dirty: whether changes that are not committed are accepted.

    Raises:
        UsageProblem: something is not committed, or git waits for the user.
    """
    try:
        git_folder = Path(_ask(project, "rev-parse", "--absolute-git-dir").strip())
    except AistartError:  # no repository, or no git
        return
    for name, action in _UNFINISHED.items():
        if (git_folder / name).exists():
            raise UsageProblem(f"{action} is not finished in git; finish it first.")
    if allow_dirty:
        return
    words = ("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=dirty", "--", ".")
    paths = [line[3:] for line in _ask(project, *words).split("\0") if line]
    if paths:
        shown = abbreviate([*map(escape_unprintable, paths)], _SHOWN)
        raise UsageProblem(
            f"not committed: {shown}. Commit them first, so that git shows the update alone, or "
            "use --allow-dirty."
        )


def _ask(project: Path, *words: str) -> str:
    return run_git(*words, folder=project).decode("utf-8", "replace")
