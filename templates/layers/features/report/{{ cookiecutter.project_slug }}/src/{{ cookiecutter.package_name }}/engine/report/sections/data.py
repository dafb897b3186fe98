"""The data: where it comes from, how it was split, and what was left out."""

from typing import Any

from ..evidence import Evidence
from ..html import Section, facts, heading, join, table

# Fields of ``data`` that decide what is in which split.
SPLIT_FIELDS = ("split", "validation_fraction", "test_fraction", "split_seed", "group_column")


def make(evidence: Evidence) -> Section:
    """Return sizes, classes, copies and unreadable examples."""
    data, config = evidence.evaluation.data, evidence.evaluation.config
    fields = config.data.model_dump()
    shown: dict[str, Any] = {
        "source": data.source,
        "path": config.without_secrets()["data"].get("path"),
        "copies of other examples": data.duplicates,
        "unreadable examples": len(data.unreadable),
        "hash of the data": data.digest[:16],
    }
    shown |= {f"data.{name}": fields[name] for name in SPLIT_FIELDS if fields.get(name) is not None}
    sizes = data.sizes()
    total = max(sum(sizes.values()), 1)
    rows = [(name, size, f"{size / total:.1%}") for name, size in sizes.items()]
    parts = [facts(shown), table(["split", "examples", "share"], rows, "Splits")]
    notes = {name.replace("_", " "): value for name, value in data.notes.items()}
    parts.append(facts({name: _as_text(v) for name, v in notes.items() if not isinstance(v, dict)}))
    for name, value in notes.items():
        if isinstance(value, dict) and value:
            parts.append(table([name, "value"], list(value.items()), name.capitalize()))
    if data.unreadable:
        left = table(["example", "reason"], data.unreadable, "Examples that were left out")
        parts += [heading("Left out"), left]
    return Section("data", "Data", join(parts))


def _as_text(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
