"""What the model card of a language model has besides that of every project: what it writes."""

import json
from typing import Any

from ..engine.evaluation import Evaluation
from ..engine.report.markdown import escape, table
from ..evaluation.samples import FILE
from ..evaluation.scores import shorten

SHOWN = 4  # samples
TITLE = "What it writes"


def describe(evaluation: Evaluation) -> dict[str, str]:
    """Return parts of the card by title.

    Args:
        evaluation: of the run's own test split.
    """
    file = evaluation.report_dir / FILE
    if not file.is_file():
        return {}
    facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if not facts["samples"]:
        return {TITLE: "Nothing was written in time, or no held-out text was long enough."}
    text = (
        f"Of {facts['texts']} texts. copied: share of {facts['ngram']}-grams of tokens that occur "
        "in the training split; copied_by_people: the same of the held-out texts."
    )
    metrics = table(("metric", "value"), facts["metrics"].items())
    header = ("prompt", "way", "written", "what stands there")
    rows = [
        [shorten(row[name]) for name in ("prompt", "way", "written", "reference")]
        for row in facts["samples"][:SHOWN]
    ]
    return {TITLE: "\n\n".join([escape(text), metrics, table(header, rows)])}
