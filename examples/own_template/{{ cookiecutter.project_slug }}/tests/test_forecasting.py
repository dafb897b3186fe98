"""What is this project's own: windows, their split, the linear model, metrics, requests."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import data, model
from {{ cookiecutter.package_name }}.baselines import measure_baselines
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.datasets.calendar_days import find_holidays
from {{ cookiecutter.package_name }}.engine.errors import ProjectError
from {{ cookiecutter.package_name }}.inputs import parse_labels, read_requests, request_schema
from {{ cookiecutter.package_name }}.objective import decode_predictions
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.report import as_windows, measure, slices

FORM = Preprocessing(context=14, horizon=3, season=7)
SHORT = ["--data.context", "14", "--data.horizon", "3"]


@pytest.fixture
def splits(quick: Config) -> Any:
    return data.load(quick, None)


def raw_inputs(split: Any) -> dict[str, np.ndarray]:
    raw = split.fetch(tf.range(len(split), dtype=tf.int64))
    return {name: np.asarray(part) for name, part in raw.items()}


# === Windows ===


def test_no_split_sees_days_of_a_later_one(quick: Config, splits: Any) -> None:
    horizon, ends = quick.data.horizon, {}
    for name, split in splits.splits.items():
        days = [date.fromisoformat(text.split()[-1]).toordinal() for text in split.ids]
        ends[name] = (min(days), max(days) + horizon - 1)
    assert ends["train"][1] < ends["validation"][0]
    assert ends["validation"][1] < ends["test"][0]
    assert splits.sizes() == {"train": 140, "validation": 20, "test": 40}


def test_a_window_is_the_days_before_its_targets(quick: Config, splits: Any) -> None:
    source, test = data.load_series(quick.data), as_windows(splits.test)
    raw, context = raw_inputs(test), quick.data.context
    for place, text in enumerate(test.ids[:5]):
        name, day = text.split()
        row = source.values[source.names.index(name)]
        first = (date.fromisoformat(day) - source.first_day).days
        np.testing.assert_array_equal(raw["values"][place], row[first - context : first])
        np.testing.assert_array_equal(test.targets[place], row[first : first + 14])
        np.testing.assert_array_equal(test.naive[place], np.tile(row[first - 7 : first], 2))
        expected = find_holidays(date.fromisoformat(day), 14)
        np.testing.assert_array_equal(raw["holidays"][place, context:], expected)
        assert test.has_holiday[place] == expected.any()


def write_csv(folder: Path, rows: list[str]) -> list[str]:
    file = folder / "sales.csv"
    file.write_text("\n".join(["series,date,value", *rows]) + "\n")
    return ["--data.source", "csv", "--data.path", str(file), *SHORT]


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    rows = [f"a,2026-01-{day:02d},{day}" for day in range(1, 32)]
    rows += [f"a,2026-02-{day:02d},{day}" for day in range(1, 29)]
    rows += [row.replace("a,", "b,") for row in reversed(rows)]
    source = data.load_csv(load_config(write_csv(tmp_path, rows)).data)
    assert (source.names, source.first_day, source.days) == (["a", "b"], date(2026, 1, 1), 59)
    np.testing.assert_array_equal(source.values[0], source.values[1])
    assert data.load(load_config(write_csv(tmp_path, rows))).notes["series"] == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,2026-01-01,1", "a,soon,2"], "line 3: it needs a day such as 2026-01-31 and a value"),
        (["a,2026-01-01,-1"], "line 2: it needs a day such as 2026-01-31 and a value of 0 or"),
        (["a,2026-01-01,nan"], "line 2: it needs"),
        (["a,2026-01-01,1", "a,2026-01-01,2"], "a series has two values of a day."),
        (["a,2026-01-01,1", "a,2026-01-03,2"], "series 'a' has no value of 2026-01-02; all series"),
        (["a,2026-01-01,1"], "the series have 1 days; a context of 14 and a horizon of 3 need 34"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        data.load_series(load_config(write_csv(tmp_path, rows)).data)


# === Models and metrics ===


def test_the_model_begins_with_the_linear_autoregression(quick: Config, splits: Any) -> None:
    fitted = Preprocessing.fit(splits.train, quick)
    network = model.build(quick, fitted)
    raw = splits.test.fetch(tf.range(len(splits.test), dtype=tf.int64))
    outputs = fitted.decode(np.asarray(network(fitted(raw))))
    rows = {row["name"]: row["outputs"] for row in measure_baselines(splits, fitted, quick)}
    np.testing.assert_allclose(outputs, rows["linear autoregression"], rtol=1e-4)


def test_metrics_of_known_forecasts(quick: Config, splits: Any) -> None:
    test = as_windows(splits.test)
    fitted = Preprocessing.fit(splits.train, quick)
    perfect, naive = (measure(test, part, fitted) for part in (test.targets, test.naive))
    assert (perfect["skill"], perfect["mase"], perfect["smape"]) == (1, 0, 0)
    assert naive["skill"] == 0
    assert naive["mase"] == pytest.approx(
        np.mean(np.abs(test.naive - test.targets).mean(axis=1) / test.scales)
    )
    assert next(iter(naive)) == "skill", "the metric that matters most is first"
    assert set(slices(test, fitted)["holiday"]) <= {"ahead", "none"}


def test_a_constant_series_of_zeros() -> None:
    zeros = FORM.encode_targets(np.zeros((1, 3)))
    np.testing.assert_array_equal(FORM.decode(zeros - 1e-3), np.zeros((1, 3)))
    (answer,) = decode_predictions(np.array([[1.0, 2.0, 3.4]]), FORM)
    assert answer == {"prediction": "6", "scores": {"+1": 1.0, "+2": 2.0, "+3": 3.4}}


# === Requests ===


def ask(**row: Any) -> dict[int, str]:
    return dict(read_requests([row], FORM, None).problems)


def test_holidays_of_a_request_are_looked_up() -> None:
    values = [str(n) for n in range(20)]
    requests = read_requests([{"first_day": "2026-05-01", "values": ",".join(values)}], FORM, None)
    raw = raw_inputs(requests.split)
    np.testing.assert_array_equal(raw["values"], [np.arange(6, 20)])
    assert raw["holidays"].shape == (1, 17)
    assert raw["holidays"][0, 14] == 1, "May Day is the first day to forecast"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "first_day: it is missing."),
        ({"first_day": "soon", "values": [1] * 14}, "first_day: it must be a day such as"),
        ({"first_day": 3, "values": [1] * 14}, "first_day: it must be a day such as"),
        ({"first_day": "9999-12-31", "values": [1] * 14}, "first_day: it is too near to the end"),
        ({"first_day": "0001-01-02", "values": [1] * 14}, "first_day: it is too near to the end"),
        ({"first_day": "2026-01-01", "values": [1] * 13}, "values: it has 13; 14 to 10,000 are"),
        ({"first_day": "2026-01-01", "values": 5}, "values: it must be a list of numbers."),
        ({"first_day": "2026-01-01", "values": [-1] * 14}, "values: '-1' is no number of 0 or"),
        ({"first_day": "2026-01-01", "values": [True] * 14}, "values: 'True' is no number of 0"),
        ({"first_day": "2026-01-01", "values": ["x"] * 14}, "values: 'x' is no number of 0 or"),
        ({"first_day": "2026-01-01", "values": [10**400] * 14}, "values: '1000"),
    ],
)
def test_a_wrong_row_is_a_problem(row: dict[str, Any], problem: str) -> None:
    assert ask(**row)[0].startswith(problem)


def test_the_example_is_right_and_labels_are_read() -> None:
    assert not read_requests(request_schema(FORM)["examples"], FORM, None).problems
    np.testing.assert_array_equal(parse_labels(np.array(["1,2,3"]), FORM), [[1, 2, 3]])
    with pytest.raises(ProjectError, match="labels: each needs 3 numbers"):
        parse_labels(np.array(["1,2"]), FORM)
