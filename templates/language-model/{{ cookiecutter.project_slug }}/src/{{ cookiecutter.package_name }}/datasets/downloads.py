"""One-line errors of data sets that libraries download, and the names of their splits."""

from collections.abc import Iterable

from ..engine.errors import ProjectError
from .splits import SPLIT_NAMES


def select_splits(names: Iterable[str]) -> dict[str, str]:
    """Map a data set's splits to train, validation and test, or all to '' if it has no such.

    Preference sets add what theirs are for, as ``train_prefs`` and ``test_prefs``. Others beside
    them, such as ``unsupervised``, are left out.
    """
    names = list(names)
    first = {name: name.split("_")[0] for name in names}
    known = {name: SPLIT_NAMES[part] for name, part in first.items() if part in SPLIT_NAMES}
    return known or dict.fromkeys(names, "")


def missing_extra(extra: str, field: str = "data.source") -> ProjectError:
    """Make the error for a field whose value needs an extra that is not installed."""
    return ProjectError(f"{field}: needs an extra: pip install -e '.[{extra}]'.")
