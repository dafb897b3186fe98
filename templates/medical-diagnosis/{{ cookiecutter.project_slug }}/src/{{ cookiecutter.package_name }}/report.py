"""Metrics, tables and figures of risks: for a split, at thresholds, and for subgroups of patients.

All of them are aggregates: neither tables nor figures reveal a single row or patient.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy.special import logit

from .engine.bands import label_values
from .engine.errors import UsageProblem, unknown
from .engine.figures import figure
from .engine.interfaces import HIDDEN, DatasetSplits, Split
from .engine.tables import write_csv
from .engine.weighted_metrics import WeightedMetric
from .evaluation.clinical_metrics import (
    NUM_BINS,
    bootstrap_intervals,
    calibration,
    clip_risk,
    discrimination,
    net_benefit,
    net_benefit_treat_all,
    threshold_metrics,
)
from .evaluation.clinical_metrics import weighted_metrics as weigh
from .objective import risks

if TYPE_CHECKING:
    from .config import Config
    from .data import Visits, VisitSplits
    from .engine.artifact import Artifact
    from .engine.runs import Summary
    from .preprocessing import Preprocessing

BASELINE_METRICS = ("auroc", "auprc", "brier", "calibration_slope", "ece")
SUBGROUP_METRICS = (
    *("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece"),
    *("calibration_slope", "calibration_intercept"),
)
IDEAL = {"brier": 0.0, "ece": 0.0, "calibration_slope": 1.0, "calibration_intercept": 0.0}
LABELS = {
    **{"auroc": "AUROC", "auprc": "AUPRC", "ppv": "PPV", "npv": "NPV", "ece": "ECE"},
    "brier": "Brier score",
}
THRESHOLD_METRICS = ("sensitivity", "specificity", "ppv", "npv", "flag_rate")
MIN_OUTCOMES = 10  # events, and as many others, from which a subgroup is measured
SUBGROUP_DRAWS = 200  # bootstrap samples for the interval of a subgroup
MIN_BIN_ROWS = 30  # of a point of the calibration curve
MAX_POINTS = 500  # about, of ROC and precision-recall curves
THRESHOLDS = (*(i / 100 for i in range(1, 10)), *(i / 20 for i in range(2, 20)), 0.99)
MISSING = "(missing)"
IMPORTANCE = "importance.csv"  # in the folder of the report
MAX_COLUMNS = 20  # in the figure of importance
BLUE, GREY, ORANGE = "#1d4ed8", "#7a8ba3", "#c2410c"


def measure(split: Split, outputs: np.ndarray, preprocessing: "Preprocessing") -> dict[str, float]:
    """Compute the metrics of a split, see ``clinical_metrics``.

    Args:
        split: the ``Visits`` that were predicted.
        outputs: (size, 1) of the model.
        preprocessing: of the model, with its operating point.

    Returns:
        Metrics by name; those that are undefined are missing. ``…_low`` and ``…_high`` are
        bootstrap intervals; ``sensitivity`` to ``flag_rate`` are at the operating point.
    """
    visits = cast("Visits", split)
    truth, risk = visits.targets, risks(outputs)
    metrics = discrimination(truth, risk)
    metrics |= bootstrap_intervals(truth, risk, visits.patients, ("auroc", "auprc"))
    metrics |= threshold_metrics(truth, risk, preprocessing.operating_point)
    metrics |= calibration(truth, risk)
    metrics["prevalence"] = float(truth.mean())
    if visits.risk is not None and np.ptp(risk) > 0 and np.ptp(visits.risk) > 0:
        metrics["true_risk_correlation"] = float(np.corrcoef(risk, visits.risk)[0, 1])
    order = (
        *("auroc", "auroc_low", "auroc_high", "auprc", "auprc_low", "auprc_high"),
        *THRESHOLD_METRICS,
        *("brier", "calibration_slope", "calibration_intercept", "ece", "loss"),
        *("prevalence", "true_risk_correlation"),
    )
    return {name: metrics[name] for name in order if name in metrics}


def baseline_row(name: str, split: "Visits", risk: np.ndarray) -> dict[str, Any]:
    """Return name and test metrics of a baseline.

    Args:
        name: of the baseline.
        split: the test split.
        risk: (size,) its risks.
    """
    metrics = discrimination(split.targets, risk) | calibration(split.targets, risk)
    metrics = {f"test/{key}": metrics[key] for key in BASELINE_METRICS if key in metrics}
    return {"name": name, "metrics": metrics, "outputs": logit(clip_risk(risk))[:, None]}


def weighted_metrics(
    split: Split, outputs: np.ndarray, preprocessing: "Preprocessing"
) -> dict[str, WeightedMetric]:
    """Return AUROC, AUPRC and Brier score of weighted rows.

    Args:
        split: the ``Visits`` that were predicted.
        outputs: (size, 1) of the model.
        preprocessing: part of the engine's interface.
    """
    truth, risk = split.targets, risks(outputs)

    def compute(name: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda weights: weigh(truth, risk, weights)[name]

    return {
        "auroc": WeightedMetric(compute("auroc")),
        "auprc": WeightedMetric(compute("auprc")),
        "brier": WeightedMetric.mean((risk - truth) ** 2, lower_is_better=True),
    }


def slices(split: Split, preprocessing: "Preprocessing") -> dict[str, np.ndarray]:
    """Return the subgroups of the schema and the sites as columns (size,) to slice by.

    Args:
        split: the ``Visits``.
        preprocessing: part of the engine's interface.

    Returns:
        Subgroups with too few events or others are merged into one of which nothing is said.
    """
    visits = cast("Visits", split)
    columns = {}
    for name, values in _subgroup_columns(visits).items():
        hidden = _suppress_values(visits.targets, values)
        columns[name] = np.where(np.isin(values, list(hidden)), HIDDEN, values)
    return columns


def read_columns(split: Split, names: Sequence[str], config: "Config") -> dict[str, np.ndarray]:
    """Return inputs of the model as columns (size,) to slice by, numbers in four bands.

    Args:
        split: the ``Visits``.
        names: of columns of the schema.
        config: part of the engine's interface.

    Returns:
        Text; values with too few events or others are merged into one of which nothing is said.

    Raises:
        UsageProblem: the schema has no such input, or it defines a subgroup already.
    """
    visits = cast("Visits", split)
    schema, columns = visits.schema, {}
    for name in names:
        if name in visits.subgroups:
            # Two different cuts of a column would reveal the rows between them.
            raise UsageProblem(
                f"data.slice_columns: {name!r} defines a subgroup, and is sliced by that already."
            )
        if name in schema.numbers:
            values, _ = label_values(visits.numbers[:, schema.numbers.index(name)])
        elif name in schema.categories:
            texts = visits.categories[:, schema.categories.index(name)].astype(str)
            values, _ = label_values(texts)
        else:
            raise unknown("data.slice_columns", name, (*schema.numbers, *schema.categories))
        hidden = _suppress_values(visits.targets, values)
        columns[name] = np.where(np.isin(values, list(hidden)), HIDDEN, values)
    return columns


def draw(
    folder: Path,
    name: str,
    split: Split,
    outputs: np.ndarray,
    preprocessing: "Preprocessing",
) -> None:
    """Write figures and tables about a split: ``NAME_*.svg`` and ``NAME_*.csv``.

    Args:
        folder: where to write them; it is created.
        name: of the split, with which all file names start.
        split: the ``Visits`` that were predicted.
        outputs: (size, 1) of the model.
        preprocessing: of the model, with its operating point.
    """
    truth, risk, threshold = split.targets, risks(outputs), preprocessing.operating_point
    _draw_roc(folder / f"{name}_roc.svg", truth, risk, threshold)
    _draw_calibration(folder / f"{name}_calibration.svg", truth, risk)
    _draw_decision(folder / f"{name}_decision.svg", truth, risk, threshold)
    _write_thresholds(folder / f"{name}_threshold.csv", truth, risk, threshold)
    groups = measure_subgroups(cast("Visits", split), risk, threshold)
    _write_subgroups(folder / f"{name}_subgroups.csv", groups)
    if groups:
        overall = _subgroup_metrics(truth, risk, threshold)
        _draw_subgroups(folder / f"{name}_subgroups.svg", groups, overall)


def write_report(
    folder: Path,
    model: "Artifact",
    data: DatasetSplits,
    summary: "Summary",
    config: "Config",
) -> None:
    """Write ``importance.csv`` and ``importance.svg``.

    Args:
        folder: where to write them.
        model: the finalized model.
        data: the ``VisitSplits`` of the run.
        summary: of the run.
        config: of the run.
    """
    from .evaluation import attributions

    split = cast("VisitSplits", data).test
    importance = attributions.importance(model, model.preprocessing.transform(split))
    write_csv(folder / IMPORTANCE, ["column", "mean_contribution"], importance.items())
    _draw_importance(folder / "importance.svg", importance)


def measure_subgroups(split: "Visits", risk: np.ndarray, threshold: float) -> list[dict[str, Any]]:
    """Compute the metrics of each subgroup and each site.

    Subgroups with fewer than 10 events or 10 others are marked ``too_few``, and as many further
    ones of the column as it takes so that subtraction from all rows does not reveal them. Their
    metrics and events are suppressed, and they are never the worst.

    Args:
        split: the rows with their subgroups and sites.
        risk: (size,) of the rows.
        threshold: from which rows are flagged.

    Returns:
        For each subgroup ``column``, ``value``, ``rows``, ``patients`` (None if unknown) and
        ``too_few``; unless those are too few also ``events``, ``SUBGROUP_METRICS``, the interval of
        ``auroc``, and ``worst``, the metrics in which it is the worst of its column.
    """
    groups = []
    for column, values in _subgroup_columns(split).items():
        suppressed = _suppress_values(split.targets, values)
        column_groups = [
            {"column": column, "value": value}
            | _measure_subgroup(split, risk, threshold, values == value, value in suppressed)
            for value in sorted(set(values), key=_natural_key)
        ]
        _mark_worst([group for group in column_groups if not group["too_few"]])
        groups += column_groups
    return groups


def _subgroup_columns(split: "Visits") -> dict[str, np.ndarray]:
    """Return the columns (size,) that define subgroups, the site among them if it is known."""
    columns = dict(split.subgroups)
    if (split.sites != "").any():
        columns.setdefault("site", split.sites)
    return {
        name: np.where(values == "", MISSING, values).astype(str)
        for name, values in columns.items()
    }


def count_patients(patients: np.ndarray) -> int | None:
    """Count the distinct patients (size,); None if the patient of a row is unknown."""
    return len(set(patients)) if (patients != "").all() else None


def format_metric(name: str) -> str:
    """Return the label of a metric, such as "AUROC"."""
    return LABELS.get(name, name.replace("_", " "))


def _suppress_values(truth: np.ndarray, values: np.ndarray) -> set[str]:
    """Return the values of a column whose metrics are suppressed.

    Readers know the totals of all rows, so they can subtract the published values. Therefore, after
    the values with too few events or others, the smallest remaining ones are suppressed until there
    are at least two, and together they have enough.

    Args:
        truth: (size,) 1 where the outcome happened, else 0.
        values: (size,) the column's text.
    """
    counts: dict[str, np.ndarray] = {}  # value -> events and others
    for value in np.unique(values):
        outcomes = truth[values == value]
        counts[value] = np.array([outcomes.sum(), len(outcomes) - outcomes.sum()])
    rest = sorted(counts, key=lambda value: (counts[value].min(), value))
    suppressed: list[str] = []
    total = np.zeros(2)
    while rest and (
        counts[rest[0]].min() < MIN_OUTCOMES
        or len(suppressed) == 1
        or (suppressed and total.min() < MIN_OUTCOMES)
    ):
        suppressed.append(rest.pop(0))
        total += counts[suppressed[-1]]
    return set(suppressed)


def _measure_subgroup(
    split: "Visits", risk: np.ndarray, threshold: float, mask: np.ndarray, is_suppressed: bool
) -> dict[str, Any]:
    truth, patients = split.targets[mask], split.patients[mask]
    group: dict[str, Any] = {"rows": len(truth), "patients": count_patients(patients)}
    group["too_few"] = is_suppressed
    if is_suppressed:
        return group
    group |= {
        "events": int(truth.sum()),
        **_subgroup_metrics(truth, risk[mask], threshold),
        "worst": [],
    }
    return group | bootstrap_intervals(truth, risk[mask], patients, ("auroc",), SUBGROUP_DRAWS)


def _subgroup_metrics(truth: np.ndarray, risk: np.ndarray, threshold: float) -> dict[str, float]:
    metrics = discrimination(truth, risk) | threshold_metrics(truth, risk, threshold)
    metrics |= calibration(truth, risk)
    return {name: metrics[name] for name in SUBGROUP_METRICS if name in metrics}


def _mark_worst(groups: list[dict[str, Any]]) -> None:
    """Add to ``worst`` of a column's groups the metrics farthest from their ideal value."""
    for name in SUBGROUP_METRICS:
        ideal = IDEAL.get(name, 1.0)
        distances = [abs(group[name] - ideal) for group in groups if name in group]
        if not distances or min(distances) == max(distances):
            continue
        for group in groups:
            if name in group and abs(group[name] - ideal) == max(distances):
                group["worst"].append(name)


