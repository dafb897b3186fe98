"""The file or folder that a source reads."""

from collections.abc import Callable
from pathlib import Path

from .config_fields import DataFields
from .errors import DataProblem, UsageProblem


def require_path(data: DataFields, check: Callable[[Path], bool], kind: str) -> Path:
    """Return ``data.path``, checked to exist and to be what the source needs.

    Args:
        data: the configured ``data`` fields.
        check: tells whether a path is of the right kind, such as ``Path.is_file``.
        kind: name of that kind for messages, such as "file".

    Raises:
        UsageProblem: ``data.path`` is not set.
        DataProblem: the path does not exist or is of another kind.
    """
    if not data.path:
        raise UsageProblem(f"data.path: source {data.source!r} needs a {kind}.")
    path = Path(data.path)
    if not path.exists():
        raise DataProblem(f"data.path: {data.path!r} does not exist.")
    if not check(path):
        raise DataProblem(f"data.path: {data.path!r} is not a {kind}.")
    return path
