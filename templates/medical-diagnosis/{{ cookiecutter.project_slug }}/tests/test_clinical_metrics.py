"""Clinical metrics against scikit-learn, by hand, and where the truth is known."""

import time

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.evaluation import clinical_metrics

TRUTH = np.array([0, 0, 1, 0, 1, 1], "float32")
RISK = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])


def draw(size: int, spread: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw outcomes; return them and the logits of their true risks."""
    random = np.random.default_rng(seed)
    logits = spread * random.normal(size=size) - 1
    return (random.random(size) < expit(logits)).astype("float32"), logits


@pytest.mark.parametrize("digits", [8, 1], ids=["no ties", "ties"])
def test_like_scikit_learn(digits: int) -> None:
    truth, logits = draw(400)
    risk = expit(logits).round(digits)
    metrics = clinical_metrics.discrimination(truth, risk)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(truth, risk))
    assert metrics["auprc"] == pytest.approx(average_precision_score(truth, risk))
    metrics = clinical_metrics.calibration(truth, risk)
    assert metrics["brier"] == pytest.approx(brier_score_loss(truth, risk))
    assert metrics["loss"] == pytest.approx(log_loss(truth, clinical_metrics.clip_risk(risk)))


@pytest.mark.parametrize("digits", [8, 1], ids=["no ties", "ties"])
def test_weights_are_repetitions(digits: int) -> None:
    truth, logits = draw(200)
    risk = expit(logits).round(digits)
    weights = np.random.default_rng(1).integers(4, size=(3, 200))
    weights[0] = 1
    metrics = clinical_metrics.weighted_metrics(truth, risk, weights)
    for place, times in enumerate(weights):
        rows = np.repeat(np.arange(200), times)
        one = {name: values[place] for name, values in metrics.items()}
        assert one["auroc"] == pytest.approx(roc_auc_score(truth[rows], risk[rows]))
        assert one["auprc"] == pytest.approx(average_precision_score(truth[rows], risk[rows]))
        assert one["brier"] == pytest.approx(brier_score_loss(truth[rows], risk[rows]))


def test_at_threshold_by_hand() -> None:
    metrics = clinical_metrics.threshold_metrics(TRUTH, RISK, 0.4)
    assert metrics == {
        "sensitivity": pytest.approx(2 / 3),
        "specificity": pytest.approx(2 / 3),
        "ppv": pytest.approx(2 / 3),
        "npv": pytest.approx(2 / 3),
        "flag_rate": 0.5,
    }
    assert "ppv" not in clinical_metrics.threshold_metrics(TRUTH, RISK, 0.95), "nobody is flagged"
    assert "npv" not in clinical_metrics.threshold_metrics(TRUTH, RISK, 0.05), "everybody is"
    assert "sensitivity" not in clinical_metrics.threshold_metrics(0 * TRUTH, RISK, 0.4), (
        "no events"
    )


def test_one_outcome_alone() -> None:
    for truth in (0 * TRUTH, 0 * TRUTH + 1):
        assert clinical_metrics.discrimination(truth, RISK) == {}
        assert clinical_metrics.bootstrap_intervals(truth, RISK, np.array(list("abcdef"))) == {}
        assert set(clinical_metrics.calibration(truth, RISK)) == {"brier", "ece", "loss"}


def test_calibration_of_true_risks() -> None:
    truth, logits = draw(40_000)
    metrics = clinical_metrics.calibration(truth, expit(logits))
    assert metrics["calibration_slope"] == pytest.approx(1, abs=0.04)
    assert metrics["calibration_intercept"] == pytest.approx(0, abs=0.04)
    assert metrics["ece"] < 0.01
    bold = clinical_metrics.calibration(truth, expit(2 * logits))
    assert bold["calibration_slope"] == pytest.approx(metrics["calibration_slope"] / 2, rel=1e-4)
    high = clinical_metrics.calibration(truth, expit(logits + 1))
    assert high["calibration_intercept"] == pytest.approx(metrics["calibration_intercept"] - 1)
    assert high["calibration_slope"] == pytest.approx(metrics["calibration_slope"])
    assert high["ece"] > 0.1


def test_calibration_error_by_hand() -> None:
    risk = np.array([0.02, 0.08, 0.31, 0.39, 1.0, 1.0])
    truth = np.array([0, 0, 0, 1, 1, 0], "float32")
    expected = (abs(0.1 - 0) + abs(0.7 - 1) + abs(2 - 1)) / 6
    assert clinical_metrics.calibration(truth, risk)["ece"] == pytest.approx(expected)


def test_calibration_where_it_cannot_be_fitted() -> None:
    separated = np.array([0, 0, 0, 1, 1, 1], "float32")
    metrics = clinical_metrics.calibration(separated, RISK)
    assert "calibration_slope" not in metrics
    assert np.isfinite(metrics["calibration_intercept"])
    certain = clinical_metrics.calibration(separated, separated)
    assert "calibration_slope" not in certain
    assert certain["loss"] == pytest.approx(0, abs=1e-5)
    assert "calibration_slope" not in clinical_metrics.calibration(TRUTH, 0 * RISK + 0.3), (
        "one risk"
    )
    wrong = clinical_metrics.calibration(TRUTH, 1 - TRUTH)
    assert np.isfinite(list(wrong.values())).all()


def test_net_benefit_by_hand() -> None:
    thresholds = np.array([0.0, 0.25, 0.4, 0.95])
    metrics = clinical_metrics.net_benefit(TRUTH, RISK, thresholds)
    np.testing.assert_allclose(metrics, [0.5, (3 - 1 / 3) / 6, (2 - 2 / 3) / 6, 0])
    metrics = clinical_metrics.net_benefit_treat_all(TRUTH, thresholds)
    np.testing.assert_allclose(metrics, [0.5, 1 / 3, 1 / 6, 0.5 - 0.5 * 19])


def test_intervals_hold_the_value_and_are_repeatable() -> None:
    truth, logits = draw(300)
    risk, patients = expit(logits), np.arange(300).astype(str)
    metrics = clinical_metrics.bootstrap_intervals(truth, risk, patients)
    value = clinical_metrics.discrimination(truth, risk)
    for name in ("auroc", "auprc"):
        assert metrics[f"{name}_low"] < value[name] < metrics[f"{name}_high"]
    auroc = value["auroc"]  # against the standard error of Hanley & McNeil
    events, others = truth.sum(), 300 - truth.sum()
    of_events, of_others = auroc / (2 - auroc) - auroc**2, 2 * auroc**2 / (1 + auroc) - auroc**2
    variance = auroc * (1 - auroc) + (events - 1) * of_events + (others - 1) * of_others
    expected = 2 * 1.96 * np.sqrt(variance / (events * others))
    assert metrics["auroc_high"] - metrics["auroc_low"] == pytest.approx(expected, rel=0.2)
    assert clinical_metrics.bootstrap_intervals(truth, risk, patients) == metrics
    only = clinical_metrics.bootstrap_intervals(truth, risk, patients, ["brier"], seed=1)
    assert set(only) == {"brier_low", "brier_high"}


def test_intervals_resample_patients_not_rows() -> None:
    truth, logits = (np.repeat(values, 5) for values in draw(100))
    rows = clinical_metrics.bootstrap_intervals(truth, expit(logits), np.arange(500).astype(str))
    nameless = clinical_metrics.bootstrap_intervals(
        truth, expit(logits), np.full(500, "", dtype=object)
    )
    patients = clinical_metrics.bootstrap_intervals(
        truth, expit(logits), np.repeat(np.arange(100), 5).astype(str)
    )
    assert nameless == pytest.approx(rows, abs=0.02), "each row is a patient of its own"
    for name in ("auroc", "auprc", "brier"):
        wide = patients[f"{name}_high"] - patients[f"{name}_low"]
        narrow = rows[f"{name}_high"] - rows[f"{name}_low"]
        assert wide > 1.7 * narrow, "sqrt(5) is expected"


def test_intervals_skip_draws_of_one_outcome() -> None:
    truth, risk = np.array([1, 0, 0], "float32"), np.array([0.9, 0.2, 0.1])
    metrics = clinical_metrics.bootstrap_intervals(truth, risk, np.array(["a", "b", "c"]))
    assert metrics["auroc_low"] == metrics["auroc_high"] == 1
    assert (
        clinical_metrics.bootstrap_intervals(truth, risk, np.array(["a", "a", "a"]))["auroc_low"]
        == 1
    )


def test_intervals_are_fast() -> None:
    truth, logits = draw(2000)
    began = time.perf_counter()
    clinical_metrics.bootstrap_intervals(truth, expit(logits), np.arange(2000).astype(str))
    assert time.perf_counter() - began < 3, "a fraction of a second where nothing else runs"


def test_platt_recovers_slope_and_intercept() -> None:
    truth, logits = draw(40_000)
    slope, intercept = clinical_metrics.fit_platt(truth, 2 * logits - 1)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(0.5, abs=0.05)
    regression = LogisticRegression(C=1e9, tol=1e-8).fit(2 * logits[:, None] - 1, truth)
    assert slope == pytest.approx(regression.coef_[0, 0], abs=0.02)
    assert intercept == pytest.approx(regression.intercept_[0], abs=0.02)


def test_platt_is_regularized() -> None:
    separated, logits = np.repeat([0.0, 1.0], 5).astype("float32"), np.linspace(-3, 3, 10)
    slope, intercept = clinical_metrics.fit_platt(separated, logits)
    assert slope == pytest.approx(1, abs=0.5), "although the outcomes are separated"
    assert intercept == pytest.approx(0, abs=0.5)
    truth, many = draw(5000)
    slope, intercept = clinical_metrics.fit_platt(truth, -many)
    assert slope == 0.05, "no order is turned round"
    risk = expit(slope * -many + intercept)
    assert risk.mean() == pytest.approx(truth.mean(), abs=0.02)
    for given in (0 * separated, 0 * separated + 1):
        assert np.isfinite(clinical_metrics.fit_platt(given, logits)).all()
    assert np.isfinite(clinical_metrics.fit_platt(separated, 1000 * logits)).all()


def test_isotonic() -> None:
    truth, logits = draw(2000)
    x, y = clinical_metrics.fit_isotonic(truth, 3 * logits)
    assert x.dtype == y.dtype == np.float32
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert 1 / 4000 <= y[0] < y[-1] <= np.float32(1 - 1 / 4000)
    assert len(x) < 100, "only where it changes"
    risk = expit(np.interp(3 * logits, x, logit(y.astype("float64"))))
    before = clinical_metrics.calibration(truth, expit(3 * logits))
    after = clinical_metrics.calibration(truth, risk)
    assert after["brier"] < before["brier"]
    assert after["ece"] < 0.02 < before["ece"]


def test_isotonic_of_few() -> None:
    x, y = clinical_metrics.fit_isotonic(np.array([0, 1], "float32"), np.array([-1.0, 2.0]))
    assert (x.tolist(), y.tolist()) == ([-1, 2], [0.25, 0.75])
    x, y = clinical_metrics.fit_isotonic(TRUTH, np.zeros(6))
    assert (x.tolist(), y.tolist()) == ([0], [0.5])


@pytest.mark.parametrize(
    ("min_sensitivity", "cost_ratio", "expected"),
    [
        (0.3, None, 0.6),  # no false alarm, and the lowest such
        (0.34, None, 0.6),
        (2 / 3, None, 0.6),
        (0.9, None, 0.25),
        (1.0, None, 0.25),
        (0.9, 0.5, 0.6),  # one missed at 0.5 against one false alarm
        (0.9, 2.0, 0.25),
        (0.9, 1.0, 0.25),  # alike: the lower one
        (0.9, 0.01, 0.6),
    ],
)
def test_operating_point_by_hand(
    min_sensitivity: float, cost_ratio: float | None, expected: float
) -> None:
    metrics = clinical_metrics.choose_operating_point(TRUTH, RISK, min_sensitivity, cost_ratio)
    assert metrics == pytest.approx(expected)


def test_operating_point_at_the_ends() -> None:
    worse = np.array([1, 0, 0], "float32")
    risk = np.array([0.2, 0.4, 1.0])
    assert clinical_metrics.choose_operating_point(worse, risk, 0.9) == pytest.approx(0.1), (
        "all are flagged"
    )
    risk = np.array([0.2, 0.4, 0.6])
    assert clinical_metrics.choose_operating_point(worse, risk, 0.9, 0.1) == pytest.approx(0.8), (
        "nobody is"
    )
    with pytest.raises(DataProblem, match="no row with the outcome"):
        clinical_metrics.choose_operating_point(0 * worse, risk, 0.9)
