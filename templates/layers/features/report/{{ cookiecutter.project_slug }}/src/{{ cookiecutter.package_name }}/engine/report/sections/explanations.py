"""Why the model answered as it did: some of its worst and some of its best examples."""

import io

import matplotlib.image
import numpy as np
from markupsafe import Markup, escape

from ...explanations import Contributions, Explanation, Heatmap
from ..evidence import Evidence
from ..html import Section, image, join, paragraph

SHOWN = 4  # of the worst, and as many of the best
MAX_PARTS = 120  # of an example


def make(evidence: Evidence) -> Section | None:
    """Return explained examples; None where the task explains nothing, or examples are private."""
    evaluation = evidence.evaluation
    task, split = evaluation.model.task, evaluation.split
    if task.explain is None or task.has_private_examples:
        return None
    positions = select_examples(evidence)
    explanations = task.explain(evaluation.model, split, positions, None)
    outputs = evaluation.outputs[positions]
    answers = task.decode_predictions(outputs, evaluation.model.preprocessing)
    cards = [
        _card(str(split.ids[p]), answer["prediction"], str(_target(split.targets[p])), explanation)
        for p, answer, explanation in zip(positions, answers, explanations, strict=True)
    ]
    method = next((e.method for e in explanations if e.method), "")
    text = f"The worst examples first, then the best. {method}"
    body = [paragraph(text), Markup('<div class="examples">{}</div>').format(join(cards))]
    return Section("explanations", "Explanations", join(body))


def select_examples(evidence: Evidence) -> np.ndarray:
    """Return positions of the worst and the best examples by the last metric that is a mean."""
    size = len(evidence.evaluation.split)
    means = [metric for metric in evidence.metrics.values() if metric.values is not None]
    if not means:
        return np.unique(np.linspace(0, size - 1, 2 * SHOWN).astype("int64"))
    # By the last one: a loss tells the examples apart that are all right or all wrong.
    metric = means[-1]
    assert metric.values is not None
    goodness = -metric.values if metric.lower_is_better else metric.values
    goodness = np.where(np.isnan(goodness), -np.inf, goodness)
    order = np.argsort(goodness, kind="stable")
    return np.concatenate([order[:SHOWN], order[max(SHOWN, size - SHOWN) :]])


def _target(target: object) -> object:
    return ", ".join(map(str, target)) if isinstance(target, tuple) else target


def _card(name: str, prediction: str, target: str, explanation: Explanation) -> Markup:
    head = Markup("<p><b>{}</b><br>{}; true: {}</p>").format(
        name, prediction or "(none)", target or "(none)"
    )
    why = f"Why {explanation.target} ({explanation.score:.3f})"
    return Markup("<div>{}{}</div>").format(head, _draw(explanation, why))


def _draw(explanation: Explanation, title: str) -> Markup:
    if explanation.note:
        return paragraph(explanation.note, "note")
    if isinstance(explanation, Heatmap):
        file = io.BytesIO()
        matplotlib.image.imsave(file, explanation.draw(), format="png")
        return image(file.getvalue(), "image/png", title, explanation.summarize())
    if isinstance(explanation, Contributions):
        return _mark_parts(explanation)
    return paragraph(explanation.summarize())


def _mark_parts(explanation: Contributions) -> Markup:
    """Return the parts with a background: blue where they speak for the target, else orange."""
    largest = max((abs(part.value) for part in explanation.parts), default=0.0) or 1.0
    marks = [
        Markup('<mark style="background:rgba({},{:.2f})" title="{:+.3f}">{}</mark>').format(
            "37,99,235" if part.value > 0 else "234,88,12",
            0.45 * abs(part.value) / largest,
            part.value,
            part.text,
        )
        for part in explanation.parts[:MAX_PARTS]
    ]
    more = Markup(" …") if len(explanation.parts) > MAX_PARTS else Markup("")
    text = f"Strongest: {explanation.summarize()}"
    return Markup('<p class="parts">{}{}</p>{}').format(
        escape(explanation.separator).join(marks), more, paragraph(text, "note")
    )
