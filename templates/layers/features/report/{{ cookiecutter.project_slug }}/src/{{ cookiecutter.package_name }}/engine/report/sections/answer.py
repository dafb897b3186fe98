"""The answer in a sentence: how good the model is, and whether it is ahead of simpler ones."""

import math

from ..evidence import Evidence, Rival
from ..html import Section, format_range, format_value, join, paragraph, table


def make(evidence: Evidence) -> Section:
    """Return the headline metric with its interval, and the baselines beside it."""
    evaluation = evidence.evaluation
    notice = evaluation.model.task.notice
    parts = [paragraph(notice, "bad")] if notice else []
    parts.append(paragraph(describe_answer(evidence), "lead"))
    if evidence.rivals:
        rows = [_row(evidence, rival) for rival in evidence.rivals]
        header = ["model", evidence.headline, "this model is better by", "95 % interval"]
        model = (evaluation.config.model.name + " (this model)", _value(evidence), "", "")
        parts.append(table(header, [model, *rows], "This model and the baselines"))
    metrics = [(n, value, evidence.describe_interval(n)) for n, value in evidence.values.items()]
    header = ["metric", "value", "95 % interval"]
    parts.append(table(header, metrics, f"Metrics of the {evaluation.split_name} split"))
    return Section("answer", "The answer", join(parts))


def describe_answer(evidence: Evidence) -> str:
    """Return the answer in one sentence, as the page and the model card give it."""
    evaluation, name = evidence.evaluation, evidence.headline
    size = f"{len(evaluation.split):,} examples"
    text = f"On the {size} of the {evaluation.split_name} split, {name} is "
    text += format_value(_value(evidence))
    if interval := evidence.describe_interval(name):
        text += f" (95 % interval {interval})"
    return f"{text}; {_compare(evidence.rivals[0])}." if evidence.rivals else f"{text}."


def _compare(best: Rival) -> str:
    reaches = f"the best baseline, {best.name}, reaches {format_value(best.value)}"
    if best.difference is None:
        return reaches
    difference = best.difference
    if not math.isfinite(difference.low):
        return f"{reaches}; whether the difference is more than noise cannot be told"
    by = f"{format_value(abs(difference.value))}; 95 % interval of the difference "
    by += format_range(difference.low, difference.high)
    if not difference.excludes_zero:
        return f"{reaches}, and the difference is within noise ({by})"
    place = "ahead of" if difference.value > 0 else "behind"
    return f"{reaches}, and the model is {place} it by more than noise ({by})"


def _row(evidence: Evidence, rival: Rival) -> tuple[str | float, ...]:
    if rival.difference is None:
        return rival.name, rival.value, "", ""
    low, high = rival.difference.low, rival.difference.high
    return rival.name, rival.value, rival.difference.value, format_range(low, high)


def _value(evidence: Evidence) -> float:
    return next(iter(evidence.evaluation.metrics.values()))
