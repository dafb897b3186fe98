"""What the model costs: size, operations, time of a prediction, time of training."""

from ..cost import BATCH, measure_cost
from ..evidence import Evidence
from ..html import Section, facts, join, paragraph


def make(evidence: Evidence) -> Section:
    """Return parameters, operations, milliseconds and megabytes."""
    evaluation = evidence.evaluation
    cost = measure_cost(evaluation)
    summary = evaluation.summary
    shown = {
        "parameters": cost.parameters,
        "floating-point operations of an example": cost.flops,
        "size of the model file, MB": cost.megabytes,
        "milliseconds of an example, alone": cost.milliseconds_alone,
        f"milliseconds of an example, of up to {BATCH} at once": cost.milliseconds_batch,
        "machine": cost.machine,
        "seconds of training": summary["seconds"]["fit"] if summary else None,
        "joules of training": summary.get("joules") if summary else None,
        "training examples per second": summary["examples_per_second"] if summary else None,
    }
    text = (
        "Times are medians on this machine, preprocessing included, and differ on others. Joules "
        "are those of all processors of the machine while it trained, whatever else it did."
    )
    return Section("cost", "Cost", join([facts(shown), paragraph(text, "note")]))
