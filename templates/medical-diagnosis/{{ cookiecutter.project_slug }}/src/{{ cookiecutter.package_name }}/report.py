"""How good risks are: over a whole split, at the operating point, and for groups of patients.

Tables and figures hold aggregates alone, and nothing about a single row or patient.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine.figures import figure
from .engine.tables import write_csv
from .evaluation import clinical_metrics as clinical
from .objective import risks

if TYPE_CHECKING:
    from .config import Config
    from .data import Visits
    from .engine.artifact import Artifact
    from .engine.interfaces import DatasetSplits, Preprocessing

OF_BASELINES = ("auroc", "auprc", "brier", "calibration_slope", "ece")
OF_SUBGROUPS = (
    *("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece"),
    *("calibration_slope", "calibration_intercept"),
)
IDEAL = {"brier": 0.0, "ece": 0.0, "calibration_slope": 1.0, "calibration_intercept": 0.0}
LABELS = {
    **{"auroc": "AUROC", "auprc": "AUPRC", "ppv": "PPV", "npv": "NPV", "ece": "ECE"},
    "brier": "Brier score",
}
DECISIONS = ("sensitivity", "specificity", "ppv", "npv", "flagged")
FEWEST = 10  # events, and as many others, from which a subgroup is measured
RESAMPLED = 200  # draws for the interval of a subgroup
PER_BIN = 30  # rows at least in a point of the calibration curve
THRESHOLDS = (*(i / 100 for i in range(1, 10)), *(i / 20 for i in range(2, 20)), 0.99)
MISSING = "(missing)"
SHOWN_COLUMNS = 20
BLUE, GREY, ORANGE = "#1d4ed8", "#7a8ba3", "#c2410c"


def measure(
    split: "Visits", outputs: np.ndarray, preprocessing: "Preprocessing"
) -> dict[str, float]:
    """Metrics of outputs (size, 1), see ``clinical_metrics``, as far as they can be computed.

    Between ``…_low`` and ``…_high`` are 95 % of the values when patients are drawn anew.
    ``sensitivity``, ``specificity``, ``ppv``, ``npv`` and ``flagged`` are at the operating point.
    """
    truth, risk = split.targets, risks(outputs)
    found = clinical.discrimination(truth, risk)
    found |= clinical.intervals(truth, risk, split.patients, ("auroc", "auprc"))
    found |= clinical.at_threshold(truth, risk, preprocessing.operating_point)
    found |= clinical.calibration(truth, risk)
    found["prevalence"] = float(truth.mean())
    if split.risk is not None and np.ptp(risk) > 0 and np.ptp(split.risk) > 0:
        found["true_risk_correlation"] = float(np.corrcoef(risk, split.risk)[0, 1])
    names = (
        *("auroc", "auroc_low", "auroc_high", "auprc", "auprc_low", "auprc_high", *DECISIONS),
        *("brier", "calibration_slope", "calibration_intercept", "ece", "loss"),
        *("prevalence", "true_risk_correlation"),
    )
    return {name: found[name] for name in names if name in found}


def baseline_row(name: str, split: "Visits", risk: np.ndarray) -> dict[str, Any]:
    """A baseline's name and test metrics.

    Args:
        risk: (size,) its risks.
    """
    found = clinical.discrimination(split.targets, risk)
    found |= clinical.calibration(split.targets, risk)
    return {"name": name, "metrics": {f"test/{n}": found[n] for n in OF_BASELINES if n in found}}


def draw(
    folder: Path,
    name: str,
    split: "Visits",
    outputs: np.ndarray,
    preprocessing: "Preprocessing",
) -> None:
    """Write ``NAME_*.png`` and ``NAME_*.csv`` about a split to the folder."""
    truth, risk, threshold = split.targets, risks(outputs), preprocessing.operating_point
    _draw_roc(folder / f"{name}_roc.png", truth, risk, threshold)
    _draw_calibration(folder / f"{name}_calibration.png", truth, risk)
    _draw_decision(folder / f"{name}_decision.png", truth, risk, threshold)
    _write_thresholds(folder / f"{name}_threshold.csv", truth, risk, threshold)
    groups = subgroups(split, risk, threshold)
    _write_subgroups(folder / f"{name}_subgroups.csv", groups)
    if groups:
        whole = subgroup_metrics(truth, risk, threshold)
        _draw_subgroups(folder / f"{name}_subgroups.png", groups, whole)


def write_report(
    folder: Path,
    model: "Artifact",
    data: "DatasetSplits",
    summary: dict[str, Any],
    config: "Config",
) -> None:
    """Write ``importance.csv``, ``importance.png`` and ``MODEL_CARD.md`` to the folder."""
    from .evaluation import attributions as reasons
    from .evaluation import model_card as card

    split = data.test
    sizes = reasons.importance(model, model.preprocessing.of(split))
    write_csv(folder / "importance.csv", ["column", "mean_contribution"], sizes.items())
    _draw_importance(folder / "importance.png", sizes)
    risk = risks(model.predict_split(split, config.data.batch_size))
    file = folder / "MODEL_CARD.md"
    card.write(file, summary, split, risk, model.preprocessing, sizes, config)


def subgroups(split: "Visits", risk: np.ndarray, threshold: float) -> list[dict[str, Any]]:
    """How good risks (size,) are for each value of the columns that make subgroups, and each site.

    Values with fewer than 10 events or 10 others are marked ``too_few``, and as many more of the
    column as it takes to keep them from being found by subtraction from all rows. Of them neither
    metrics nor events are told, so that nobody is singled out; they are never the worst.

    Returns:
        ``column``, ``value``, ``rows``, ``patients`` (None if unknown), ``too_few``, and of the
        others ``events``, the metrics, the interval of ``auroc`` and ``worst``: the metrics in
        which the value is the worst of its column.
    """
    columns = dict(split.subgroups)
    if (split.sites != "").any():
        columns.setdefault("site", split.sites)
    groups = []
    for column, values in columns.items():
        values = np.where(values == "", MISSING, values).astype(str)
        names = sorted(set(values), key=_natural)
        hidden = _suppress_values(split.targets, values)
        found = [
            {"column": column, "value": name}
            | _subgroup(split, risk, threshold, values == name, name in hidden)
            for name in names
        ]
        _mark_worst([group for group in found if not group["too_few"]])
        groups += found
    return groups


def subgroup_metrics(truth: np.ndarray, risk: np.ndarray, threshold: float) -> dict[str, float]:
    """The metrics of ``OF_SUBGROUPS`` of some rows, as far as they can be computed."""
    found = clinical.discrimination(truth, risk) | clinical.at_threshold(truth, risk, threshold)
    found |= clinical.calibration(truth, risk)
    return {name: found[name] for name in OF_SUBGROUPS if name in found}


def patient_count(patients: np.ndarray) -> int | None:
    """How many patients (size,) rows belong to; None unless it is known of each row."""
    return len(set(patients)) if (patients != "").all() else None


def label(metric: str) -> str:
    """A metric's name as it is read."""
    return LABELS.get(metric, metric.replace("_", " "))


