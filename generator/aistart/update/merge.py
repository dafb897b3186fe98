"""The three-way merge of trees, with git's own machinery."""

from collections.abc import Mapping

from aistart.update.record import Record
from aistart.update.trees import MergeResult, Tree


def merge(record: Record, ours: Tree, theirs: Tree, moves: Mapping[str, str]) -> MergeResult:
    """Merge a template's changes into a project.

    Args:
        record: what the project was made from; its pristine files are the base of the merge.
        ours: the files of the project, from ``read_ours``.
        theirs: the new render.
        moves: new answers by old ones, of those that changed: folders and files of the template
            that have such a name move, with all that the user has in them.

    Raises:
        AistartError: git is not installed, too old, or fails.
    """
    raise NotImplementedError
