"""Effect sizes and their noise, on simulated columns."""

import json

import numpy as np
import pytest
from scipy import stats

from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.monitoring.bins import (
    SMALL,
    CategoryBins,
    NumberBins,
    fit_bins,
    merge_small,
)
from {{ cookiecutter.package_name }}.engine.monitoring.profile import (
    INPUTS,
    Profile,
    describe_columns,
)
from {{ cookiecutter.package_name }}.engine.monitoring.rules import (
    Limits,
    MonitorRules,
    PerformanceRule,
)
from {{ cookiecutter.package_name }}.engine.monitoring.samples import Sample
from {{ cookiecutter.package_name }}.engine.monitoring.verdict import Verdict, judge, to_json

LIMITS = Limits(
    psi=0.1,
    wasserstein=0.1,
    total_variation=0.1,
    missing=0.05,
    out_of_range=0.05,
    other_values=0.02,
)
RULES = MonitorRules(inputs=LIMITS, performance=PerformanceRule(), rejected=0.02)
PAIRS = 40


def draw(random: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """Return columns as projects have them: skewed, with missing values, with many names."""
    height = random.normal(170, 10, size)
    height[random.random(size) < 0.1] = np.nan
    return {
        "height": height,
        "length": random.lognormal(3, 1, size).round(),
        "zeros": np.where(random.random(size) < 0.7, 0.0, random.random(size)),
        "language": random.choice(["German", "English", ""], size, p=[0.3, 0.6, 0.1]),
        "constant": np.full(size, 8.0),
    }


def compare(
    reference: dict[str, np.ndarray],
    sample: dict[str, np.ndarray],
    rules: MonitorRules = RULES,
    rejected: int = 0,
) -> Verdict:
    """Return what ``monitor`` would say."""
    profile = Profile({INPUTS: describe_columns(reference, is_private=False)}, {INPUTS: 0})
    rows = len(next(iter(sample.values())))
    counts = {INPUTS: profile.count(INPUTS, sample)}
    return judge(profile, Sample(counts, rows, rejected, ""), rules)


def test_samples_of_the_same_data_raise_no_alarm() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(PAIRS):
        size = int(random.choice([100, 300, 1000]))
        alarms += bool(compare(draw(random, 1_000), draw(random, size)).reasons)
    assert alarms <= 2  # 1 % are expected


@pytest.mark.parametrize(
    ("column", "measure"),
    [
        ("height", "wasserstein"),
        ("length", "psi"),
        ("zeros", "missing"),
        ("language", "other_values"),
        ("constant", "out_of_range"),
    ],
)
def test_changes_are_found(column: str, measure: str) -> None:
    random = np.random.default_rng(1)
    sample = draw(random, 300)
    changes = {
        "height": sample["height"] + 5,
        "length": sample["length"] * 2,
        "zeros": np.full(300, np.nan),
        "language": np.where(random.random(300) < 0.1, "Welsh", sample["language"]),
        "constant": np.where(random.random(300) < 0.2, 9.0, 8.0),
    }
    verdict = compare(draw(random, 1_000), sample | {column: changes[column]})
    assert verdict.outcome == "changed"
    (changed,) = [found for found in verdict.columns if found.is_past]
    assert changed.name == column
    assert verdict.columns[0] is changed, "the largest effect comes first"
    assert measure in [m.name for m in changed.measures if m.is_past]


@pytest.mark.parametrize("is_private", [False, True])
@pytest.mark.parametrize("values", [[False, True], [0, 1, 2], [2019.0, 2020.0, 2021.0]])
def test_few_values_have_cells_of_their_own(values: list[float], is_private: bool) -> None:
    column = np.repeat(values, 100)
    bins = fit_bins(column, is_private)
    assert isinstance(bins, NumberBins)
    assert bins.count(column)[bins.inside].tolist() == [100] * len(values)
    profile = Profile(
        {INPUTS: describe_columns({"flag": column}, is_private)},
        {INPUTS: len(column)},
        is_private=is_private,
    )
    sample = np.repeat([values[0], values[-1]], [40, 160])
    counts = {INPUTS: profile.count(INPUTS, {"flag": sample})}
    verdict = judge(profile, Sample(counts, 200, 0, ""), RULES)
    assert verdict.outcome == "changed"
    sizes = {measure.name: measure for measure in verdict.columns[0].measures}
    assert sizes["psi"].is_past
    distance = stats.wasserstein_distance(column, sample) / column.std()
    assert sizes["wasserstein"].value == pytest.approx(distance)


def test_a_value_of_few_persons_has_no_cell() -> None:
    bins = fit_bins(np.array([1.0] * 200 + [2.0] * 200 + [104.75] * 4), is_private=True)
    assert isinstance(bins, NumberBins)
    assert bins.edges[2:-2] == (0.5, 1.5, 2.5)


def test_few_rows_are_not_judged() -> None:
    random = np.random.default_rng(2)
    verdict = compare(draw(random, 1_000), {"height": random.normal(300, 10, 30)})
    assert verdict.outcome == "too few rows"
    assert verdict.lacking == ("constant", "language", "length", "zeros")
    assert json.loads(json.dumps(to_json(verdict, "a model")))["outcome"] == "too few rows"


def test_wrong_rows_count() -> None:
    random = np.random.default_rng(3)
    reference = draw(random, 1_000)
    assert compare(reference, draw(random, 200), rejected=2).outcome == "unchanged"
    assert compare(reference, draw(random, 200), rejected=20).reasons == [
        "wrong rows: 9.1% (limit 2.0%)"
    ]


def test_wrong_rows_count_where_hardly_any_is_right() -> None:
    random = np.random.default_rng(3)
    reference, sample = draw(random, 1_000), draw(random, 5)
    assert compare(reference, sample, rejected=94).outcome == "too few rows"
    assert compare(reference, sample, rejected=95).reasons == ["wrong rows: 95.0% (limit 2.0%)"]


def test_columns_have_limits_of_their_own() -> None:
    random = np.random.default_rng(4)
    reference, sample = draw(random, 1_000), draw(random, 300)
    sample["height"] += 5
    off = Limits(psi=None, wasserstein=None)
    assert compare(reference, sample).outcome == "changed"
    unwatched = RULES.model_copy(update={"columns": {"height": off}})
    assert compare(reference, sample, unwatched).outcome == "unchanged"
    with pytest.raises(UsageProblem, match=r"'hight' is unknown\. Did you mean 'height'\?"):
        compare(reference, sample, RULES.model_copy(update={"columns": {"hight": off}}))


def test_a_profile_of_persons_shows_no_value_of_few() -> None:
    random = np.random.default_rng(5)
    ages = np.append(random.normal(60, 8, 500), [17.25, 104.75])
    names = np.array(["A"] * 300 + ["B"] * 198 + ["rare"] * 4)
    columns = describe_columns({"age": ages, "site": names}, is_private=True)
    bins = columns["age"].bins
    assert isinstance(bins, NumberBins)
    assert 17.25 < bins.low < bins.high < 104.75
    assert all(f"{edge:.3g}" == f"{round(edge, 10):g}" for edge in bins.edges[2:-2])
    for column in columns.values():
        assert all(count == 0 or count >= SMALL for count in column.counts)
    text = json.dumps(Profile({INPUTS: columns}, {INPUTS: 502}, is_private=True).to_json())
    assert "rare" not in text
    assert "104.75" not in text


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([300, 150, 47, 3], [300, 150, 47, 0]),  # missing ones are left out
        ([300, 150, 6, 12], [300, 156, 0, 12]),  # few others are added to a value
        ([300, 6, 47, 12], [300, 0, 53, 12]),
        ([4, 3, 2, 0], [0, 0, 0, 0]),
        ([40, 3, 2, 0], [45, 0, 0, 0]),
    ],
)
def test_small_categories_are_merged(counts: list[int], expected: list[int]) -> None:
    assert merge_small(CategoryBins(("a", "b")), np.array(counts)).tolist() == expected


