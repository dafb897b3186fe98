"""The page about a user's data that ``inspect`` writes, before anything is trained."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from ..errors import DataProblem, UsageProblem
from ..findings import Inspection
from ..interfaces import DatasetSplits, Split
from .html import Section, draw_figure, facts, join, paragraph, table
from .label_noise import Suspect, find_suspects
from .page import write_sections

MAX_EXAMPLES = 20_000  # whose labels are checked
MAX_BARS = 40  # of a figure of classes


def write_inspection(inspection: Inspection) -> Path:
    """Write the page beside the configuration and return its path.

    The data is loaded as training would load it; where that fails, the page says why.

    Args:
        inspection: what ``inspect`` has found.
    """
    sections = [_describe_findings(inspection)]
    try:
        data = inspection.task.load(inspection.config, None)
    except (DataProblem, UsageProblem) as problem:
        body = paragraph(f"Training would be refused: {problem}", "bad")
        sections.append(Section("splits", "Splits", body))
    else:
        sections += [_describe_splits(data), *_describe_counts(data)]
        sections += _describe_suspects(inspection, data)
    path = inspection.output.with_suffix(".html")
    return write_sections(path, f"Inspection of {inspection.path.name}", sections)


def _describe_findings(inspection: Inspection) -> Section:
    findings = inspection.findings
    shown = [facts(dict(findings.facts))]
    shown += [paragraph(f"Warning: {text}", "bad") for text in findings.warnings]
    fields = [(f"data.{name}", str(value)) for name, value in findings.fields.items()]
    shown.append(table(["field", "value"], fields, f"Written to {inspection.output.name}"))
    return Section("findings", "What was found", join(shown))


def _describe_splits(data: DatasetSplits) -> Section:
    rows = [(name, size) for name, size in data.sizes().items()]
    shown = [table(["split", "examples"], rows, "As training would split it")]
    notes = {name.replace("_", " "): value for name, value in data.notes.items()}
    plain = {name: value for name, value in notes.items() if isinstance(value, str | int | float)}
    shown.append(facts({"copies of other examples": data.duplicates, **plain}))
    if data.unreadable:
        shown.append(table(["example", "reason"], data.unreadable, "Left out"))
    return Section("splits", "Splits", join(shown))


def _describe_counts(data: DatasetSplits) -> list[Section]:
    """Return a section with a table, and for few entries a figure, for each table of counts."""
    parts: list[Markup] = []
    for name, counts in data.notes.items():
        if not isinstance(counts, dict) or not counts:
            continue
        title = name.replace("_", " ").capitalize()
        if len(counts) <= MAX_BARS and all(isinstance(n, int) for n in counts.values()):
            _draw_counts(parts, title, counts)
        parts.append(table([title.lower(), "value"], list(counts.items()), title))
    return [Section("counts", "Counts", join(parts))] if parts else []


def _draw_counts(parts: list[Markup], title: str, counts: dict[str, int]) -> None:
    names = [str(name)[:30] for name in counts]
    with draw_figure(parts, title, 6.4, 0.3 * len(names) + 1, "Number of examples.") as axis:
        bars = axis.barh(range(len(names)), list(counts.values()), color="#1d4ed8")
        axis.set_yticks(range(len(names)), names)
        axis.bar_label(bars, padding=3)
        axis.invert_yaxis()
        axis.margins(x=0.1)


def _describe_suspects(inspection: Inspection, data: DatasetSplits) -> list[Section]:
    task, train = inspection.task, data.train
    if task.simple_inputs is None:
        return []
    positions = np.random.default_rng(0).permutation(len(train))[:MAX_EXAMPLES]
    split = train.take(np.sort(positions))
    try:
        preprocessing = task.preprocessing.fit(train, inspection.config)
        inputs = task.simple_inputs(split, preprocessing)
        suspects = find_suspects(inputs, np.asarray(split.targets).astype(str))
    except (DataProblem, UsageProblem, ValueError) as problem:
        text = f"The labels could not be checked: {problem}"
        return [Section("labels", "Labels to check", paragraph(text))]
    text = (
        f"Of {len(split):,} training examples, {len(suspects)} have a label that a logistic "
        "regression contradicts, which was fitted on other examples. Look at these first."
    )
    shown = [paragraph(text), _list(suspects, split, task.has_private_examples)]
    return [Section("labels", "Labels to check", join(shown))]


def _list(suspects: list[Suspect], split: Split, is_private: bool) -> Markup:
    """Return a table of the suspects; of persons no more than where they are."""
    names = [str(split.ids[suspect.position]) for suspect in suspects]
    if is_private:
        return table(["example"], [[name] for name in names], "Labels to check")
    columns = ((s.label, s.likelier, s.probability) for s in suspects)
    rows = [(name, *cells) for name, cells in zip(names, columns, strict=True)]
    return table(["example", "label", "likelier", "probability"], rows, "Labels to check")
