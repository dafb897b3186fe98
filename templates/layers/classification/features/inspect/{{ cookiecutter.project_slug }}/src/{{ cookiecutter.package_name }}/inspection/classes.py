"""What ``inspect`` finds out about the classes of a user's examples."""

from collections import Counter

from ..datasets.splits import SPLIT_NAMES, SPLITS, is_split_column
from ..engine.findings import Findings
from ..engine.inspection.columns import find_named, format_counts

FEW_EXAMPLES = 10  # of a class: with fewer, it can hardly be learnt
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "topic"),
    *("diagnosis", "species", "kind", "emotion", "tag", "tags", "rating", "stars", "score"),
)
MAX_UNREADABLE = 0.05  # the default of data.max_unreadable


def describe_classes(classes: Counter[str], things: str, findings: Findings) -> None:
    """Report how many examples each class has, and warn of classes with too few.

    Args:
        classes: name -> number of examples.
        things: what the examples are, such as "images".
        findings: gains facts and warnings.
    """
    findings.add_fact("classes", f"{len(classes)}: {format_counts(classes)}")
    if len(classes) < 2:
        findings.warn("there is only one class; training refuses that.")
    for label, count in sorted(classes.items()):
        if count < len(SPLITS):
            findings.warn(
                f"class {label!r} has {count} {things}, too few for one in each split; training "
                "refuses that."
            )
        elif count < FEW_EXAMPLES:
            findings.warn(f"class {label!r} has {count} {things}, too few to learn it well.")


def find_label_column(distinct: dict[str, int], findings: Findings) -> str:
    """Return the column with a usual name for labels, else the one with the fewest distinct values.

    Args:
        distinct: columns that may hold labels (at least one) -> number of distinct values.
        findings: gains a warning if the choice is a guess.
    """
    candidates = find_named(list(distinct), *LABEL_NAMES)
    label = candidates[0] if candidates else min(distinct, key=distinct.__getitem__)
    if len(candidates) > 1:
        reason = "several columns are named as labels are"
        findings.warn_of_guess("labels", "label_column", label, reason, candidates[1:])
    elif not candidates:
        reason = "none is named as labels are and this has the fewest different values"
        others = [name for name in distinct if name != label]
        findings.warn_of_guess("labels", "label_column", label, reason, others)
    return label


def find_split_column(table: dict[str, list[str]], findings: Findings) -> str | None:
    """Return the first column that names a split in every row, if any.

    Args:
        table: column -> the text of each row.
        findings: gains a warning about a column that names splits in some rows only.
    """
    for name, values in table.items():
        if not is_split_column(values):
            continue
        empty = sum(not value.strip() for value in values)
        if not empty:
            return name
        findings.warn(
            f"column {name!r} names splits, but {empty} of its cells are empty; it is not used."
        )
    return None


def describe_splits(values: list[str], findings: Findings) -> None:
    """Report how many rows a split column assigns to each split."""
    splits = (SPLIT_NAMES.get(value.strip().lower(), value) for value in values)
    findings.add_fact("splits", format_counts(Counter(splits)))


def set_max_unreadable(unusable: int, total: int, things: str, findings: Findings) -> None:
    """Raise ``data.max_unreadable`` if its default would stop training on these examples.

    Args:
        unusable: number of examples that cannot be used.
        total: number of all examples.
        things: what the examples are, such as "images".
        findings: gains a warning and the field.
    """
    share = unusable / total
    if share > MAX_UNREADABLE:
        findings.warn(
            f"{share:.0%} of the {things} cannot be used; max_unreadable was raised for that."
        )
        findings.fields["max_unreadable"] = min(1.0, round(share + 0.01, 2))
