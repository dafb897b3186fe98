"""How to repeat the run: command, commit, data and versions."""

from typing import Any

from markupsafe import Markup

from ... import PROGRAM
from ..evidence import Evidence
from ..html import Section, facts, join, paragraph


def make(evidence: Evidence) -> Section | None:
    """Return the command and what it needs; None for a model without a run."""
    run, summary = evidence.evaluation.run, evidence.evaluation.summary
    if run is None:
        return None
    record = run.read("record") or {}
    tags = record.get("tags", {})
    command = f"{PROGRAM} train --fresh --config runs/{run.id}/config.yaml"
    shown: dict[str, Any] = {
        "run": run.id,
        "commit": tags.get("git_commit"),
        "uncommitted changes": tags.get("git_dirty"),
        "hash of the data": str(record.get("digest", ""))[:16],
        "seed": evidence.evaluation.config.train.seed,
        **{name: value for name, value in tags.items() if not name.startswith("git_")},
        "backend": record.get("backend"),
        "strategy": record.get("strategy"),
    }
    if summary:
        shown["hash of the weights"] = summary["weights_sha256"][:16]
        shown["exactly repeatable"] = summary["deterministic"]
    parts = [Markup('<pre tabindex="0"><code>{}</code></pre>').format(command), facts(shown)]
    text = "All fields are in config.yaml of the run, all packages in environment.txt."
    return Section("repeat", "How to repeat it", join([*parts, paragraph(text, "note")]))