def test_small_bins_of_numbers_are_merged_with_their_neighbours() -> None:
    bins = NumberBins((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), 1.0)
    counts = np.array([1, 0, 2, 50, 9, 90, 3, 11])
    assert merge_small(bins, counts).tolist() == [0, 0, 0, 53, 0, 102, 0, 11]


def test_profiles_survive_json() -> None:
    columns = describe_columns(draw(np.random.default_rng(6), 400), is_private=False)
    profile = Profile({INPUTS: columns}, {INPUTS: 400}, {"accuracy": 0.9}, notice="Mind the gap.")
    again = Profile.from_json(json.loads(json.dumps(profile.to_json())))
    assert again.to_json() == profile.to_json()
    assert again.parts[INPUTS]["height"].bins == columns["height"].bins


@pytest.mark.parametrize(
    "values", [np.zeros(0), np.full(3, np.nan), np.array([1e-12, 2e-12]), np.array([5.0])]
)
@pytest.mark.parametrize("is_private", [False, True])
def test_bins_of_hardly_any_numbers(values: np.ndarray, is_private: bool) -> None:
    bins = fit_bins(values, is_private)
    assert isinstance(bins, NumberBins)
    assert list(bins.edges) == sorted(set(bins.edges))
    assert bins.count(values).sum() == len(values)