def _suppress_values(truth: np.ndarray, values: np.ndarray) -> set[str]:
    """Values (size,) of a column of which nothing is told.

    Those that have too few events or others; then the smallest of the rest, until there are two at
    least, and together enough. For all rows less the values that are told is what is hidden.
    """
    counts = {}  # events, and others
    for value in np.unique(values):
        of_value = truth[values == value]
        counts[value] = np.array([of_value.sum(), len(of_value) - of_value.sum()])
    rest = sorted(counts, key=lambda value: (counts[value].min(), value))
    hidden: list[str] = []
    while rest and (
        counts[rest[0]].min() < FEWEST
        or len(hidden) == 1
        or (hidden and sum(counts[value] for value in hidden).min() < FEWEST)
    ):
        hidden.append(rest.pop(0))
    return set(hidden)


def _subgroup(
    split: "Visits", risk: np.ndarray, threshold: float, mask: np.ndarray, hidden: bool
) -> dict[str, Any]:
    truth, patients = split.targets[mask], split.patients[mask]
    group = {"rows": len(truth), "patients": patient_count(patients), "too_few": hidden}
    if hidden:
        return group
    group |= {
        "events": int(truth.sum()),
        **subgroup_metrics(truth, risk[mask], threshold),
        "worst": [],
    }
    return group | clinical.intervals(truth, risk[mask], patients, ("auroc",), RESAMPLED)


def _mark_worst(groups: list[dict[str, Any]]) -> None:
    """Name the metrics in which each of a column's values is the worst; none if all are alike."""
    for name in OF_SUBGROUPS:
        off = [abs(group[name] - IDEAL.get(name, 1.0)) for group in groups if name in group]
        if not off or min(off) == max(off):
            continue
        for group in groups:
            if name in group and abs(group[name] - IDEAL.get(name, 1.0)) == max(off):
                group["worst"].append(name)


def _natural(value: str) -> tuple[bool, list[float], str]:
    """A key by which "under 40 years" comes before "40 to 60 years", and what is missing last."""
    return value == MISSING, [float(n) for n in re.findall(r"\d+(?:\.\d+)?", value)], value


