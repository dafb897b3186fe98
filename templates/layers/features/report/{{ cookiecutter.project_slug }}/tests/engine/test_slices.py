"""Slices that are worse are found, equal ones are not, and small ones stay hidden."""

from dataclasses import replace

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine.report import slices
from {{ cookiecutter.package_name }}.engine.weighted_metrics import WeightedMetric


def test_a_slice_that_is_worse_is_found_and_equal_ones_are_not() -> None:
    random = np.random.default_rng(4)
    group = random.integers(5, size=2_000)
    right = random.random(2_000) < np.where(group == 3, 0.7, 0.9)
    columns = {"group": group.astype(str), "noise": random.integers(50, size=2_000).astype(str)}
    found = slices.measure_slices({"accuracy": WeightedMetric.mean(right)}, columns)
    assert [(part.column, part.value) for part in found if part.is_worse] == [("group", "3")]
    assert sum(part.count for part in found if part.column == "noise") == 2_000


def test_equal_slices_are_rarely_marked() -> None:
    random, marked = np.random.default_rng(1), 0
    for _ in range(100):
        metric = WeightedMetric.mean(random.random(600) < 0.9)
        columns = {"one": random.integers(20, size=600).astype(str)}
        marked += any(part.is_worse for part in slices.measure_slices({"m": metric}, columns))
    assert marked <= 10


@pytest.mark.parametrize("as_mean", [True, False])
def test_losses_and_groups_are_compared_too(as_mean: bool) -> None:
    random = np.random.default_rng(2)
    loss = random.exponential(1.0, 400)
    loss[:100] += 1.0
    metric = WeightedMetric.mean(loss, lower_is_better=True)
    metric = metric if as_mean else replace(metric, values=None)
    columns = {"site": np.repeat(["a", "b", "c", "d"], 100)}
    groups = np.repeat([str(i) for i in range(200)], 2)
    found = slices.measure_slices({"loss": metric}, columns, groups)
    assert [part.value for part in found if part.is_worse] == ["a"]


def test_small_slices_are_hidden_and_cannot_be_had_by_subtraction() -> None:
    values = np.array(["a"] * 50 + ["b"] * 30 + ["c"] * 3)
    metric = WeightedMetric.mean(np.ones(83))
    found = slices.measure_slices({"m": metric}, {"x": values})
    assert {part.value: bool(part.metrics) for part in found} == {"a": True, "b": False, "c": False}


def divide(values: object) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in slices.divide(np.array(values))}


def test_numbers_are_divided_into_bands_and_many_values_are_bounded() -> None:
    bands = divide([*np.arange(100.0), np.nan])
    assert list(bands.values()) == [25, 25, 25, 25, 1]
    assert list(bands)[-1] == "(missing)"
    many = divide([str(i) for i in range(10_000)])
    assert len(many) == slices.MAX_VALUES + 1
    assert sum(many.values()) == 10_000
    assert divide([1, 2, 2, 1]) == {"1": 2, "2": 2}
    assert divide([0.5] * 30) == {"0.5": 30}
    times = divide(1_700_000_000 + np.arange(400.0))
    assert list(times.values()) == [100, 100, 100, 100]
    assert next(iter(times)) == "1700000000 to under 1700000100"
    assert divide([12341.0] * 5 + [12342.0] * 6) == {"12341": 5, "12342": 6}
    assert next(iter(divide([0.0] * 95 + list(np.arange(1.0, 21))).items())) == ("0", 95)
    assert divide(["(other values)", "a"]) == {"(other values)": 1, "a": 1}


@pytest.mark.parametrize("groups", [None, np.repeat([str(i) for i in range(300)], 2)])
def test_equal_slices_of_skewed_metrics_are_rarely_marked(groups: np.ndarray | None) -> None:
    random, marked = np.random.default_rng(5), 0
    for _ in range(60):
        hits = np.where(random.random(600) < 0.15, random.random(600), 0.0)
        columns = {"one": random.integers(25, size=600).astype(str)}
        parts = slices.measure_slices({"ndcg": WeightedMetric.mean(hits)}, columns, groups)
        marked += any(part.is_worse for part in parts)
    assert marked <= 8


def test_what_a_domain_hides_hides_nothing_else() -> None:
    values = np.array(["(too few)"] * 30 + ["a"] * 50 + ["b"] * 60)
    found = slices.measure_slices({"m": WeightedMetric.mean(np.ones(140))}, {"x": values})
    assert {part.value: bool(part.metrics) for part in found} == {
        "(too few)": False,
        "a": True,
        "b": True,
    }
    values = np.array(["a"] * 100 + ["b"] * 100 + ["c", "d"])
    found = slices.measure_slices({"m": WeightedMetric.mean(np.ones(202))}, {"x": values})
    assert sum(bool(part.metrics) for part in found) == 1, "c and d follow from a and b"
