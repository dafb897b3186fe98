"""Data sets of Hugging Face's ``datasets``, and the names of splits."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..engine.config_fields import DataFields
from ..engine.data_path import require_path
from ..engine.errors import ProjectError, missing_extra
from .splits import SPLIT_NAMES


def load_parts(data: DataFields) -> Iterator[tuple[str, str, Any]]:
    """Load a data set (``hf:NAME``), or a folder that ``save_to_disk`` wrote (``hf:local``).

    Args:
        data: the configured fields; ``data.path`` is the folder.

    Yields:
        Each part's own name ('' if there are no parts), the split it belongs to ('' if there is
        none), and its rows.

    Raises:
        ProjectError: the extra ``hf`` is not installed, or the set cannot be loaded.
        UsageProblem: ``data.path`` is needed and empty.
        DataProblem: it is no folder.
    """
    try:
        import datasets
    except ImportError:
        raise missing_extra("data.source", "hf") from None
    name = data.source.removeprefix("hf:")
    try:
        if name == "local":
            parts = datasets.load_from_disk(str(require_path(data, Path.is_dir, "folder")))
        else:
            parts = datasets.load_dataset(name)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ProjectError(f"data.source: {data.source!r} cannot be loaded: {reason}") from error
    if not isinstance(parts, dict):
        parts = {"": parts}
    for title, split in select_splits(parts).items():
        yield title, split, parts[title]


def select_splits(names: Iterable[str]) -> dict[str, str]:
    """Map a data set's splits to train, validation and test, or all to '' if it has no such.

    Some add what theirs are for or from, as ``train_prefs`` and ``validation_matched``. Others
    beside them, such as ``unsupervised``, are left out.
    """
    names = list(names)
    first = {name: name.split("_")[0] for name in names}
    known = {name: SPLIT_NAMES[part] for name, part in first.items() if part in SPLIT_NAMES}
    return known or dict.fromkeys(names, "")