def _natural_key(value: str) -> tuple[bool, list[float], str]:
    """Return a sort key: "below 40 years" before "40 to 60 years", and missing values last."""
    return value == MISSING, [float(n) for n in re.findall(r"\d+(?:\.\d+)?", value)], value


def _write_subgroups(path: Path, groups: list[dict[str, Any]]) -> None:
    header = ["column", "value", "rows", "patients", "events", *SUBGROUP_METRICS]
    header = [*header, "auroc_low", "auroc_high", "worst", "too_few"]
    rows = (
        group | {"worst": " ".join(group.get("worst", [])), "too_few": _mark(group["too_few"])}
        for group in groups
    )
    write_csv(path, header, ([_cell(row.get(name, "")) for name in header] for row in rows))


def _write_thresholds(path: Path, truth: np.ndarray, risk: np.ndarray, threshold: float) -> None:
    """Write the metrics at many thresholds, the operating point among them.

    Cells are empty where a threshold separates so few rows that they would reveal single ones.
    """
    rows = []
    for at in sorted({*THRESHOLDS, threshold}):
        is_suppressed = _separates_few(risk, at)
        metrics = {} if is_suppressed else threshold_metrics(truth, risk, at)
        if at < 1 and not is_suppressed:
            metrics["net_benefit"] = float(net_benefit(truth, risk, np.array([at]))[0])
        values = [metrics.get(name, "") for name in (*THRESHOLD_METRICS, "net_benefit")]
        rows.append([_cell(at), *map(_cell, values), _mark(at == threshold)])
    write_csv(path, ["threshold", *THRESHOLD_METRICS, "net_benefit", "operating_point"], rows)