def _write_subgroups(path: Path, groups: list[dict[str, Any]]) -> None:
    header = ["column", "value", "rows", "patients", "events", *OF_SUBGROUPS]
    header = [*header, "auroc_low", "auroc_high", "worst", "too_few"]
    shown = (
        group | {"worst": " ".join(group.get("worst", [])), "too_few": _yes(group["too_few"])}
        for group in groups
    )
    write_csv(path, header, ([_cell(group.get(name, "")) for name in header] for group in shown))


def _write_thresholds(path: Path, truth: np.ndarray, risk: np.ndarray, threshold: float) -> None:
    """What decisions at many thresholds come to; the operating point stands among them.

    Cells are empty where a threshold parts off so few rows that they would tell of single ones.
    """
    rows = []
    for at in sorted({*THRESHOLDS, threshold}):
        flagged = np.count_nonzero(risk >= at)
        few = 0 < min(flagged, len(risk) - flagged) < FEWEST
        found = {} if few else clinical.at_threshold(truth, risk, at)
        if at < 1 and not few:
            found["net_benefit"] = float(clinical.net_benefit(truth, risk, np.array([at]))[0])
        values = [found.get(name, "") for name in (*DECISIONS, "net_benefit")]
        rows.append([_cell(at), *map(_cell, values), _yes(at == threshold)])
    write_csv(path, ["threshold", *DECISIONS, "net_benefit", "operating_point"], rows)


def _yes(marked: bool) -> str:
    return "yes" if marked else ""


def _cell(value: Any) -> Any:
    return f"{value:.6f}" if isinstance(value, float) else value


