"""What the model card of risks has besides that of every project, and its place in TRIPOD+AI.

Sections follow Mitchell et al., FAT* 2019; the items are those of TRIPOD+AI (Collins et al., BMJ
385, 2024), which reports of prediction models in medicine are asked to cover.
"""

import csv
from collections.abc import Sequence
from typing import Any, cast

from .. import report
from ..config import Config
from ..data import Visits
from ..datasets.schema import Column, Schema
from ..engine.evaluation import Evaluation
from ..engine.report.card import FOLDER, is_open, read_part
from ..engine.report.html import format_value
from ..engine.report.markdown import escape, table
from ..engine.runs import Summary
from ..objective import risks
from ..preprocessing import Preprocessing

UNKNOWN = "not recorded"
MAX_COLUMNS = 15  # in the table of importance
MAX_VALUES = 12  # of a category that are listed
COUNTS = ("rows", "patients", "events")  # of a subgroup
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


# Items of TRIPOD+AI: number, topic, and the part of the card that has it. A name in lower case is a
# file of ``docs/model_card`` that a person writes; '' is not for a card to say.
TRIPOD_AI = (
    ("1, 2", "title; abstract", ""),
    ("3a, 3b", "context, rationale, intended purpose and users", "intended_use"),
    ("3c", "known health inequalities between groups", "ethics"),
    ("4", "objectives", "intended_use"),
    ("5a, 5b", "sources of the data; dates", "data"),
    ("6a, 6b", "setting; eligibility", "data"),
    ("6c", "treatments that were received", "data"),
    ("7", "data preparation", "Data and splits"),
    ("8a to 8c", "outcome, its assessment", "Schema"),
    ("9a to 9c", "predictors, their assessment", "Columns"),
    ("10", "sample size", "Data and splits"),
    ("11", "missing data", "Columns"),
    ("12a", "use of the data: partitions", "Data and splits"),
    ("12b, 12c", "handling of predictors; model type and building", "Model"),
    ("12d", "heterogeneity between clusters", "Subgroups"),
    ("12e", "measures of performance", "Evaluation"),
    ("12f", "updating: recalibration", "Operating point and calibration"),
    ("12g", "how predictions are calculated", "How to trace a prediction"),
    ("13", "class imbalance", "Operating point and calibration"),
    ("14", "fairness", "Subgroups"),
    ("15", "output of the model, thresholds", "Operating point and calibration"),
    ("16", "differences between development and evaluation", "limits"),
    ("17", "ethical approval", "ethics"),
    ("18a to 18f", "funding, conflicts, protocol, registration, data and code", "contact"),
    ("19", "involvement of patients and the public", "ethics"),
    ("20a to 20c", "participants: flow, characteristics", "Data and splits"),
    ("21", "numbers of participants and events", "Data and splits"),
    ("22", "the model itself, to predict for new persons", "How to trace a prediction"),
    ("23a, 23b", "performance with intervals, also of groups", "Evaluation, Subgroups"),
    ("24", "results of updating", "Operating point and calibration"),
    ("25", "interpretation, also of fairness", "ethics"),
    ("26", "limitations", "limits"),
    ("27a to 27c", "usability: poor inputs, users, next steps", "intended_use"),
)


def describe(evaluation: Evaluation) -> dict[str, str]:
    """Return further parts of the model card: heading -> Markdown.

    Like all reports, they hold aggregates alone.

    Args:
        evaluation: the model of a finished run on its test split.
    """
    preprocessing: Preprocessing = evaluation.model.preprocessing
    visits, config = cast("Visits", evaluation.split), cast("Config", evaluation.config)
    summary = evaluation.summary
    assert summary is not None, "only a finished run gets a card"
    risk = risks(evaluation.outputs)
    groups = report.measure_subgroups(visits, risk, preprocessing.operating_point)
    parts = {
        "Schema": _describe_schema(preprocessing),
        "Data and splits": _describe_data(summary, visits, config),
        "Columns": _describe_columns(summary, preprocessing.schema),
        "Operating point and calibration": _describe_decisions(summary, preprocessing, config),
        "Subgroups": _describe_subgroups(groups),
        "Importance of the columns": _describe_importance(evaluation),
        "How to trace a prediction": _describe_provenance(summary),
        "TRIPOD+AI": _describe_items(),
    }
    return {title: "\n\n".join(blocks) for title, blocks in parts.items()}


def _describe_schema(preprocessing: Preprocessing) -> list[str]:
    schema = preprocessing.schema
    yes = schema.columns[schema.outcome].yes
    rows = [
        ("outcome", f'the risk that "{schema.outcome}" is "{yes}"'),
        ("version of the model", preprocessing.model_version),
        ("hash of the schema", schema.digest),
        ("reviewed by", schema.reviewed_by or "nobody"),
    ]
    return [table(("", ""), rows)]


def _describe_data(summary: Summary, visits: Visits, config: Config) -> list[str]:
    data = summary["data"]
    is_synthetic = True if visits.risk is not None else data.get("generated")
    kind = {True: "synthetic: no real patients", False: "real", None: UNKNOWN}[is_synthetic]
    facts = [("synthetic or real", kind), ("split", _describe_split(config))]
    if config.data.allow:
        allowed = ", ".join(map(str, config.data.allow))
        facts.append(("columns used although they may identify patients", allowed))
    names = ("train", "validation", "test")
    rows = [
        (
            name,
            data.get(name, ""),
            *(_find_fact(data, key, name) for key in ("patients", "prevalence")),
        )
        for name in names
    ]
    return [table(("", ""), facts), table(("split", "rows", "patients", "prevalence"), rows)]


