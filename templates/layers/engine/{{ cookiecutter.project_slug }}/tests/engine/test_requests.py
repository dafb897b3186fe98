"""Rows that somebody sends: fields, bytes, and tables of MLflow."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.requests import (
    check_fields,
    check_requests,
    decode_bytes,
    read_frame,
)

from . import tiny

SCHEMA = {"properties": {"file": {"type": "string", "contentEncoding": "base64"}, "name": {}}}


def test_a_wrong_row_is_left_out_and_named() -> None:
    good = {"point": ",".join(["1"] * tiny.FEATURES)}
    rows: list[Any] = [good, {"point": "1,2"}, good, {"point": 3}, [], {**good, "more": 1}]
    requests = tiny.read_requests(rows, None, None)
    assert list(requests.split.ids) == ["1", "3"]
    assert requests.problems == {
        1: "point: it needs 8 numbers.",
        3: "point: it needs 8 numbers.",
        4: "a row must be an object with point.",
        5: "more: there is no such field, only point.",
    }
    with pytest.raises(DataProblem, match=r"^row 2: point: it needs 8 numbers\.$"):
        check_requests(requests)
    assert len(check_requests(tiny.read_requests([good], None, None))) == 1


def test_names_of_fields_are_shown_short_and_on_one_line() -> None:
    with pytest.raises(DataProblem) as caught:
        check_fields({"a\n" * 500: 1}, ("b",))
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_base64_is_decoded_strictly() -> None:
    assert decode_bytes({"file": "aGk=", "name": "aGk="}, SCHEMA) == {"file": b"hi", "name": "aGk="}
    assert decode_bytes({"file": None}, SCHEMA) == {"file": None}
    for text in ("aGk", "a?k=", "é"):
        with pytest.raises(DataProblem, match=r"^file: it is not base64\.$"):
            decode_bytes({"file": text}, SCHEMA)


def test_empty_cells_of_a_table_are_no_values() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None], "c": [b"1", b"2"]})
    second = {"a": None, "b": None, "c": b"2"}
    assert read_frame(frame) == [{"a": 1.0, "b": "x", "c": b"1"}, second]
