"""The rules of the gate and its statistics, on simulated models."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine import bootstrap
from {{ cookiecutter.package_name }}.engine.bootstrap import resample
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.report.gate import (
    ERROR_RATE,
    Facts,
    Gate,
    MeasuredModel,
    Row,
    check,
    compare_models,
    read_gate,
)
from {{ cookiecutter.package_name }}.engine.weighted_metrics import WeightedMetric

PROJECT = Path(__file__).parents[1]
SIZE = 1_000  # test examples
PAIRS = 200  # of simulated models
GROUPS = np.repeat(np.arange(SIZE // 10), 10).astype(str)


def simulate_accuracy(random: np.random.Generator, worse_by: float = 0.0) -> list[WeightedMetric]:
    """Return two models that disagree on a tenth of the examples, the second one by so much ahead.

    Args:
        random: source of random numbers.
        worse_by: by how much the first is worse on average.
    """
    share = random.random(SIZE)
    second_alone = share < 0.05 + worse_by / 2
    first_alone = ~second_alone & (share < 0.1)
    both = ~first_alone & ~second_alone & (random.random(SIZE) < 0.9)
    return [WeightedMetric.mean(first_alone | both), WeightedMetric.mean(second_alone | both)]


def simulate_loss(random: np.random.Generator) -> list[WeightedMetric]:
    """Return two models of equal loss, most of which comes from a few examples."""
    hardness = random.lognormal(-2, 1.5, SIZE)
    losses = [hardness * random.lognormal(0, 0.5, SIZE) for _ in range(2)]
    return [WeightedMetric.mean(values, lower_is_better=True) for values in losses]


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw resamples once: they have one seed, and so are the same for all pairs of a size."""

    @functools.cache
    def draw_once(size: int, is_grouped: bool, *words: int) -> list[np.ndarray]:
        parts = resample(size, GROUPS if is_grouped else None, *words)
        return [part.astype("float64") for part in parts]  # or each product would convert them

    def draw(size: int, groups: np.ndarray | None, *words: int) -> list[np.ndarray]:
        return draw_once(size, groups is not None, *words)

    monkeypatch.setattr(bootstrap, "resample", draw)


@pytest.mark.slow
@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("simulate", [simulate_accuracy, simulate_loss])
def test_equal_models_are_better_at_the_stated_error_rate_at_most(simulate) -> None:
    random = np.random.default_rng(0)
    passed = sum(compare_models(*simulate(random), SIZE).is_better for _ in range(PAIRS))
    assert passed <= ERROR_RATE * PAIRS