def _separates_few(risk: np.ndarray, threshold: float) -> bool:
    num_flagged = int(np.count_nonzero(risk >= threshold))
    return 0 < min(num_flagged, len(risk) - num_flagged) < MIN_OUTCOMES


def merge_risks(risk: np.ndarray, threshold: float) -> np.ndarray:
    """Replace each risk by the lowest of its bin, so that a curve has no step of single rows.

    Bins have at least 10 rows (in all fewer rows there is one bin), and of many rows more. Equal
    risks share a bin, and none reaches across the threshold unless that separates fewer than 10.

    Args:
        risk: (size,).
        threshold: from which rows are flagged.
    """
    values = np.sort(risk)
    least = max(MIN_OUTCOMES, len(values) // MAX_POINTS)
    below = int(np.count_nonzero(risk < threshold))
    first = 0 if _separates_few(risk, threshold) else below  # of those that are flagged
    starts: list[int] = []
    for start, end in ((0, first), (first, len(values))):
        while start < end:
            starts.append(start)
            highest = values[min(start + least, end) - 1]
            start = int(np.searchsorted(values, highest, side="right"))
            start = start if end - start >= least else end
    lowest = values[np.array(starts)]  # (bins,)
    return lowest[np.searchsorted(lowest, risk, side="right") - 1]


def _mark(value: bool) -> str:
    return "yes" if value else ""


def _cell(value: Any) -> Any:
    return f"{value:.6f}" if isinstance(value, float) else value


def _draw_roc(path: Path, truth: np.ndarray, risk: np.ndarray, threshold: float) -> None:
    """Draw ROC and precision-recall curves side by side, with the operating point.

    Their steps are of at least 10 rows, as an SVG can be read exactly.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    # RocCurveDisplay would set labels, limits, aspect and a legend that are all replaced here.
    areas, metrics = discrimination(truth, risk), threshold_metrics(truth, risk, threshold)
    merged, is_suppressed = merge_risks(risk, threshold), _separates_few(risk, threshold)
    text = (
        "Sensitivity and specificity, and precision and recall, in steps of at least 10 rows. The "
    )
    text += "point is the operating point."
    with figure(path, 9.2, 4.4, description=text, ncols=2) as (roc_axis, pr_axis):
        if areas:
            false_rate, true_rate, _ = roc_curve(truth, merged)
            label = f"AUROC {areas['auroc']:.3f}"
            roc_axis.plot(false_rate, true_rate, color=BLUE, label=label)
            precision, recall, _ = precision_recall_curve(truth, merged)
            label = f"AUPRC {areas['auprc']:.3f}"
            pr_axis.step(recall, precision, color=BLUE, where="post", label=label)
        if areas and not is_suppressed:
            _draw_point(roc_axis, metrics, 1 - metrics["specificity"], metrics["sensitivity"])
            _draw_point(pr_axis, metrics, metrics["sensitivity"], metrics.get("ppv"))
        roc_axis.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
        pr_axis.axhline(truth.mean(), color=GREY, linestyle=":", label="chance")
        roc_axis.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", ylim=(0, 1.03))
        pr_axis.set(xlabel="sensitivity (recall)", ylabel="PPV (precision)", ylim=(0, 1.03))
        pr_axis.set_title("Precision and recall")
        roc_axis.legend(frameon=False, loc="lower right")
        pr_axis.legend(frameon=False, loc="lower left")


def _draw_point(axis: Any, metrics: dict[str, float], x: float, y: float | None) -> None:
    """Draw the operating point; nothing if y is undefined."""
    if y is not None:
        label = f"operating point, {metrics['flag_rate']:.0%} flagged"
        axis.plot(x, y, "o", color=ORANGE, markersize=8, label=label)


def _draw_calibration(path: Path, truth: np.ndarray, risk: np.ndarray) -> None:
    """Draw event rate against risk in bins of about equal size, and below a histogram of risks."""
    mean, rate, low, high = _calibration_curve(truth, risk)
    limit = min(1.0, np.ceil(20 * max(mean.max(), high.max())) / 20 + 0.05)
    ratios = {"height_ratios": [3, 1]}
    text = (
        "Observed share of events against predicted risk, in bins of about as many rows each. On "
    )
    text += "the diagonal, risks are right; below, how many rows have which risk."
    with figure(path, 5.6, 6.4, description=text, nrows=2, sharex=True, gridspec_kw=ratios) as (
        curve,
        histogram,
    ):
        curve.plot([0, limit], [0, limit], color=GREY, linestyle=":", label="perfect")
        errors = (np.maximum(rate - low, 0), np.maximum(high - rate, 0))
        curve.errorbar(mean, rate, errors, color=BLUE, marker="o", capsize=2, label="model")
        curve.set(xlim=(0, limit), ylim=(0, limit), ylabel="event rate")
        curve.set_title("Calibration (bins of equal size, 95 % intervals)")
        curve.legend(frameon=False, loc="upper left")
        bins = np.linspace(0, limit, 26)
        capped = np.minimum(risk, limit)
        bin_of = np.digitize(capped, bins[1:-1])
        # Bars of few rows are left out: they are as good as single ones.
        is_shown = np.bincount(bin_of)[bin_of] >= MIN_OUTCOMES
        parts = [capped[(truth == value) & is_shown] for value in (0, 1)]
        labels = ["without", "with the outcome"]
        histogram.hist(parts, bins, stacked=True, color=[GREY, ORANGE], label=labels)
        note = " (higher ones in the last bar)" if risk.max() > limit else ""
        note += "" if is_shown.all() else f", bars of {MIN_OUTCOMES} rows and more"
        histogram.set(xlabel=f"risk{note}", ylabel="rows")
        histogram.legend(frameon=False)


def _calibration_curve(truth: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Return mean risk, event rate and its 95 % interval (Wilson, 1927) of each bin: (4, bins).

    Equal risks share a bin, so bins may differ in size. ``sklearn.calibration_curve`` neither drops
    to fewer bins for few rows nor gives intervals.
    """
    bins = int(np.clip(len(risk) // MIN_BIN_ROWS, 1, NUM_BINS))
    edges = np.unique(np.quantile(risk, np.arange(1, bins) / bins))
    indices = np.unique(np.searchsorted(edges, risk, side="right"), return_inverse=True)[1]
    rows = np.bincount(indices)
    mean, rate = np.bincount(indices, risk) / rows, np.bincount(indices, truth) / rows
    square = 1.96**2
    centre = (rate + square / (2 * rows)) / (1 + square / rows)
    half = np.sqrt(square * rate * (1 - rate) / rows + (square / (2 * rows)) ** 2)
    half /= 1 + square / rows
    return np.stack([mean, rate, centre - half, centre + half])


def _draw_decision(path: Path, truth: np.ndarray, risk: np.ndarray, threshold: float) -> None:
    """Draw net benefit over thresholds up to the 99th percentile of the risk."""
    highest = float(np.clip(max(np.quantile(risk, 0.99), 1.1 * threshold), 0.05, 0.99))
    thresholds = np.linspace(0, highest, 200)
    model = net_benefit(truth, merge_risks(risk, threshold), thresholds)
    treat_all = net_benefit_treat_all(truth, thresholds)
    top = max(model.max(), treat_all.max(), 0.01)
    text = (
        "Net benefit of acting on the model, of treating everybody and of treating nobody, by the "
    )
    text += "threshold at which one would act."
    with figure(path, 6.4, 4.2, description=text) as axis:
        axis.plot(thresholds, treat_all, color=GREY, label="treat all")
        axis.axhline(0, color="black", linewidth=1, label="treat none")
        axis.plot(thresholds, model, color=BLUE, linewidth=2, label="model")
        if threshold < highest:
            axis.axvline(threshold, color=ORANGE, linestyle=":", label="operating point")
        axis.set(xlim=(0, highest), ylim=(-0.15 * top, 1.1 * top))
        axis.set(xlabel="threshold of the risk", ylabel="net benefit", title="Decision curve")
        axis.legend(frameon=False)


def _draw_subgroups(path: Path, groups: list[dict[str, Any]], overall: dict[str, float]) -> None:
    """Draw four metrics of each subgroup; a line shows the metric of all rows."""
    metrics = ("auroc", "sensitivity", "specificity", "ece")
    heights = np.arange(len(groups))[::-1]
    names = [f"{g['column']}: {g['value']} ({g['rows']})" for g in groups]
    layout: dict[str, Any] = {"ncols": len(metrics), "sharey": True}
    text = "Metrics of each subgroup beside those of all rows (dotted)."
    with figure(path, 10.4, 0.32 * len(groups) + 1.8, description=text, **layout) as axes:
        for axis, name in zip(axes, metrics, strict=True):
            if name in overall:
                axis.axvline(overall[name], color=GREY, linestyle=":")
            for height, group in zip(heights, groups, strict=True):
                _draw_subgroup(axis, height, group, name)
            left = min([0.5, *(g["auroc_low"] for g in groups if "auroc_low" in g)])
            limits = {"auroc": (left - 0.02, 1.02), "ece": (0, None)}.get(name, (-0.03, 1.03))
            axis.set(title=format_metric(name), xlim=limits)
            axis.set_ylim(-0.7, max(len(groups), 1) - 0.3)
        axes[0].set_yticks(heights, names)
        axes[0].figure.supxlabel(
            "dotted: all rows; orange: worst of its column; shaded: too few rows; "
            "line: 95 % interval",
            fontsize=8,
        )


def _draw_subgroup(axis: Any, height: int, group: dict[str, Any], name: str) -> None:
    if group["too_few"]:
        axis.axhspan(height - 0.4, height + 0.4, color="#eef1f5")
    if name not in group:
        return
    color = ORANGE if name in group["worst"] else BLUE
    if f"{name}_low" in group:
        ends = [group[f"{name}_low"], group[f"{name}_high"]]
        axis.plot(ends, [height, height], color=color, linewidth=1)
    axis.plot(group[name], height, "o", color=color)


def _draw_importance(path: Path, importance: dict[str, float]) -> None:
    largest = dict(list(importance.items())[:MAX_COLUMNS])
    text = "Mean absolute contribution of each column to the log-odds."
    with figure(path, 6.4, 0.3 * len(largest) + 1.4, description=text) as axis:
        axis.barh(list(largest)[::-1], list(largest.values())[::-1], color=BLUE, height=0.6)
        axis.set(xlabel="mean absolute contribution (log-odds)", title="Importance of the columns")
