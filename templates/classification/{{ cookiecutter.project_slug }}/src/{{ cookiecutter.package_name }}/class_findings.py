"""What can be said of the classes of a user's examples before anything is trained."""

from collections import Counter

from .findings import Findings, listed
from .splits import SPLITS

FEW = 10  # examples of a class below which it can hardly be learnt
USUAL = 0.05  # share of unusable examples that training tolerates without being told


def look_at_classes(classes: Counter[str], things: str, findings: Findings) -> None:
    """How many examples each class has, and those with too few.

    Args:
        things: what the examples are, such as images.
    """
    findings.fact("classes", f"{len(classes)}: {listed(classes)}")
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


def tolerate(unusable: int, total: int, things: str, findings: Findings) -> None:
    """Set ``data.max_unreadable`` where more examples than usual cannot be used."""
    share = unusable / total
    if share > USUAL:
        findings.warn(
            f"{share:.0%} of the {things} cannot be used; max_unreadable was raised for that."
        )
        findings.fields["max_unreadable"] = min(1.0, round(share + 0.01, 2))
