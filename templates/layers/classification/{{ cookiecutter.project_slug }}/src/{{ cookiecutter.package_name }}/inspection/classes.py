"""What can be said of the classes of a user's examples before anything is trained."""

from collections import Counter

from ..datasets.splits import SPLIT_NAMES, SPLITS, names_splits
from ..engine.findings import Findings, find_named, format_counts

FEW = 10  # examples of a class below which it can hardly be learnt
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "topic"),
    *("diagnosis", "species", "kind", "emotion", "tag", "tags", "rating", "stars", "score"),
)
USUAL = 0.05  # share of unusable examples that training tolerates without being told


def look_at_classes(classes: Counter[str], things: str, findings: Findings) -> None:
    """How many examples each class has, and those with too few.

    Args:
        things: what the examples are, such as images.
    """
    findings.add_fact("classes", f"{len(classes)}: {format_counts(classes)}")
    if len(classes) < 2:
        findings.warn("there is one class only; training refuses that.")
    for label, count in sorted(classes.items()):
        if count < len(SPLITS):
            findings.warn(
                f"class {label!r} has {count} {things}, too few to stand in every split; training "
                "refuses that."
            )
        elif count < FEW:
            findings.warn(f"class {label!r} has {count} {things}, too few to learn it well.")


def find_label_column(distinct: dict[str, int], findings: Findings) -> str:
    """The column that is named as labels are, else the one with the fewest different values;
    where others may be meant, a warning says so.

    Args:
        distinct: columns that may hold labels (at least one) -> number of different values.
    """
    named = find_named(list(distinct), *LABEL_NAMES)
    fewest = min(distinct, key=distinct.__getitem__)
    label = named[0] if named else fewest
    if len(named) > 1:
        reason = "several columns are named as labels are"
        findings.warn_of_guess("labels", "label_column", label, reason, named[1:])
    elif not named:
        reason = "none is named as labels are and this has the fewest different values"
        others = [name for name in distinct if name != label]
        findings.warn_of_guess("labels", "label_column", label, reason, others)
    return label


def find_split_column(table: dict[str, list[str]], findings: Findings) -> str | None:
    """The first column that says which split each row belongs to, if there is one that can be
    read in each row.

    Args:
        table: column -> a text for each row.
    """
    for name, values in table.items():
        if not names_splits(values):
            continue
        empty = sum(not value.strip() for value in values)
        if not empty:
            return name
        findings.warn(
            f"column {name!r} names splits, but {empty} of its cells are empty; it is not used."
        )
    return None


def look_at_splits(values: list[str], findings: Findings) -> None:
    """How many rows a column gives to each split."""
    splits = (SPLIT_NAMES.get(value.strip().lower(), value) for value in values)
    findings.add_fact("splits", format_counts(Counter(splits)))


def tolerate(unusable: int, total: int, things: str, findings: Findings) -> None:
    """Set ``data.max_unreadable`` where more examples than usual cannot be used."""
    share = unusable / total
    if share > USUAL:
        findings.warn(
            f"{share:.0%} of the {things} cannot be used; max_unreadable was raised for that."
        )
        findings.fields["max_unreadable"] = min(1.0, round(share + 0.01, 2))