def _find_fact(data: dict[str, Any], key: str, split: str) -> Any:
    facts = data.get(key)
    value = facts.get(split) if isinstance(facts, dict) else None
    return UNKNOWN if value is None else value


def _describe_split(config: Config) -> str:
    text = SPLITS.get(config.data.split, config.data.split)
    if config.data.split == "site" and config.data.test_sites:
        text += f": {config.data.test_sites}"
    if config.data.folds:
        text += f"; fold {config.data.fold} of {config.data.folds} is the test split"
    return text


def _describe_columns(summary: Summary, schema: Schema) -> list[str]:
    missing_rate = summary.get("preprocessing", {}).get("missing_rate", {})
    inputs = {*schema.numbers, *schema.categories}
    rows = [
        (
            *(name, column.kind, column.unit, _describe_values(column)),
            missing_rate.get(name, UNKNOWN),
        )
        for name, column in schema.columns.items()
        if name in inputs
    ]
    header = ("column", "kind", "unit", "plausible range or values", "missing")
    text = (
        "The model's inputs. Rows with a value outside its range are rejected. The share of "
        "missing values is that of the training split."
    )
    return [text, table(header, rows)]


def _describe_values(column: Column) -> str:
    if column.kind == "number":
        return str(column.range)
    if column.kind == "date":
        return "days before the row's time"
    values = column.values or (column.yes, column.no)
    text = ", ".join(map(str, values[:MAX_VALUES]))
    return f"{text} and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else text


def _describe_decisions(
    summary: Summary, preprocessing: Preprocessing, config: Config
) -> list[str]:
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
    recalibration = RECALIBRATION.get(method, method) if method else UNKNOWN
    slope, intercept = (
        _metric(metrics, f"calibration_{name}") or "undefined" for name in ("slope", "intercept")
    )
    return [
        f"Patients with a risk of {point} or more are flagged. {criterion}",
        f"Recalibration: {recalibration}. On the test split the calibration slope is {slope} "
        "(ideal: 1; below it, risks are too extreme) and the intercept is "
        f"{intercept} (ideal: 0; below it, risks are too high).",
    ]


def _describe_subgroups(groups: list[dict[str, Any]]) -> list[str]:
    if not groups:
        text = "The schema defines no subgroups, so the metrics of none are known."
        return [text]
    rows = [
        (
            *(group["column"], group["value"]),
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
    return [text, table(header, rows), *_describe_extremes(groups)]


def _remark(group: dict[str, Any]) -> str:
    if group["too_few"]:
        return "suppressed: too few rows"
    return f"worst in {_join(group['worst'])}" if group["worst"] else ""


def _describe_extremes(groups: list[dict[str, Any]]) -> list[str]:
    """Say for each column which subgroup has the lowest and which the highest AUROC."""
    lines = []
    for column in dict.fromkeys(group["column"] for group in groups):
        column_groups = [g for g in groups if g["column"] == column and "auroc" in g]
        if not column_groups:
            continue
        low, high = (f(column_groups, key=lambda group: group["auroc"]) for f in (min, max))
        if low["auroc"] < high["auroc"]:
            lines.append(
                f"- {escape(column)}: AUROC is lowest for {escape(low['value'])} "
                f"({format_value(low['auroc'])}, 95 % interval {_interval(low, 'auroc')}) and "
                f"highest for {escape(high['value'])} ({format_value(high['auroc'])}, "
                f"{_interval(high, 'auroc')})."
            )
    return ["\n".join(lines)] if lines else []


def _describe_importance(evaluation: Evaluation) -> list[str]:
    with (evaluation.report_dir / report.IMPORTANCE).open(newline="", encoding="utf-8") as file:
        rows = [(row["column"], float(row["mean_contribution"])) for row in csv.DictReader(file)]
    text = (
        "The mean absolute contribution of each column to the log-odds. It describes the model, "
        "not the causes of the outcome."
    )
    return [text, table(("column", "contribution"), rows[:MAX_COLUMNS])]


def _describe_provenance(summary: Summary) -> list[str]:
    run = summary["run_id"]
    return [
        "Keep the model's version and the schema's hash with each prediction. They identify this "
        f"card, and the card identifies the run: `runs/{run}/config.yaml` has its configuration, "
        "`record.json` and `train.log` its code, packages and times, `summary.json` its results. "
        f"Hash of the weights: {summary['weights_sha256']}; of the data: "
        f"{summary['data']['digest']}.",
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


def _describe_items() -> list[str]:
    rows = [(number, topic, _find_place(place)) for number, topic, place in TRIPOD_AI]
    text = f"Where the items are. Those marked as open wait in `{FOLDER.as_posix()}/`."
    return [text, table(("item", "topic", "where"), rows)]


def _find_place(place: str) -> str:
    """Return where the card has an item, or that it is open."""
    if not place:
        return "not in a card"
    if place.islower():
        return f"open: {place}.md" if is_open(read_part(place)) else f"{place}.md"
    return place
