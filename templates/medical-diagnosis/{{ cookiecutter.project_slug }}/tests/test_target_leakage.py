"""Columns that leak the outcome are found; others are not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from {{ cookiecutter.package_name }}.datasets.schema import Column, Schema
from {{ cookiecutter.package_name }}.datasets.target_leakage import find_giveaways

ROWS = 400
OUTCOME = Column(kind="outcome", yes="1", no="0")


def find_in(column: Column, values: Any, died: np.ndarray) -> dict[str, float]:
    """Find leaks in a table with one column, beside one that is no leak."""
    schema = Schema(columns={"x": column, "age": Column(kind="number"), "died": OUTCOME})
    age = np.random.default_rng(1).normal(60, 10, len(died))
    records = schema.parse(pd.DataFrame({"x": values, "age": age, "died": died.astype(int)}))
    assert not records.problems
    return find_giveaways(records, schema)


@pytest.fixture
def died() -> np.ndarray:
    return np.random.default_rng(0).random(ROWS) < 0.2


def categories(values: Any) -> tuple[Column, Any]:
    return Column(kind="category", values=tuple(map(str, np.unique(values)))), values


def test_numbers_in_either_direction(died: np.ndarray) -> None:
    noise = np.random.default_rng(2).random(ROWS)
    number = Column(kind="number")
    assert find_in(number, noise + died, died) == {"x": 1.0}
    assert find_in(number, noise - died, died) == {"x": 1.0}
    assert find_in(number, noise + 0.5 * died, died) == {}
    assert find_in(number, noise, died) == {}


def test_missing_values_may_leak(died: np.ndarray) -> None:
    noise = np.random.default_rng(2).random(ROWS)
    assert find_in(Column(kind="number"), np.where(died, noise, np.nan), died) == {"x": 1.0}
    boolean = Column(kind="boolean", yes="yes", no="no")
    answers = np.where(noise < 0.5, "yes", "no")
    assert find_in(boolean, np.where(died, answers, ""), died) == {"x": 1.0}
    assert find_in(*categories(np.where(died, answers, "unasked")), died) == {"x": 1.0}


def test_categories(died: np.ndarray) -> None:
    chance = np.random.default_rng(3)
    column, ward = categories(np.where(died, "icu", "home"))
    assert find_in(column, ward, died) == {"x": 1.0}
    assert find_in(column, np.where(chance.random(ROWS) < 0.1, "icu", ward), died) == {}
    assert find_in(*categories(chance.choice(list("abcdef"), ROWS)), died) == {}


def test_rare_values_are_no_leak(died: np.ndarray) -> None:
    single = np.array([f"v{row}" for row in range(ROWS)])
    assert find_in(*categories(single), died) == {}
    assert find_in(*categories(np.array([f"v{row // 2}" for row in range(ROWS)])), died) == {}
    nearly_one = np.where(np.arange(ROWS) == 0, "other", "same")
    assert find_in(*categories(nearly_one), died) == {}


@pytest.mark.parametrize(
    ("rows", "events", "expected"), [(20, 5, True), (19, 5, False), (40, 4, False)]
)
def test_too_few_rows_show_no_leak(rows: int, events: int, expected: bool) -> None:
    died = np.arange(rows) < events
    assert bool(find_in(Column(kind="number"), died * 1.0, died)) == expected


def test_breast_cancer_has_no_leak() -> None:
    frame = load_breast_cancer(as_frame=True).frame
    numbers = {name: Column(kind="number") for name in frame.columns[:-1]}
    schema = Schema(columns=numbers | {"target": OUTCOME})
    records = schema.parse(frame)
    assert find_giveaways(records, schema) == {}
