"""Tables and figures of risks: their numbers, and what they must not reveal."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import expit, logit
from sklearn.metrics import roc_curve

from {{ cookiecutter.package_name }} import report
from {{ cookiecutter.package_name }}.datasets.schema import Schema
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.interfaces import HIDDEN
from {{ cookiecutter.package_name }}.objective import risks

FILES = {
    *("test_roc.svg", "test_calibration.svg", "test_decision.svg", "test_threshold.csv"),
    *("test_subgroups.csv", "test_subgroups.svg"),
}
SCHEMA = Schema.model_validate(
    {
        "columns": {
            "who": {"kind": "patient"},
            "age": {"kind": "number", "unit": "years", "min": 0, "max": 120},
            "crp|high": {"kind": "number", "unit": "mg/l", "min": 0},
            "sex": {"kind": "category", "values": ["female", "male"]},
            "died": {"kind": "outcome", "yes": "yes", "no": "no"},
        }
    }
)
PREPROCESSING = SimpleNamespace(operating_point=0.25, schema=SCHEMA, model_version="v7")
SIZE = 400


def make_visits(**other: object) -> SimpleNamespace:
    """Return two rows of each patient; the risks of men are uninformative."""
    random = np.random.default_rng(0)
    risk = expit(1.5 * random.normal(size=SIZE) - 1)
    sex = np.where(np.arange(SIZE) % 4 < 2, "female", "male").astype(object)
    fields = {
        "ids": np.arange(7_100_001, 7_100_001 + SIZE).astype(str),
        "targets": (random.random(SIZE) < risk).astype("float32"),
        "patients": np.repeat([f"patient-{n:04}" for n in range(SIZE // 2)], 2).astype(object),
        "sites": np.full(SIZE, "", dtype=object),
        "subgroups": {"sex": sex},
        "risk": risk,
    }
    return SimpleNamespace(**(fields | other))


def make_outputs(split: SimpleNamespace) -> np.ndarray:
    """Return logits of the true risks, those of men reversed."""
    sign = np.where(split.subgroups["sex"] == "male", -1, 1)
    return (sign * logit(split.risk))[:, None].astype("float32")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_measure() -> None:
    split = make_visits()
    metrics = report.measure(split, make_outputs(split), PREPROCESSING)
    assert list(metrics) == [
        *("auroc", "auroc_low", "auroc_high", "auprc", "auprc_low", "auprc_high"),
        *("sensitivity", "specificity", "ppv", "npv", "flag_rate", "brier", "calibration_slope"),
        *("calibration_intercept", "ece", "loss", "prevalence", "true_risk_correlation"),
    ]
    assert metrics["auroc_low"] < metrics["auroc"] < metrics["auroc_high"]
    assert metrics["prevalence"] == pytest.approx(split.targets.mean())
    of_truth = logit(split.risk)[:, None]
    right = report.measure(split, of_truth, PREPROCESSING)
    assert right["true_risk_correlation"] == pytest.approx(1)
    assert "true_risk_correlation" not in report.measure(
        make_visits(risk=None), of_truth, PREPROCESSING
    )


def test_baseline_row() -> None:
    split = make_visits()
    row = report.baseline_row("constant", split, np.full(SIZE, 0.3))
    assert row["name"] == "constant"
    assert row["metrics"]["test/auroc"] == 0.5
    assert "test/calibration_slope" not in row["metrics"]
    names = {"auroc", "auprc", "brier", "calibration_slope", "ece"}
    of_truth = report.baseline_row("truth", split, split.risk)["metrics"]
    assert set(of_truth) == {f"test/{name}" for name in names}


def test_weighted_metrics_are_those_of_the_split() -> None:
    split = make_visits()
    outputs = make_outputs(split)
    weighted = report.weighted_metrics(split, outputs, PREPROCESSING)
    measured = report.measure(split, outputs, PREPROCESSING)
    for name, metric in weighted.items():
        assert metric.compute(np.ones((1, SIZE)))[0] == pytest.approx(measured[name])
    row = report.baseline_row("same", split, risks(outputs))
    np.testing.assert_allclose(risks(row["outputs"]), risks(outputs), rtol=1e-5)


def test_small_subgroups_are_hidden_in_slices() -> None:
    sites = np.array(["large"] * (SIZE - 25) + ["small"] * 20 + ["tiny"] * 5, dtype=object)
    columns = report.slices(make_visits(sites=sites), PREPROCESSING)
    assert set(columns) == {"sex", "site"}
    assert set(columns["site"]) == {"large", HIDDEN} or set(columns["site"]) == {HIDDEN}


def test_inputs_are_columns_to_slice_by() -> None:
    age = np.where(np.arange(SIZE) % 40 == 0, np.nan, np.arange(SIZE) % 80)
    kinds = np.array(["female", "male", ""] * SIZE, dtype=object)[:SIZE]
    split = make_visits(
        **{"schema": SCHEMA, "subgroups": {}},
        **{"numbers": np.stack([age, age], 1), "categories": kinds[:, None]},
    )
    columns = report.read_columns(split, ["age", "sex"], None)
    assert len(set(columns["age"])) == 4
    assert set(columns["sex"]) == {"female", "male", "(missing)"}
    assert HIDDEN in columns["age"], (
        "ten rows without an age are too few, and hide the smallest band"
    )
    with pytest.raises(UsageProblem, match=r"'agee' is unknown\. Did you mean 'age'"):
        report.read_columns(split, ["agee"], None)


def test_a_column_is_not_cut_twice() -> None:
    split = make_visits(schema=SCHEMA)
    message = r"data\.slice_columns: 'sex' defines a subgroup"
    with pytest.raises(UsageProblem, match=message):
        report.read_columns(split, ["sex"], None)


@pytest.mark.parametrize("threshold", [0.0, 0.004, 0.25, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("size", [1, 9, 25, 114, 9999])
@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_curves_have_no_step_of_few_rows(threshold: float, size: int, decimals: int) -> None:
    random = np.random.default_rng(size)
    risk = random.random(size).round(decimals)
    merged = report.merge_risks(risk, threshold)
    assert (merged <= risk).all()
    counts = np.unique(merged, return_counts=True)[1]
    assert counts.min() >= min(report.MIN_OUTCOMES, size)
    flagged = np.count_nonzero(risk >= threshold)
    if flagged and min(flagged, size - flagged) >= report.MIN_OUTCOMES:
        assert ((merged >= threshold) == (risk >= threshold)).all()
    if size >= 25:
        truth = np.arange(size) % 3 == 0
        false_rate, true_rate, _ = roc_curve(truth, merged)
        rows = np.diff(false_rate) * (~truth).sum() + np.diff(true_rate) * truth.sum()
        assert rows.min() >= report.MIN_OUTCOMES - 1e-6


def test_the_drawn_curves_are_of_merged_risks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = make_visits()
    risk = risks(make_outputs(split))
    merged = report.merge_risks(risk, 0.25)
    found = []
    for name in ("roc_curve", "precision_recall_curve"):
        original = getattr(sklearn.metrics, name)

        def compute(truth: np.ndarray, score: np.ndarray, original: Any = original) -> Any:
            found.append(score)
            return original(truth, score)

        monkeypatch.setattr(sklearn.metrics, name, compute)
    report.draw(tmp_path, "test", split, make_outputs(split), PREPROCESSING)
    assert len(found) == 2
    for score in found:
        np.testing.assert_array_equal(score, merged)


def test_files_reveal_no_single_patient(tmp_path: Path) -> None:
    split = make_visits()
    folder = tmp_path / "report"
    report.draw(folder, "test", split, make_outputs(split), PREPROCESSING)
    assert {path.name for path in folder.iterdir()} == FILES
    for path in folder.iterdir():
        content = path.read_bytes()
        assert len(content) > 300
        assert not [name for name in (*split.ids, *split.patients) if name.encode() in content]
    for row in read_rows(folder / "test_threshold.csv"):
        flagged = (risks(make_outputs(split)) >= float(row["threshold"])).sum()
        few = 0 < min(flagged, SIZE - flagged) < 10
        assert (row["flag_rate"] == "") == few, "few rows are as good as single ones"


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_outcome_alone(outcome: int, tmp_path: Path) -> None:
    split = make_visits(targets=np.full(SIZE, outcome, "float32"), subgroups={})
    logits = logit(split.risk)[:, None]
    folder = tmp_path / "report"
    report.draw(folder, "test", split, logits, PREPROCESSING)
    assert {path.name for path in folder.iterdir()} == FILES - {"test_subgroups.svg"}
    metrics = report.measure(split, logits, PREPROCESSING)
    assert "auroc" not in metrics
    assert np.isfinite(list(metrics.values())).all()


def test_thresholds(tmp_path: Path) -> None:
    split = make_visits()
    report.draw(tmp_path, "test", split, make_outputs(split), PREPROCESSING)
    rows = read_rows(tmp_path / "test_threshold.csv")
    thresholds = [float(row["threshold"]) for row in rows]
    assert thresholds == sorted(thresholds)
    assert (thresholds[0], thresholds[-1]) == (0.01, 0.99)
    (marked,) = (row for row in rows if row["operating_point"])
    assert float(marked["threshold"]) == 0.25
    metrics = report.measure(split, make_outputs(split), PREPROCESSING)
    for name in ("sensitivity", "specificity", "ppv", "npv", "flag_rate"):
        assert float(marked[name]) == pytest.approx(metrics[name], abs=1e-6)
    hits, flag_rate = metrics["sensitivity"] * metrics["prevalence"], metrics["flag_rate"]
    benefit = hits - (flag_rate - hits) * 0.25 / 0.75
    assert float(marked["net_benefit"]) == pytest.approx(benefit, abs=1e-5)


def test_worst_subgroups() -> None:
    split = make_visits()
    female, male = report.measure_subgroups(split, risks(make_outputs(split)), 0.25)
    assert [g["value"] for g in (female, male)] == ["female", "male"]
    assert female["auroc"] > 0.7 > 0.4 > male["auroc"]
    assert {"auroc", "auprc", "sensitivity", "brier", "ece"} <= set(male["worst"])
    assert not set(male["worst"]) & set(female["worst"])
    for name, ideal in (("calibration_slope", 1), ("calibration_intercept", 0)):
        worse = max(male, female, key=lambda group: abs(group[name] - ideal))
        assert name in worse["worst"]
    assert male["auroc_low"] < male["auroc"] < male["auroc_high"]
    assert (male["rows"], male["patients"]) == (200, 100)
    assert male["events"] == split.targets[split.subgroups["sex"] == "male"].sum()


def test_small_subgroups_are_neither_measured_nor_worst() -> None:
    truth = np.repeat([1, 0, 1, 0, 1, 0], [9, 100, 10, 10, 8, 50]).astype("float32")
    sites = np.repeat(["site 10", "site 2", "site 30"], [109, 20, 58]).astype(object)
    size = len(truth)
    split = make_visits(
        targets=truth, sites=sites, subgroups={}, patients=np.full(size, "", dtype=object)
    )
    second, tenth, last = report.measure_subgroups(split, np.linspace(0, 1, size), 0.5)
    assert (second["value"], tenth["value"]) == ("site 2", "site 10")
    assert tenth == {
        **{"column": "site", "value": "site 10", "rows": 109, "patients": None},
        "too_few": True,
    }, "nothing that could be somebody's outcome"
    assert last["too_few"]
    assert second["events"] == 10
    assert second["worst"] == [], "it is the only one"
    assert second["patients"] is None, "nobody says whose rows these are"


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        ({"a": (40, 60), "b": (30, 70), "c": (50, 50)}, "abc"),
        ({"a": (40, 60), "b": (30, 70), "c": (1, 2)}, "a"),
        ({"a": (40, 60), "b": (30, 70), "c": (1, 2), "d": (2, 0)}, "a"),
        ({"a": (40, 60), "b": (30, 70), "c": (6, 20), "d": (7, 30)}, "ab"),
        ({"a": (40, 60), "b": (1, 2)}, ""),
    ],
)
def test_suppressed_values_cannot_be_derived_by_subtraction(
    counts: dict[str, tuple[int, int]], published: str
) -> None:
    """All events are known; less those that are published, they are the events of the others."""
    truth = np.concatenate([np.repeat([1, 0], pair) for pair in counts.values()])
    values = np.repeat(list(counts), [sum(pair) for pair in counts.values()]).astype(object)
    size = len(truth)
    split = make_visits(
        **{"targets": truth.astype("float32"), "subgroups": {"group": values}},
        **{name: np.full(size, "", dtype=object) for name in ("patients", "sites")},
    )
    metrics = report.measure_subgroups(split, np.linspace(0, 1, size), 0.5)
    assert "".join(group["value"] for group in metrics if "events" in group) == published
    assert all(group["too_few"] == ("auroc" not in group) for group in metrics)
    suppressed = [counts[group["value"]] for group in metrics if group["too_few"]]
    assert len(suppressed) != 1
    assert all(sum(column) >= report.MIN_OUTCOMES for column in zip(*suppressed, strict=True))


def test_ages_in_their_order() -> None:
    names = ["80 years and more", "40 to 60 years", "100 to 110 years", "", "under 40 years"]
    split = make_visits(subgroups={"age": np.array(names * (SIZE // 5), dtype=object)})
    metrics = [group["value"] for group in report.measure_subgroups(split, split.risk, 0.5)]
    expected = ["under 40 years", "40 to 60 years", "80 years and more", "100 to 110 years"]
    assert metrics == [*expected, "(missing)"]
