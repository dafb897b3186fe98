"""The model card (Mitchell et al., FAT* 2019): what the run knows, and what people have written.

Parts that only a person can write stand in ``docs/model_card/NAME.md`` and go into each card as
they are. While such a file holds nothing but its question, the card says that the part is open.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .. import PACKAGE
from ..files import project_root, write_text
from ..lookup import find
from .evidence import Evidence
from .html import format_range
from .markdown import escape, table
from .sections.answer import describe_answer
from .sections.slices import summarize

FILE = "MODEL_CARD.md"
FOLDER = Path("docs") / "model_card"  # in the project: parts that people write
DOMAIN_PARTS = {"describe": "report_page.model_card:describe"}  # evaluation -> heading -> Markdown
FRONT_MATTER = FOLDER / "front_matter.yaml"
QUESTION = "> **To be written by a person:**"  # how an open part begins

# What the EU AI Act (Regulation 2024/1689) asks for in Annex IV, and where the card has it.
ANNEX_IV = (
    ("1", "general description, intended purpose, versions", "Model, Intended use, Environment"),
    ("2 (a) to (c)", "methods, design, architecture, resources", "Model, Environment"),
    ("2 (d)", "data: origin, selection, labelling, cleaning", "Data"),
    ("2 (e)", "human oversight", "Intended use"),
    ("2 (f)", "changes that are planned", "Limits"),
    ("2 (g)", "validation and testing, metrics, discriminatory impact", "Evaluation, Slices"),
    ("2 (h)", "cybersecurity", "not in this card"),
    ("3", "capabilities, limits, foreseeable risks", "Evaluation, Limits, Ethical considerations"),
    ("4", "why these metrics", "Evaluation"),
    ("5", "risk management", "not in this card"),
    ("6", "changes over the lifecycle", "Environment; tags of the model registry"),
    ("7, 8", "standards applied; declaration of conformity", "not in this card"),
    ("9", "monitoring after deployment", "Limits"),
)


@dataclass(frozen=True)
class Part:
    """A part of the card.

    Attributes:
        title: its heading.
        text: Markdown.
        file: name of the file, without suffix, that holds what a person writes; '' for none.
    """

    title: str
    text: str = ""
    file: str = ""


def write_card(evidence: Evidence) -> Path:
    """Write the card to the folder of the report and return its path."""
    parts = [
        Part("Model", _describe_model(evidence)),
        Part("Intended use", file="intended_use"),
        Part("Data", _describe_data(evidence), "data"),
        Part("Evaluation", _describe_evaluation(evidence)),
        Part("Slices", _describe_slices(evidence)),
        *(Part(title, text) for title, text in _read_domain_parts(evidence).items()),
        Part("Limits", file="limits"),
        Part("Ethical considerations", file="ethics"),
        Part("Contact", file="contact"),
        Part("Environment", _describe_environment(evidence)),
        Part("EU AI Act, Annex IV", _describe_annex()),
    ]
    written = {part.file: read_part(part.file) for part in parts if part.file}
    open_parts = [part.title for part in parts if part.file and is_open(written[part.file])]
    blocks = [f"# {escape(PACKAGE)}: {escape(evidence.evaluation.config.model.name)}"]
    if evidence.evaluation.model.task.notice:
        blocks.append(f"> **{evidence.evaluation.model.task.notice}**")
    blocks.append(escape(describe_answer(evidence)))
    if open_parts:
        blocks.append(f"> Not written yet: {', '.join(open_parts)} (see `{FOLDER.as_posix()}/`).")
    for part in parts:
        texts = [text for text in (part.text, written.get(part.file, "")) if text]
        blocks += [f"## {part.title}", *texts]
    path = evidence.evaluation.report_dir / FILE
    write_text(path, _front_matter(evidence) + "\n\n".join(blocks) + "\n")
    return path


def read_part(name: str) -> str:
    """Return what a person has written for a part, or the question that is open."""
    file = project_root() / FOLDER / f"{name}.md"
    text = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    return text or f"{QUESTION} `{(FOLDER / file.name).as_posix()}`."


def is_open(text: str) -> bool:
    """Return whether a part holds nothing but its question."""
    lines = [line for line in text.splitlines() if line.strip()]
    return all(line.startswith(">") for line in lines) and lines[0].startswith(QUESTION)


def _front_matter(evidence: Evidence) -> str:
    """Return the YAML that Hugging Face reads: what the project's file says, and the metrics."""
    file = project_root() / FRONT_MATTER
    fields: dict[str, Any] = {"library_name": "keras"}
    if file.is_file():
        fields |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    evaluation = evidence.evaluation
    task = {"type": fields.get("pipeline_tag", "other")}
    dataset = {"name": evaluation.data.source, "type": evaluation.data.source}
    dataset |= {"split": evaluation.split_name}
    metrics = [{"type": n, "value": round(value, 6)} for n, value in evidence.values.items()]
    results = [{"task": task, "dataset": dataset, "metrics": metrics}]
    fields["model-index"] = [{"name": PACKAGE, "results": results}]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n\n"


