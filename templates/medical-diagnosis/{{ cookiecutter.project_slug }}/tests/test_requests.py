"""Rows of patients that somebody sends: parsed at once, wrong ones named without their values."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.datasets.schema import Schema
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.evaluation.monitoring import parse_labels
from {{ cookiecutter.package_name }}.inputs import read_requests, request_schema

SECRET = "zzz-secret"
SCHEMA = Schema.model_validate(
    {
        "columns": {
            "who": {"kind": "patient"},
            "seen": {"kind": "time"},
            "age": {"kind": "number", "unit": "years", "min": 0, "max": 120},
            "ward": {"kind": "category", "values": ["A", "B"], "missing": ["unknown"]},
            "smoker": {"kind": "boolean", "yes": "yes", "no": "no"},
            "admitted": {"kind": "date"},
            "died": {"kind": "outcome", "yes": "1", "no": "0"},
        }
    }
)
ROW = {
    "seen": "2024-01-11",
    "age": 63.5,
    "ward": "B",
    "smoker": "no",
    "admitted": "2024-01-01",
}
NO_VALUE_OF_A_TABLE = "age: it must be a number, a text or null."


class Holder:
    """As much of a preprocessing as requests need."""

    schema = SCHEMA
    mean = (60.0, 0.0, 5.0)
    log_columns = ()


PREPROCESSING: Any = Holder()


def read(*rows: Any) -> Any:
    return read_requests(rows, PREPROCESSING, None)


def test_rows_are_parsed_as_those_of_a_file() -> None:
    empty = dict.fromkeys(ROW) | {"seen": "2024-01-11", "age": "64"}
    requests = read(ROW, empty, ROW | {"ward": "unknown"})
    assert not requests.problems
    raw = requests.split.fetch(tf.range(3, dtype=tf.int64))
    nan = np.nan
    expected = [[63.5, 0, 10], [64, nan, nan], [63.5, 0, 10]]
    np.testing.assert_array_equal(raw["numbers"], np.array(expected, "float32"))
    assert raw["categories"].numpy().tolist() == [[b"B"], [b""], [b""]]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"age": 121}, "age: it is outside 0 to 120 years."),
        ({"age": SECRET}, "age: it is not a number."),
        ({"age": True}, "age: it is not a number."),
        ({"age": float("nan")}, NO_VALUE_OF_A_TABLE),
        ({"age": float("inf")}, NO_VALUE_OF_A_TABLE),
        ({"age": 10**400}, NO_VALUE_OF_A_TABLE),
        ({"age": [SECRET]}, NO_VALUE_OF_A_TABLE),
        ({"ward": SECRET}, "ward: it is not in values."),
        ({"ward": SECRET * 100}, "ward: more than the 200 characters allowed."),
        ({"ward": "\ud800"}, "ward: it is not in values."),
        ({"smoker": SECRET}, "smoker: it is neither yes nor no."),
        ({"admitted": SECRET}, "admitted: it is not a date."),
        ({"admitted": "\ud800"}, "admitted: it is not a date."),
        ({"admitted": "2024-02-01"}, "admitted: it lies after seen."),
        ({"seen": None}, "seen: it is missing."),
        ({"seen": "0001-01-01"}, "admitted: it lies after seen."),
        ({"seen": "10000-01-01"}, "seen: it is not a date."),
        (dict.fromkeys(("age", "ward", "smoker", "admitted")), "every value is missing."),
        ({"who": SECRET}, "who: there is no such field, only seen, age, ward, smoker, admitted."),
    ],
)
def test_a_wrong_row_is_named_without_its_value(cells: dict[str, Any], problem: str) -> None:
    requests = read(ROW, ROW | cells, ROW)
    assert requests.problems == {1: problem}
    assert list(requests.split.ids) == ["1", "3"]


def test_a_column_must_be_there() -> None:
    for name in ROW:
        requests = read({key: value for key, value in ROW.items() if key != name})
        reason = "it is missing; null says that it was not measured."
        assert requests.problems == {0: f"{name}: {reason}"}
        assert len(requests.split) == 0


def test_many_wrong_rows_are_each_their_own_problem() -> None:
    requests = read(*[ROW | {"age": 500}] * 30, ROW)
    assert len(requests.problems) == 30
    assert len(requests.split) == 1


def test_the_schema_says_what_a_form_needs() -> None:
    schema = request_schema(PREPROCESSING)
    assert schema["required"] == list(ROW)
    assert schema["properties"]["age"] == {
        "type": ["number", "null"],
        "title": "age",
        "minimum": 0.0,
        "maximum": 120.0,
        "x-unit": "years",
    }
    assert schema["properties"]["ward"]["enum"] == ["A", "B", None]
    assert schema["properties"]["smoker"]["enum"] == ["yes", "no", None]
    assert schema["properties"]["admitted"]["format"] == "date"
    assert "Not a medical device" in schema["description"]
    assert not read(*schema["examples"]).problems


def test_wrong_labels_are_counted_and_not_shown() -> None:
    labels = np.array(["1", "0"], dtype=object)
    assert parse_labels(labels, PREPROCESSING).tolist() == [1, 0]
    with pytest.raises(DataProblem) as caught:
        parse_labels(np.array(["1", SECRET, "2"], dtype=object), PREPROCESSING)
    assert str(caught.value) == "--labels: the outcomes of 2 of 3 rows are not '1' or '0'."
