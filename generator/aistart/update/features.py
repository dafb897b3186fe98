"""Which features a project has after some are added or removed."""

from collections.abc import Iterable

from aistart.answers import add_required
from aistart.catalog import Template
from aistart.errors import UsageProblem, unknown_name_error


def add_features(template: Template, present: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return a project's features with others and what those require.

    Args:
        template: the project's.
        present: its features.
        names: of the features to add.

    Raises:
        UsageProblem: one is unknown, or the project has it.
    """
    present = list(present)
    for name in names:
        if name not in template.features:
            missing = [feature for feature in template.features if feature not in present]
            raise unknown_name_error("feature", name, missing)
        if name in present:
            raise UsageProblem(f"feature: the project already has {name!r}.")
    return add_required(template, [*present, *names])


def remove_features(template: Template, present: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return a project's features without some.

    Args:
        template: the project's.
        present: its features.
        names: of the features to remove.

    Raises:
        UsageProblem: the project does not have one, or another one that stays requires it.
    """
    present, names = list(present), list(names)
    for name in names:
        if name not in present:
            raise unknown_name_error("feature of the project", name, present)
    kept = [name for name in present if name not in names]
    for name in kept:
        required = [other for other in template.features[name].requires if other in names]
        if required:
            raise UsageProblem(f"feature: {name!r} requires {required[0]!r}; remove both or none.")
    return kept
