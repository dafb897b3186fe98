"""Intervals hold what they promise, and whole groups are drawn."""

import tracemalloc

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine.bootstrap import compare, estimate, resample
from {{ cookiecutter.package_name }}.engine.weighted_metrics import WeightedMetric


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random, covered = np.random.default_rng(0), 0
    for trial in range(200):
        metric = WeightedMetric.mean(random.random(300) < 0.8)
        interval = estimate(metric, 300, draws=400, seed=trial)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.9 <= covered / 200 <= 0.99


def test_equal_models_are_rarely_told_apart_and_pairs_sharpen_the_difference() -> None:
    random, apart = np.random.default_rng(1), 0
    for trial in range(200):
        hard = random.random(500)
        first, second = (WeightedMetric.mean(hard + random.random(500) < 1.4) for _ in range(2))
        apart += compare(first, second, 500, draws=300, seed=trial).excludes_zero
    assert apart / 200 <= 0.1
    same = WeightedMetric.mean(hard < 0.5)
    assert -0.01 < compare(same, same, 500).low < 0 < compare(same, same, 500).high < 0.01


def test_few_examples_promise_little() -> None:
    right, wrong = (WeightedMetric.mean(np.full(3, value)) for value in (1.0, 0.0))
    assert not compare(right, wrong, 3).excludes_zero
    assert estimate(right, 3).low < 0.5
    assert np.isnan(estimate(WeightedMetric.mean(np.array([0.3])), 1).low)


def test_a_lower_loss_is_better() -> None:
    small, large = (WeightedMetric.mean(np.full(20, x), lower_is_better=True) for x in (0.1, 0.3))
    assert compare(small, large, 20).value == pytest.approx(0.2)
    assert compare(large, small, 20).high == pytest.approx(-0.2)


def test_groups_are_drawn_whole() -> None:
    groups = np.array(["a", "a", "b", "", "", "c"])
    weights = np.concatenate(list(resample(6, groups, draws=50)))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] != weights[:, 4]).any(), "'' is a group of its own"
    assert (weights[:, [0, 2, 3, 4, 5]].sum(axis=1) == 5).all()
    one_by_one, together = (
        estimate(WeightedMetric.mean(np.repeat([0.0, 1.0] * 10, 10)), 200, groups=names)
        for names in (None, np.repeat([str(i) for i in range(20)], 10))
    )
    assert together.high - together.low > 2 * (one_by_one.high - one_by_one.low)


def test_many_examples_take_little_memory() -> None:
    metric = WeightedMetric.mean(np.ones(100_000))
    tracemalloc.start()
    estimate(metric, 100_000, draws=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6, "and not 200 draws of 100,000 numbers"


def test_what_is_undefined_is_said() -> None:
    interval = estimate(WeightedMetric(lambda weights: np.full(len(weights), np.nan)), 5)
    assert np.isnan([interval.value, interval.low, interval.high]).all()
    assert not interval.excludes_zero