def _draw_roc(path: Path, truth: np.ndarray, risk: np.ndarray, threshold: float) -> None:
    """ROC and precision-recall curves side by side, with the operating point."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    found, at = clinical.discrimination(truth, risk), clinical.at_threshold(truth, risk, threshold)
    with figure(path, 9.2, 4.4, ncols=2) as (roc, recall):
        if found:
            false, true, _ = roc_curve(truth, risk)
            roc.plot(false, true, color=BLUE, label=f"AUROC {found['auroc']:.3f}")
            _mark(roc, at, (1 - at["specificity"], at["sensitivity"]))
            precision, reached, _ = precision_recall_curve(truth, risk)
            text = f"AUPRC {found['auprc']:.3f}"
            recall.step(reached, precision, color=BLUE, where="post", label=text)
            _mark(recall, at, (at["sensitivity"], at.get("ppv")))
        roc.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
        recall.axhline(truth.mean(), color=GREY, linestyle=":", label="chance")
        roc.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", ylim=(0, 1.03))
        recall.set(xlabel="sensitivity (recall)", ylabel="PPV (precision)", ylim=(0, 1.03))
        recall.set_title("Precision and recall")
        roc.legend(frameon=False, loc="lower right")
        recall.legend(frameon=False, loc="lower left")


def _mark(axis: Any, at: dict[str, float], point: tuple[float, float | None]) -> None:
    """The operating point, if it is anywhere."""
    if point[1] is not None:
        text = f"operating point, {at['flagged']:.0%} flagged"
        axis.plot(*point, "o", color=ORANGE, markersize=8, label=text)


def _draw_calibration(path: Path, truth: np.ndarray, risk: np.ndarray) -> None:
    """Share of events against risk in bins of about equal size; below, how frequent risks are."""
    mean, share, low, high = _calibration_curve(truth, risk)
    limit = min(1.0, np.ceil(20 * max(mean.max(), high.max())) / 20 + 0.05)
    ratios = {"height_ratios": [3, 1]}
    with figure(path, 5.6, 6.4, nrows=2, sharex=True, gridspec_kw=ratios) as (curve, counts):
        curve.plot([0, limit], [0, limit], color=GREY, linestyle=":", label="perfect")
        errors = (np.maximum(share - low, 0), np.maximum(high - share, 0))
        curve.errorbar(mean, share, errors, color=BLUE, marker="o", capsize=2, label="model")
        curve.set(xlim=(0, limit), ylim=(0, limit), ylabel="share with the outcome")
        curve.set_title("Calibration (bins of equal size, 95 % intervals)")
        curve.legend(frameon=False, loc="upper left")
        bins = np.linspace(0, limit, 26)
        parts, names = (
            [np.minimum(risk[truth == y], limit) for y in (0, 1)],
            ["without", "with the outcome"],
        )
        counts.hist(parts, bins, stacked=True, color=[GREY, ORANGE], label=names)
        beyond = " (the last bar: and above)" if risk.max() > limit else ""
        counts.set(xlabel=f"risk{beyond}", ylabel="rows")
        counts.legend(frameon=False)


def _calibration_curve(truth: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Mean risk, share of events and its 95 % interval (Wilson 1927) of each bin: (4, bins).

    Rows of the same risk stay together, so that bins need not be quite equal.
    """
    bins = int(np.clip(len(risk) // PER_BIN, 1, clinical.BINS))
    edges = np.unique(np.quantile(risk, np.arange(1, bins) / bins))
    places = np.unique(np.searchsorted(edges, risk, side="right"), return_inverse=True)[1]
    rows = np.bincount(places)
    mean, share = np.bincount(places, risk) / rows, np.bincount(places, truth) / rows
    square = 1.96**2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = np.sqrt(square * share * (1 - share) / rows + (square / (2 * rows)) ** 2)
    half /= 1 + square / rows
    return np.stack([mean, share, middle - half, middle + half])


def _draw_decision(path: Path, truth: np.ndarray, risk: np.ndarray, threshold: float) -> None:
    """Net benefit over the thresholds that matter: up to nearly the highest risks."""
    highest = float(np.clip(max(np.quantile(risk, 0.99), 1.1 * threshold), 0.05, 0.99))
    thresholds = np.linspace(0, highest, 200)
    of_model = clinical.net_benefit(truth, risk, thresholds)
    of_all = clinical.net_benefit_of_all(truth, thresholds)
    top = max(of_model.max(), of_all.max(), 0.01)
    with figure(path, 6.4, 4.2) as axis:
        axis.plot(thresholds, of_all, color=GREY, label="treat all")
        axis.axhline(0, color="black", linewidth=1, label="treat none")
        axis.plot(thresholds, of_model, color=BLUE, linewidth=2, label="model")
        if threshold < highest:
            axis.axvline(threshold, color=ORANGE, linestyle=":", label="operating point")
        axis.set(xlim=(0, highest), ylim=(-0.15 * top, 1.1 * top))
        axis.set(xlabel="threshold of the risk", ylabel="net benefit", title="Decision curve")
        axis.legend(frameon=False)


def _draw_subgroups(path: Path, groups: list[dict[str, Any]], overall: dict[str, float]) -> None:
    """Some metrics of each value, with those of all rows as a line; the worst stand out."""
    shown = ("auroc", "sensitivity", "specificity", "ece")
    places = np.arange(len(groups))[::-1]
    few = [place for place, group in zip(places, groups, strict=True) if group["too_few"]]
    names = [f"{g['column']}: {g['value']} ({g['rows']})" for g in groups]
    size = {"ncols": len(shown), "sharey": True}
    with figure(path, 10.4, 0.32 * len(groups) + 1.8, **size) as axes:
        for axis, name in zip(axes, shown, strict=True):
            if name in overall:
                axis.axvline(overall[name], color=GREY, linestyle=":")
            for place, group in zip(places, groups, strict=True):
                _draw_value(axis, place, group, name)
            for place in few:
                axis.axhspan(place - 0.4, place + 0.4, color="#eef1f5")
            left = min([0.5, *(g["auroc_low"] for g in groups if "auroc_low" in g)])
            limits = {"auroc": (left - 0.02, 1.02), "ece": (0, None)}.get(name, (-0.03, 1.03))
            axis.set(title=label(name), xlim=limits, ylim=(-0.7, max(len(groups), 1) - 0.3))
        axes[0].set_yticks(places, names)
        axes[0].figure.supxlabel(
            "dotted: all rows; orange: worst of its column; shaded: too few to be measured; "
            "line: 95 % interval",
            fontsize=8,
        )


def _draw_value(axis: Any, place: int, group: dict[str, Any], name: str) -> None:
    if name not in group:
        return
    color = ORANGE if name in group["worst"] else BLUE
    if f"{name}_low" in group:
        ends = [group[f"{name}_low"], group[f"{name}_high"]]
        axis.plot(ends, [place, place], color=color, linewidth=1)
    axis.plot(group[name], place, "o", color=color)


def _draw_importance(path: Path, sizes: dict[str, float]) -> None:
    shown = dict(list(sizes.items())[:SHOWN_COLUMNS])
    with figure(path, 6.4, 0.3 * len(shown) + 1.4) as axis:
        axis.barh(list(shown)[::-1], list(shown.values())[::-1], color=BLUE, height=0.6)
        axis.set(xlabel="mean size of the contribution (log-odds)", title="What the model looks at")