@pytest.mark.slow
@pytest.mark.usefixtures("same_draws")
def test_models_of_equal_groups_are_better_at_the_stated_error_rate_at_most() -> None:
    """Ten examples of each group are all alike: as single examples they would promise too much."""
    random, passed = np.random.default_rng(0), 0
    for _ in range(PAIRS):
        models = [WeightedMetric.mean(np.repeat(random.random(SIZE // 10), 10)) for _ in range(2)]
        found = compare_models(*models, SIZE, GROUPS)
        assert found.p_value is None, "McNemar's test takes examples on their own"
        passed += found.is_better
    assert passed <= ERROR_RATE * PAIRS


@pytest.mark.slow
@pytest.mark.usefixtures("same_draws")
def test_simulated_models_that_are_worse_by_three_points_are_refused() -> None:
    gate = read_gate(PROJECT / "configs" / "gate.yaml")
    random = np.random.default_rng(0)
    passed = [not failures(judge(gate, *simulate_accuracy(random, 0.03))) for _ in range(PAIRS)]
    assert sum(passed) == 0


@pytest.mark.parametrize(
    ("wins", "losses", "passes"), [(35, 65, False), (50, 50, False), (20, 20, True), (65, 35, True)]
)
def test_the_rule_that_projects_begin_with(wins: int, losses: int, passes: bool) -> None:
    """Three points worse is refused; no worse passes, if there are few examples to doubt it."""
    gate = read_gate(PROJECT / "configs" / "gate.yaml")
    place = np.arange(SIZE)
    candidate = WeightedMetric.mean(place >= losses)
    champion = WeightedMetric.mean((place < losses) | (place >= losses + wins))
    assert bool(failures(judge(gate, candidate, champion))) != passes


@pytest.mark.slow
@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("size", [50, 200])
def test_few_mistakes_promise_little(size: int) -> None:
    """Models that are worse by exactly the margin pass at the stated error rate at most."""
    random, margin, passed = np.random.default_rng(0), 0.05, 0
    for _ in range(PAIRS):
        right = random.random(size) >= margin  # the other one is always right
        models = [WeightedMetric.mean(right), WeightedMetric.mean(np.ones(size))]
        passed += compare_models(*models, size).bound >= -margin
    assert passed <= ERROR_RATE * PAIRS


def judge(
    gate: Gate, candidate: WeightedMetric, champion: WeightedMetric | None, **facts: object
) -> list[Row]:
    """Apply rules to models of one metric.

    Args:
        gate: the rules.
        candidate: its metric.
        champion: its metric, if there is one.
        facts: that differ from the usual ones.
    """
    usual = {"size": SIZE, "groups": None, "columns": {}, "file_mb": 1.0, "latency_ms": 1.0}
    measured, rival = (
        metric and MeasuredModel({"calibration_slope": 0.5}, {"score": metric})
        for metric in (candidate, champion)
    )
    return check(gate, measured, rival, Facts(**usual | {"age_days": 1.0} | facts))


def failures(rows: list[Row]) -> list[str]:
    return [row.reason for row in rows if row.passed is False]


RIGHT = WeightedMetric.mean(np.arange(SIZE) % 10 > 0)  # nine of ten


@pytest.mark.parametrize(
    ("rules", "facts", "reason"),
    [
        ({"min_examples": 2000}, {}, "the test split has 1000 examples, fewer than 2000"),
        ({"metrics": {"headline": {"at_least": 0.95}}}, {}, "score is 0.9000, less than 0.95"),
        ({"metrics": {"score": {"at_most": 0.5}}}, {}, "score is 0.9000, more than 0.5"),
        ({"calibration": {"min_slope": 0.8}}, {}, "calibration_slope is 0.5000, less than 0.8"),
        ({"max_file_mb": 0.5}, {}, "the model's file has 1.0 MB, more than 0.5"),
        ({"max_latency_ms": 0.5}, {}, "one example takes 1.00 ms, more than 0.5"),
        ({"max_age_days": 0.5}, {}, "it was trained 1 days ago, more than 0.5"),
        ({"max_age_days": 0.5}, {"age_days": None}, "nobody knows when it was trained"),
        ({"worst_slice": {"at_least": 0.5}}, {}, "no slice that the report shows has 50 examples"),
        (
            {"worst_slice": {"at_least": 0.5}},
            {"columns": {"place": np.where(np.arange(SIZE) % 10 > 0, "right", "wrong")}},
            "score of place = wrong is 0.0000, less than 0.5",
        ),
    ],
)
def test_absolute_rules(rules: dict, facts: dict, reason: str) -> None:
    assert failures(judge(Gate.model_validate(rules), RIGHT, None, **facts)) == [reason]


def test_slices_of_few_examples_do_not_count() -> None:
    gate = Gate.model_validate({"worst_slice": {"at_least": 0.5, "min_examples": 101}})
    places = {"place": np.where(np.arange(SIZE) % 10 > 0, "right", "wrong")}
    assert failures(judge(gate, RIGHT, None, columns=places)) == []


def test_slices_that_the_report_hides_are_neither_used_nor_named() -> None:
    """One of 5 examples is hidden, and the next one with it, or it could be had by subtraction."""
    gate = Gate.model_validate({"worst_slice": {"at_least": 0.95}})
    names = np.repeat(["clinic A", "clinic B", "clinic C"], [5, 60, SIZE - 65])
    wrong = WeightedMetric.mean(names == "clinic C")
    rows = judge(gate, wrong, None, columns={"place": names})
    assert failures(rows) == []
    assert "clinic C" in str(rows)
    assert "clinic A" not in str(rows)
    assert "clinic B" not in str(rows)
    few = WeightedMetric.mean(np.zeros(65))
    rows = judge(gate, few, None, columns={"place": names[:65]}, size=65)
    assert failures(rows) == ["no slice that the report shows has 50 examples"]


def test_what_is_undefined_fails() -> None:
    gate = Gate.model_validate({"metrics": {"headline": {"better": True, "at_least": 0.0}}})
    broken = WeightedMetric.mean(np.full(SIZE, np.nan))
    assert failures(judge(gate, broken, RIGHT)) == [
        "score cannot be compared (nan against 0.9000): it is undefined, or of too few examples",
        "score of the candidate is nan",
        "score is nan, less than 0",
    ]


def test_one_example_proves_nothing() -> None:
    gate = Gate.model_validate({"metrics": {"headline": {"not_worse_by": 0.5}}})
    one = WeightedMetric.mean(np.ones(1))
    (reason,) = failures(judge(gate, one, one, size=1))
    assert "too few examples" in reason


def test_models_without_weighted_metrics_are_not_compared() -> None:
    model = MeasuredModel({"auroc": 0.9}, {})
    facts = Facts(SIZE, None, {}, 1.0, 1.0, 1.0)
    gate = Gate.model_validate({"metrics": {"headline": {"not_worse_by": 0.02, "at_least": 0.8}}})
    assert failures(check(gate, model, None, facts)) == []
    reason = "two models cannot be compared: task.py has no weighted_metrics"
    assert failures(check(gate, model, model, facts)) == [reason]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrix: {}", "configs/gate.yaml: 'metrix' is unknown. Did you mean 'metrics'? Allowed: "),
        (
            "metrics: {headline: {atleast: 1}}",
            "configs/gate.yaml: metrics: headline: 'atleast' is unknown. Did you mean 'at_least'?",
        ),
        (
            "max_file_mb: '5'",
            "configs/gate.yaml: max_file_mb: '5' is not allowed: input should be a valid number.",
        ),
        ("max_file_mb: true", "configs/gate.yaml: max_file_mb: True is not allowed: "),
        ("max_age_days: .nan", "configs/gate.yaml: max_age_days: nan is not allowed: "),
        ("metrics: {headline: {not_worse_by: 0}}", "greater than 0."),
        ("worst_slice: {at_least: 1, at_most: 2}", "it takes either at_least or at_most."),
        ("[1]", "configs/gate.yaml must hold rules by name, not [1]."),
        ("5: 6", "configs/gate.yaml: 5: "),
        (": : :", "configs/gate.yaml is not YAML: "),
    ],
)
def test_files_that_are_wrong(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem, match=re.escape(message)):
        read_gate(file)


@pytest.mark.parametrize("text", ["", "metrics:", "metrics: {}"])
def test_files_without_rules(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    assert read_gate(file) == Gate()


def test_metrics_that_the_project_does_not_have() -> None:
    gate = Gate.model_validate({"metrics": {"skore": {"at_least": 0.5}}})
    with pytest.raises(UsageProblem, match="'skore' is unknown"):
        judge(gate, RIGHT, None)
