"""How good the model is for parts of the split, and which are worse beyond noise."""

from markupsafe import Markup

from ..evidence import Evidence
from ..html import Section, join, paragraph, table
from ..slices import ERROR_RATE, MIN_COUNT, Slice

MARK = Markup('<strong class="bad">worse than the rest</strong>')


def make(evidence: Evidence) -> Section | None:
    """Return a table of slices; None where the domain knows none."""
    slices = evidence.slices
    if not slices:
        return None
    names = list(evidence.metrics)
    tested = sum(part.p_value == part.p_value for part in slices)
    text = (
        f"Slices marked as worse are worse than the other examples in {names[0]} beyond "
        f"noise: with {tested} slices looked at, the chance of marking any of them wrongly is "
        f"{ERROR_RATE:.0%} (Holm's correction). Of slices with fewer than {MIN_COUNT} examples "
        "nothing is said, nor of one from which they could be had by subtraction."
    )
    header = ["column", "value", "examples", *names, "p", "verdict"]
    # Marked ones first: of very many slices the last ones are left out.
    rows = [_row(part, names) for part in sorted(slices, key=lambda part: not part.is_worse)]
    parts = [paragraph(text), paragraph(summarize(slices)), table(header, rows, "Slices")]
    return Section("slices", "Slices", join(parts))


def summarize(slices: list[Slice]) -> str:
    """Return in a sentence which slices are worse than the rest."""
    worse = [f"{part.column} = {part.value}" for part in slices if part.is_worse]
    if not worse:
        return "No slice is worse than the rest beyond noise."
    more = f" and {len(worse) - 10} more" if len(worse) > 10 else ""
    return f"Worse than the rest: {'; '.join(worse[:10])}{more}."


def _row(part: Slice, names: list[str]) -> tuple[object, ...]:
    head = (part.column, part.value, part.count)
    if not part.metrics:
        return (*head, *[""] * (len(names) + 1), "too few, or hidden for those")
    p_value = "" if part.p_value != part.p_value else float(part.p_value)
    values = (part.metrics[name] for name in names)
    return (*head, *values, p_value, MARK if part.is_worse else "")
