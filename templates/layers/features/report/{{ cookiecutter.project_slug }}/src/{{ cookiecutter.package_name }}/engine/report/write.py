"""Writing the evidence of a measured model."""

import logging
import math
from dataclasses import asdict
from typing import Any, cast

from ..bootstrap import Interval
from ..evaluation import Evaluation
from ..files import write_json
from .card import write_card
from .evidence import FILE, Evidence
from .page import write_page
from .sections.answer import describe_answer
from .sections.slices import summarize

log = logging.getLogger(__name__)


def write_report(evaluation: Evaluation, by: tuple[str, ...], is_command: bool) -> None:
    """Write the page, the numbers behind it, and the model card.

    Args:
        evaluation: the measured model.
        by: columns to slice by besides those of the domain and the configuration.
        is_command: whether ``evaluate`` asks, where slices are printed for a person.
    """
    evidence = Evidence(evaluation, by)
    page = write_page(evidence)
    if _is_run_itself(evaluation) and not by:
        write_card(evidence)
    write_json(evidence.name_file(FILE), as_json(evidence))
    if is_command and evidence.slices:
        print(summarize(evidence.slices))
    (print if is_command else log.info)(f"Evidence: {page}")


def _is_run_itself(evaluation: Evaluation) -> bool:
    """Return whether a finished run is measured on its own test split, which the card is about."""
    run = evaluation.run
    if run is None or not run.is_tested or evaluation.split_name != "test":
        return False
    return evaluation.report_dir == run.report_dir


def as_json(evidence: Evidence) -> dict[str, Any]:
    """Return what scripts may want to read: the answer, intervals, rivals and slices.

    JSON has no NaN: what is undefined is null.
    """
    found = {
        "answer": describe_answer(evidence),
        "intervals": {name: _as_list(i) for name, i in evidence.intervals.items()},
        "rivals": {r.name: _as_list(r.difference) for r in evidence.rivals if r.difference},
        "slices": [asdict(part) for part in evidence.slices],
    }
    return cast("dict[str, Any]", drop_nan(found))


def _as_list(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def drop_nan(value: Any) -> Any:
    """Return a value for JSON, with None for what is undefined."""
    if isinstance(value, dict):
        return {key: drop_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [drop_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