def _describe_model(evidence: Evidence) -> str:
    evaluation, summary = evidence.evaluation, evidence.evaluation.summary
    assert summary is not None, "only a finished run gets a card"
    return _facts(
        {
            "model": evaluation.config.model.name,
            "template": summary["template"],
            "run": summary["run_id"],
            "parameters": summary["parameters"],
            "training steps": summary["steps"],
            "seconds of training": summary["seconds"]["fit"],
            "hash of the weights": summary["weights_sha256"],
        }
    )


def _describe_data(evidence: Evidence) -> str:
    data = evidence.evaluation.data
    shown: dict[str, Any] = {"source": data.source, **data.sizes()}
    shown |= {"copies of other examples": data.duplicates, "left out": len(data.unreadable)}
    shown |= {
        name.replace("_", " "): value
        for name, value in data.notes.items()
        if isinstance(value, str | int | float)
    }
    return _facts({**shown, "hash of the data": data.digest})


def _describe_evaluation(evidence: Evidence) -> str:
    evaluation, split = evidence.evaluation, evidence.evaluation.split_name
    rows = [(n, value, evidence.describe_interval(n)) for n, value in evidence.values.items()]
    text = f"On the {split} split. Intervals hold 95 %"
    groups = evaluation.split.groups
    text += ", over groups." if groups is not None and (groups != "").any() else "."
    blocks = [text, table(("metric", "value", "95 % interval"), rows)]
    if evidence.rivals:
        rivals = [
            (r.name, r.value, "" if r.difference is None else r.difference.value, _range(r))
            for r in evidence.rivals
        ]
        header = ("baseline", evidence.headline, "the model is better by", "95 % interval")
        blocks.append(table(header, rivals))
    return "\n\n".join(blocks)


def _range(rival: Any) -> str:
    if rival.difference is None:
        return ""
    return format_range(rival.difference.low, rival.difference.high)


def _describe_slices(evidence: Evidence) -> str:
    slices = evidence.slices
    if not slices:
        return "The domain knows no slices, and none were asked for."
    names = list(evidence.metrics)
    rows = [
        (
            *(part.column, part.value, part.count),
            *(part.metrics.get(name, "") for name in names),
            "worse than the rest" if part.is_worse else "" if part.metrics else "too few",
        )
        for part in slices
    ]
    header = ("column", "value", "examples", *names, "")
    return "\n\n".join([escape(summarize(slices)), table(header, rows)])


def _read_domain_parts(evidence: Evidence) -> Mapping[str, str]:
    """Return what ``report_page/model_card.py`` describes, where the project has that file."""
    if importlib.util.find_spec(f"{PACKAGE}.report_page.model_card") is None:
        return {}
    parts: Mapping[str, str] = find(DOMAIN_PARTS, "describe")(evidence.evaluation)
    return parts


def _describe_environment(evidence: Evidence) -> str:
    run, summary = evidence.evaluation.run, evidence.evaluation.summary
    record = (run.read("record") if run else None) or {}
    shown = dict(record.get("tags", {}))
    if summary:
        names = ("backend", "strategy", "replicas", "deterministic")
        shown |= {name: summary[name] for name in names}  # type: ignore[literal-required]
    shown["configuration"] = f"runs/{run.id}/config.yaml" if run else ""
    return _facts(shown)


def _describe_annex() -> str:
    text = "Where this card has what the technical documentation of a high-risk system must hold."
    return f"{text}\n\n{table(('point', 'asks for', 'where'), ANNEX_IV)}"


def _facts(shown: Mapping[str, Any]) -> str:
    return table(("", ""), [(name, value) for name, value in shown.items() if value != ""])
