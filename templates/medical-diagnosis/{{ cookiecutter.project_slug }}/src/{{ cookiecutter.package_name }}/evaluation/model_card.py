"""Write the model card: what a model is, how good it is and for whom.

Its sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Numbers come from
the run; facts that are not recorded, and questions that a person must answer, are marked.
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
    from ..engine.runs import Summary
    from ..preprocessing import Preprocessing

UNKNOWN = "**not recorded**"
MAX_COLUMNS = 15  # in the table of importance
MAX_VALUES = 12  # of a category that are listed
COUNTS = ("rows", "patients", "events")  # of a subgroup
PERFORMANCE = (
    *("auroc", "auprc", "brier", "loss", "calibration_slope", "calibration_intercept", "ece"),
    *("sensitivity", "specificity", "ppv", "npv", "flag_rate", "prevalence"),
    "true_risk_correlation",
)
SPLITS = {
    "patient": "random patients; all rows of a patient are in one split",
    "site": "the test split is all rows of the held-out sites",
    "time": "the test split is the latest patients",
    "external": "all rows are in the test split: the model is evaluated on data from elsewhere",
}
RECALIBRATION = {
    "platt": "Platt's (1999): a slope and an intercept, fitted on the validation split",
    "isotonic": "isotonic (Zadrozny & Elkan 2002), fitted on the validation split",
    "none": "none: risks are the network's own",
}


def write(
    path: Path,
    summary: "Summary",
    split: "Visits",
    risk: np.ndarray,
    preprocessing: "Preprocessing",
    importance: dict[str, float],
    config: "Config",
) -> None:
    """Write the model card as Markdown.

    Args:
        path: the file to write.
        summary: of the run. Optional entries: ``data.generated``, ``data.patients`` and
            ``data.prevalence`` by split, ``preprocessing.missing_rate`` by column, and
            ``preprocessing.recalibration``, the method that was applied.
        split: the test split.
        risk: (size,) its calibrated risks.
        preprocessing: of the model, with its schema, operating point and version.
        importance: mean absolute contribution of each column.
        config: of the run.
    """
    parts = [
        [f"# Model card: {_cell(summary['model'])}", f"> **{NOTICE}**"],
        _details(summary, preprocessing),
        _use(preprocessing.schema),
        _data(summary, split, config),
        _columns(summary, preprocessing.schema),
        _performance(summary),
        _decisions(summary, preprocessing, config),
        _subgroups(report.measure_subgroups(split, risk, preprocessing.operating_point)),
        _importance(importance),
        _limits(),
        _provenance(summary),
    ]
    write_text(path, "\n\n".join(block for part in parts for block in part) + "\n")


def _details(summary: "Summary", preprocessing: "Preprocessing") -> list[str]:
    schema = preprocessing.schema
    reviewer = _cell(schema.reviewed_by) if schema.reviewed_by else "**not reviewed**"
    rows = [
        ("model", summary["model"]),
        ("version", preprocessing.model_version),
        ("run", summary["run_id"]),
        ("parameters", summary.get("parameters")),
        ("date of this card", datetime.now(UTC).date().isoformat()),
        ("schema", schema.digest),
    ]
    facts = [(name, _format_value(value)) for name, value in rows]
    return ["## Model details", _table(("", ""), [*facts, ("schema reviewed by", reviewer)])]


def _use(schema: "Schema") -> list[str]:
    yes = schema.columns[schema.outcome].yes
    return [
        "## Intended use",
        f'The model predicts the risk that "{_cell(schema.outcome)}" is "{_cell(yes)}".',
        _question("who uses the risk, when and for which patients, and what follows from it."),
        _question("what the model must not be used for, and for which patients."),
    ]


def _data(summary: "Summary", split: "Visits", config: "Config") -> list[str]:
    data = summary["data"]
    is_synthetic = True if split.risk is not None else data.get("generated")
    kind = {True: "synthetic: no real patients", False: "real", None: UNKNOWN}[is_synthetic]
    facts = [
        ("source", _format_value(data["source"])),
        ("synthetic or real", kind),
        ("split", _describe_split(config)),
        ("rejected rows", _format_value(data.get("unreadable"))),
        ("copies of other rows", _format_value(data.get("duplicates"))),
        ("hash of the data", _format_value(data.get("digest"))),
    ]
    if config.data.allow:
        facts.append(("columns used although they may identify patients", _cell(config.data.allow)))
    test_facts = {
        "patients": report.count_patients(split.patients),
        "prevalence": float(split.targets.mean()),
    }
    rows = [
        (
            name,
            _format_value(data.get(name)),
            *(_split_fact(data, key, name, test_facts) for key in test_facts),
        )
        for name in ("train", "validation", "test")
    ]
    header = ("split", "rows", "patients", "prevalence")
    question = (
        "where, when, from whom and with which consent the data was collected, and whom it lacks."
    )
    return ["## Data", _table(("", ""), facts), _table(header, rows), _question(question)]


def _describe_split(config: "Config") -> str:
    text = SPLITS.get(config.data.split, _cell(config.data.split))
    if config.data.split == "site" and config.data.test_sites:
        text += f": {_cell(config.data.test_sites)}"
    if config.data.folds:
        text += f"; fold {config.data.fold} of {config.data.folds} is the test split"
    return text


def _split_fact(data: dict[str, Any], key: str, split: str, test_facts: dict[str, Any]) -> str:
    """Format a recorded fact of a split; for the test split it can be computed instead."""
    facts = data.get(key)
    value = facts.get(split) if isinstance(facts, dict) else None
    return _format_value(test_facts[key] if value is None and split == "test" else value)


def _columns(summary: "Summary", schema: "Schema") -> list[str]:
    missing_rate = summary.get("preprocessing", {}).get("missing_rate", {})
    inputs = {*schema.numbers, *schema.categories}
    rows = [
        (
            *(_cell(name), column.kind, _cell(column.unit), _describe_values(column)),
            _format_value(missing_rate.get(name)),
        )
        for name, column in schema.columns.items()
        if name in inputs
    ]
    header = ("column", "kind", "unit", "plausible range or values", "missing")
    text = (
        "The model's inputs. Rows with a value outside its range are rejected. The share of "
        "missing values is that of the training split."
    )
    return ["## Columns", text, _table(header, rows)]


def _describe_values(column: "Column") -> str:
    if column.kind == "number":
        return _cell(column.range)
    if column.kind == "date":
        return "days before the row's time"
    values = column.values or (column.yes, column.no)
    text = ", ".join(map(_cell, values[:MAX_VALUES]))
    return f"{text} and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else text


def _performance(summary: "Summary") -> list[str]:
    """Return the test metrics with their intervals, and the baselines."""
    metrics = _drop_prefix(summary["metrics"])
    rows = [
        (report.format_metric(name), _format_value(metrics[name]), _interval(metrics, name))
        for name in PERFORMANCE
        if name in metrics
    ]
    text = (
        "On the test split; undefined metrics are left out. Intervals hold 95 % of the values when "
        "patients are resampled; they say nothing about other hospitals, devices or years."
    )
    table = _table(("metric", "value", "95 % interval"), rows)
    baselines = _baselines(summary, metrics)
    return ["## Performance", text, table, "Simpler models on the same rows:", baselines]


def _baselines(summary: "Summary", metrics: dict[str, float]) -> str:
    baselines = [(row["name"], _drop_prefix(row["metrics"])) for row in summary["baselines"]]
    if not baselines:
        return UNKNOWN
    names = [n for n in PERFORMANCE if any(n in own_metrics for _, own_metrics in baselines)]
    rows = [
        (_cell(name), *(_metric(own_metrics, metric) for metric in names))
        for name, own_metrics in [(f"{summary['model']} (this model)", metrics), *baselines]
    ]
    return _table(("model", *map(report.format_metric, names)), rows)


def _decisions(summary: "Summary", preprocessing: "Preprocessing", config: "Config") -> list[str]:
    """Return the section about operating point and calibration."""
    metrics, model = _drop_prefix(summary["metrics"]), config.model
    criterion = (
        "It has the lowest cost on the validation split, where a missed patient costs as much as "
        f"{model.cost_ratio:g} false alarms."
        if model.cost_ratio is not None
        else f"Of the thresholds with a sensitivity of {model.min_sensitivity:g} on the validation "
        "split, it has the fewest false alarms."
    )
    point = f"{preprocessing.operating_point:.3f}"
    method = summary.get("preprocessing", {}).get("recalibration")
    recalibration = RECALIBRATION.get(method, _cell(method)) if method else UNKNOWN
    slope, intercept = (
        _metric(metrics, f"calibration_{name}") or "undefined" for name in ("slope", "intercept")
    )
    return [
        "## Operating point and calibration",
        f"Patients with a risk of {point} or more are flagged. {criterion}",
        f"Recalibration: {recalibration}. On the test split the calibration slope is {slope} "
        "(ideal: 1; below it, risks are too extreme) and the intercept is "
        f"{intercept} (ideal: 0; below it, risks are too high).",
        _question("whether the costs of missed patients and false alarms are those of the clinic."),
    ]


def _subgroups(groups: list[dict[str, Any]]) -> list[str]:
    if not groups:
        text = "The schema defines no subgroups, so the metrics of none are known."
        return ["## Subgroups", text, _question("which groups of patients must be examined.")]
    rows = [
        (
            *(_cell(group["column"]), _cell(group["value"])),
            *(_count(group.get(name)) for name in COUNTS),
            *(_metric(group, name) for name in report.SUBGROUP_METRICS),
            _remark(group),
        )
        for group in groups
    ]
    header = ("column", "value", *COUNTS, *map(report.format_metric, report.SUBGROUP_METRICS), "")
    text = (
        f"At the operating point. Metrics of groups with fewer than {report.MIN_OUTCOMES} events "
        "or others are suppressed, and those of further groups from which they could be derived by "
        "subtraction. AUPRC, PPV, NPV and Brier score depend on the event rate of a group, and "
        "metrics of small groups are uncertain."
    )
    question = "whether these differences are acceptable, and which groups are not in the data."
    return ["## Subgroups", text, _table(header, rows), *_extremes(groups), _question(question)]


def _remark(group: dict[str, Any]) -> str:
    if group["too_few"]:
        return "suppressed: too few rows"
    return f"worst in {_join(group['worst'])}" if group["worst"] else ""


def _extremes(groups: list[dict[str, Any]]) -> list[str]:
    """Say for each column which subgroup has the lowest and which the highest AUROC."""
    lines = []
    for column in dict.fromkeys(group["column"] for group in groups):
        column_groups = [g for g in groups if g["column"] == column and "auroc" in g]
        if not column_groups:
            continue
        low, high = (f(column_groups, key=lambda group: group["auroc"]) for f in (min, max))
        if low["auroc"] < high["auroc"]:
            lines.append(
                f"- {_cell(column)}: AUROC is lowest for {_cell(low['value'])} "
                f"({_format_value(low['auroc'])}, 95 % interval {_interval(low, 'auroc')}) and "
                f"highest for {_cell(high['value'])} ({_format_value(high['auroc'])}, "
                f"{_interval(high, 'auroc')})."
            )
    return ["\n".join(lines)] if lines else []


def _importance(importance: dict[str, float]) -> list[str]:
    largest = sorted(importance.items(), key=lambda item: -item[1])[:MAX_COLUMNS]
    rows = [(_cell(name), f"{value:.3g}") for name, value in largest]
    text = (
        "The mean absolute contribution of each column to the log-odds. It describes the model, "
        "not the causes of the outcome."
    )
    table = _table(("column", "contribution"), rows) if rows else UNKNOWN
    return ["## Importance of the columns", text, table]


def _limits() -> list[str]:
    return [
        "## Limitations",
        "The numbers above hold for data of the kind described above. They do not show how well "
        "the model works elsewhere, or whether it improves care.",
        _question("known weaknesses, and how the data differs from the intended patients."),
        "## Ethical considerations",
        _question("who may be harmed by a wrong risk, and what prevents it."),
        "## Monitoring",
        _question("what is monitored, how often and by whom, and when the model is withdrawn."),
        "## Contact",
        _question("who is responsible for the model, and how to reach them."),
    ]


def _provenance(summary: "Summary") -> list[str]:
    run = _format_value(summary["run_id"])
    return [
        "## How to trace a prediction",
        "Keep the model's version and the schema's hash with each prediction. They identify this "
        f"card, and the card identifies the run: `runs/{run}/config.yaml` has its configuration, "
        "`record.json` and `train.log` its code, packages and times, `summary.json` its results. "
        f"Hash of the weights: {_format_value(summary.get('weights_sha256'))}; of the data: "
        f"{_format_value(summary['data'].get('digest'))}.",
    ]


def _drop_prefix(metrics: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix("test/"): value for name, value in metrics.items()}


def _interval(metrics: dict[str, Any], name: str) -> str:
    ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
    return "" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _metric(metrics: dict[str, Any], name: str) -> str:
    """Format a metric; '' if it is undefined."""
    return f"{metrics[name]:.3f}" if name in metrics else ""


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _join(names: Sequence[str]) -> str:
    labels = [report.format_metric(name) for name in names]
    return ", ".join(labels[:-1]) + " and " + labels[-1] if len(labels) > 1 else "".join(labels)


def _question(question: str) -> str:
    """Return a paragraph that a person has to replace."""
    return f"> **To be written by a person:** {question}"


def _format_value(value: Any) -> str:
    """Format a value; ``UNKNOWN`` if it is not recorded."""
    if value is None or value == "":
        return UNKNOWN
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else _cell(value)


def _cell(value: Any) -> str:
    """Escape text for a cell of a Markdown table."""
    text = " ".join(str(value).split())
    for character in "\\|*`[":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
