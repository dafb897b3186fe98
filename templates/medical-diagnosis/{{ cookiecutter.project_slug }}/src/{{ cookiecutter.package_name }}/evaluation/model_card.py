"""The model card: what a model is, how good it is and for whom, and what only people can say.

Its sections follow Mitchell et al. 2019. Numbers come from the run. What is not known, and what a
person must answer for, is marked as such.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import report
from ..engine.files import write_text
from ..objective import NOTICE

if TYPE_CHECKING:
    from ..config import Config
    from ..data import Visits
    from ..datasets.schema import Column, Schema
    from ..engine.interfaces import Preprocessing

UNKNOWN = "**not recorded**"
SHOWN_COLUMNS = 15  # that the model looks at most
SHOWN_VALUES = 12  # of a category
COUNTS = ("rows", "patients", "events")  # of a subgroup
PERFORMANCE = (
    *("auroc", "auprc", "brier", "loss", "calibration_slope", "calibration_intercept", "ece"),
    *("sensitivity", "specificity", "ppv", "npv", "flagged", "prevalence"),
    "true_risk_correlation",
)
SPLITS = {
    "patient": "patients drawn at random; all rows of a patient are in one split",
    "site": "the test split is all rows of the sites that are held out",
    "time": "the test split is the patients who came last",
    "external": "everybody is in the test split: the model is evaluated on data from elsewhere",
}
RECALIBRATION = {
    "auto": "isotonic where the validation split has many events, else Platt's",
    "platt": "Platt's (1999): a slope and an intercept, fitted on the validation split",
    "isotonic": "isotonic (Zadrozny & Elkan 2002), fitted on the validation split",
    "none": "none: risks are as the network gives them",
}


def write(
    path: Path,
    summary: dict[str, Any],
    split: "Visits",
    risk: np.ndarray,
    preprocessing: "Preprocessing",
    importance: dict[str, float],
    config: "Config",
) -> None:
    """Write the model card (Mitchell et al. 2019) as Markdown.

    Args:
        summary: of the run. Used if there: ``data.generated``, ``data.patients`` and
            ``data.prevalence`` of each split; ``preprocessing.missing``, shares of the columns, and
            ``preprocessing.recalibration``, the one that was chosen.
        split: the test split.
        risk: (size,) calibrated risks of it.
        importance: mean absolute contribution of each column.
    """
    parts = [
        [f"# Model card: {_cell(summary['model'])}", f"> **{NOTICE}**"],
        _details(summary, preprocessing),
        _use(preprocessing.schema),
        _data(summary, split, config),
        _columns(summary, preprocessing.schema),
        _performance(summary),
        _decisions(summary, preprocessing, config),
        _subgroups(report.subgroups(split, risk, preprocessing.operating_point)),
        _importance(importance),
        _limits(),
        _tracing(summary),
    ]
    write_text(path, "\n\n".join(block for part in parts for block in part) + "\n")


def _details(summary: dict[str, Any], preprocessing: "Preprocessing") -> list[str]:
    schema = preprocessing.schema
    reviewer = _cell(schema.reviewed_by) if schema.reviewed_by else "**nobody has reviewed it**"
    rows = [
        ("model", summary["model"]),
        ("version", preprocessing.model_version),
        ("run", summary["run_id"]),
        ("parameters", summary.get("parameters")),
        ("this card was written", datetime.now(UTC).date().isoformat()),
        ("schema", schema.digest),
    ]
    shown = [(name, _format_value(value)) for name, value in rows]
    return ["## Model details", _table(("", ""), [*shown, ("schema reviewed by", reviewer)])]


def _use(schema: "Schema") -> list[str]:
    yes = schema.columns[schema.outcome].yes
    return [
        "## Intended use",
        f'The model gives the risk that "{_cell(schema.outcome)}" is "{_cell(yes)}".',
        _person("for whom, when and by whom the risk is to be read, and what follows from it."),
        _person("what it must not be used for, and for which patients it is not meant."),
    ]


def _data(summary: dict[str, Any], split: "Visits", config: "Config") -> list[str]:
    data = summary["data"]
    generated = True if split.risk is not None else data.get("generated")
    kind = {True: "generated: no patient is behind it", False: "real"}.get(generated, UNKNOWN)
    facts = [
        ("source", _format_value(data["source"])),
        ("generated or real", kind),
        ("how it was split", _how_split(config)),
        ("rows left out", _format_value(data.get("unreadable"))),
        ("copies of other rows", _format_value(data.get("duplicates"))),
        ("hash of the data", _format_value(data.get("digest"))),
    ]
    if config.data.allow:
        facts.append(
            ("used although they look as if they told who it is", _cell(config.data.allow))
        )
    patients, prevalence = report.patient_count(split.patients), float(split.targets.mean())
    own = {"patients": patients, "prevalence": prevalence}
    rows = [
        (name, _format_value(data.get(name)), *(_of_split(data, key, name, own) for key in own))
        for name in ("train", "validation", "test")
    ]
    header = ("split", "rows", "patients", "prevalence")
    question = (
        "where, when and of whom the data was collected, with which consent, and who is not in it."
    )
    return ["## Data", _table(("", ""), facts), _table(header, rows), _person(question)]


def _how_split(config: "Config") -> str:
    text = SPLITS.get(config.data.split, _cell(config.data.split))
    if config.data.split == "site" and config.data.test_sites:
        text += f": {_cell(config.data.test_sites)}"
    if config.data.folds:
        text += f"; fold {config.data.fold} of {config.data.folds} is the test split"
    return text


def _of_split(data: dict[str, Any], key: str, name: str, own: dict[str, Any]) -> str:
    """A fact about a split as it was recorded; about the test split it is known anyway."""
    recorded = data.get(key)
    value = recorded.get(name) if isinstance(recorded, dict) else None
    return _format_value(own[key] if value is None and name == "test" else value)


def _columns(summary: dict[str, Any], schema: "Schema") -> list[str]:
    missing = summary.get("preprocessing", {}).get("missing", {})
    names = {*schema.numbers, *schema.categories}
    seen = [(name, column) for name, column in schema.columns.items() if name in names]
    rows = [
        (_cell(name), c.kind, _cell(c.unit), _plausible(c), _format_value(missing.get(name)))
        for name, c in seen
    ]
    header = ("column", "kind", "unit", "plausible range or values", "share missing")
    text = (
        "What the model sees. Rows with a value outside its range are not used. Shares are those "
        "of the training split."
    )
    return ["## Columns", text, _table(header, rows)]


def _plausible(column: "Column") -> str:
    if column.kind == "number":
        return _cell(column.range)
    if column.kind == "date":
        return "days before the row's time"
    values = column.values or (column.yes, column.no)
    text = ", ".join(map(_cell, values[:SHOWN_VALUES]))
    return f"{text} and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else text


def _performance(summary: dict[str, Any]) -> list[str]:
    """The test metrics with their intervals, and beside them the baselines."""
    metrics = _of_test(summary["metrics"])
    rows = [
        (report.label(name), _format_value(metrics[name]), _interval(metrics, name))
        for name in PERFORMANCE
        if name in metrics
    ]
    text = (
        "On the test split; what cannot be computed is left out. Intervals hold 95 % of the values "
        "when patients are drawn anew; they say nothing about other hospitals, devices or years."
    )
    beside = _beside(summary, metrics)
    table = _table(("metric", "value", "95 % interval"), rows)
    return ["## Performance", text, table, "Beside simpler models, on the same rows:", beside]


def _beside(summary: dict[str, Any], metrics: dict[str, float]) -> str:
    baselines = [(row["name"], _of_test(row["metrics"])) for row in summary["baselines"]]
    if not baselines:
        return UNKNOWN
    names = [n for n in PERFORMANCE if any(n in found for _, found in baselines)]
    rows = [
        (_cell(name), *(_metric(found, metric) for metric in names))
        for name, found in [(f"{summary['model']} (this model)", metrics), *baselines]
    ]
    return _table(("model", *map(report.label, names)), rows)


def _decisions(
    summary: dict[str, Any], preprocessing: "Preprocessing", config: "Config"
) -> list[str]:
    """Operating point and calibration."""
    metrics, model = _of_test(summary["metrics"]), config.model
    chosen = (
        f"It has the least cost on the validation split, where a missed patient counts as "
        f"{model.cost_ratio:g} false alarms."
        if model.cost_ratio is not None
        else f"Of those that reach a sensitivity of {model.min_sensitivity:g} on the validation "
        "split it has the fewest false alarms."
    )
    point = f"{preprocessing.operating_point:.3f}"
    done = summary.get("preprocessing", {}).get("recalibration") or model.recalibration
    slope, intercept = (
        _metric(metrics, f"calibration_{name}") or "not computable"
        for name in ("slope", "intercept")
    )
    return [
        "## Operating point and calibration",
        f"Patients with a risk of {point} or more are flagged. {chosen}",
        f"Recalibration: {RECALIBRATION.get(done, _cell(done))}. On the test split the calibration "
        f"slope is {slope} (ideal: 1; below it, risks are too extreme) and the intercept "
        f"{intercept} (ideal: 0; below it, risks are too high).",
        _person("whether missed patients and false alarms are weighed as the clinic weighs them."),
    ]


def _subgroups(groups: list[dict[str, Any]]) -> list[str]:
    if not groups:
        text = "No column of the schema makes subgroups, so that nothing is known of any."
        return ["## Subgroups", text, _person("which groups of patients need to be looked at.")]
    rows = [
        (
            *(_cell(group["column"]), _cell(group["value"])),
            *(_count(group.get(name)) for name in COUNTS),
            *(_metric(group, name) for name in report.OF_SUBGROUPS),
            _verdict(group),
        )
        for group in groups
    ]
    header = ("column", "value", *COUNTS, *map(report.label, report.OF_SUBGROUPS), "")
    text = (
        f"At the operating point. Groups with fewer than {report.FEWEST} events or others are not "
        "measured, nor others from which they could be had by subtraction. AUPRC, PPV, NPV and "
        "Brier score depend on how frequent the outcome is in a group, and those of small groups "
        "are uncertain."
    )
    question = "whether these differences are acceptable, and which groups are not in the data."
    return ["## Subgroups", text, _table(header, rows), *_worst(groups), _person(question)]


def _verdict(group: dict[str, Any]) -> str:
    if group["too_few"]:
        return "too few, or hidden for those"
    return f"worst in {_listed(group['worst'])}" if group["worst"] else ""


def _worst(groups: list[dict[str, Any]]) -> list[str]:
    """For each column, in words: for whom AUROC is lowest and for whom highest."""
    lines = []
    for column in dict.fromkeys(group["column"] for group in groups):
        found = [g for g in groups if g["column"] == column and "auroc" in g]
        low, high = (f(found, key=lambda g: g["auroc"], default=None) for f in (min, max))
        if low is not None and low["auroc"] < high["auroc"]:
            lines.append(
                f"- {_cell(column)}: AUROC is lowest for {_cell(low['value'])} "
                f"({_format_value(low['auroc'])}, 95 % interval {_interval(low, 'auroc')}) and "
                f"highest for {_cell(high['value'])} ({_format_value(high['auroc'])}, "
                f"{_interval(high, 'auroc')})."
            )
    return ["\n".join(lines)] if lines else []


def _importance(importance: dict[str, float]) -> list[str]:
    ordered = sorted(importance.items(), key=lambda item: -item[1])[:SHOWN_COLUMNS]
    rows = [(_cell(name), f"{value:.3g}") for name, value in ordered]
    text = (
        "How much each column moves the model's answer, as the mean absolute contribution. This "
        "says what the model looks at, not what causes the outcome."
    )
    table = _table(("column", "contribution"), rows) if rows else UNKNOWN
    return ["## What the model looks at most", text, table]


def _limits() -> list[str]:
    return [
        "## Limitations",
        "The numbers above hold for data of the kind described above. They do not say how the "
        "model does elsewhere, or whether care gets better with it.",
        _person("known weaknesses, and where the data differs from the patients it is meant for."),
        "## Ethical considerations",
        _person("who may be harmed by a wrong risk, and what is done against it."),
        "## Monitoring",
        _person("what is watched in use, how often and by whom, and when the model is withdrawn."),
        "## Contact",
        _person("who answers for the model, and how to reach them."),
    ]


def _tracing(summary: dict[str, Any]) -> list[str]:
    run = _format_value(summary["run_id"])
    return [
        "## How to trace a prediction",
        "Keep the model's version and the schema's hash with each prediction. They lead to this "
        f"card, and the card to the run: `runs/{run}/config.yaml` says how it was trained, "
        "`record.json` and `train.log` with what and when, `summary.json` what it came to. "
        "Whether model and data are the same ones is told by their hashes: weights "
        f"{_format_value(summary.get('weights_sha256'))}, data "
        f"{_format_value(summary['data'].get('digest'))}.",
    ]


def _of_test(metrics: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix("test/"): value for name, value in metrics.items()}


def _interval(metrics: dict[str, Any], name: str) -> str:
    ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
    return "" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _metric(found: dict[str, Any], name: str) -> str:
    """A metric, or nothing where it cannot be computed."""
    return f"{found[name]:.3f}" if name in found else ""


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _listed(names: Sequence[str]) -> str:
    names = [report.label(name) for name in names]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _person(question: str) -> str:
    """A place that no program may fill."""
    return f"> **To be written by a person:** {question}"


def _format_value(value: Any) -> str:
    """A value as it is shown, or that it is not recorded."""
    if value is None or value == "":
        return UNKNOWN
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else _cell(value)


def _cell(value: Any) -> str:
    """Text that breaks neither a Markdown table nor the page."""
    text = " ".join(str(value).split())
    for sign in "\\|*`[":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
