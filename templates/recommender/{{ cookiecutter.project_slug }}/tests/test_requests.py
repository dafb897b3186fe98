"""Users and histories that somebody sends."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import data, inputs
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.inputs import read_requests, request_schema
from {{ cookiecutter.package_name }}.objective import decode_predictions, postprocess
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

ITEMS = ("tea", "milk", "rice", "salt")
PREPROCESSING = Preprocessing(
    users=("ann", "bob"),
    items=ITEMS,
    item_counts=(4, 3, 2, 1),
    recent_item_counts=(1, 1, 1, 1),
    max_history=5,
    exclude_seen=True,
)
UNKNOWN_USER = "user: it is unknown; a new user needs a history, or an empty one."
NO_KNOWN_ITEM = "history: none of its items is in the catalogue."
WRONG_NUMBER = "top_k: it must be a whole number from 1 to 100."


class Purchases:
    """Histories of a source: carl has bought since the model was trained."""

    def find(self, user: str) -> list[str]:
        return {"ann": ["tea", "new item"], "carl": ["rice"]}.get(user, [])


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(inputs, "load_histories", lambda config: Purchases())
    return load_config([])


def recommend(row: dict[str, Any], config: Config | None = None) -> list[str]:
    """Return the items recommended for a row by scores that fall along the catalogue."""
    requests = read_requests([row], PREPROCESSING, config)
    assert not requests.problems
    raw = requests.split.fetch(tf.range(1, dtype=tf.int64))
    outputs = postprocess(raw, np.array([[4.0, 3.0, 2.0, 1.0]]), PREPROCESSING)
    return list(decode_predictions(outputs, PREPROCESSING)[0]["scores"])


def test_the_history_of_a_known_user_is_looked_up(config: Config) -> None:
    assert recommend({"user": "ann"}, config) == ["milk", "rice", "salt"]
    assert recommend({"user": "carl"}, config) == ["tea", "milk", "salt"]
    assert recommend({"user": "bob"}, config) == list(ITEMS)
    assert recommend({"user": "ann"}) == list(ITEMS), "without the source nothing is known as seen"


def test_a_history_that_is_sent_counts(config: Config) -> None:
    assert recommend({"user": "ann", "history": ["milk"]}, config) == ["tea", "rice", "salt"]
    assert recommend({"user": "ann", "history": []}, config) == list(ITEMS)
    assert recommend({"history": ["milk", "unheard of"]}, config) == ["tea", "rice", "salt"]
    assert recommend({"user": "someone new", "history": []}, config) == list(ITEMS)
    assert recommend({"history": "milk|tea"}, config) == ["rice", "salt"]


def test_fewer_and_only_some_items() -> None:
    assert recommend({"history": ["tea"], "top_k": 2}) == ["milk", "rice"]
    assert recommend({"history": ["tea"], "top_k": "1"}) == ["milk"]
    assert recommend({"history": ["tea"], "only": ["salt", "tea", "rice"]}) == ["rice", "salt"]
    assert recommend({"user": "bob", "only": []}) == list(ITEMS)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "user: give a user, a history, or both."),
        ({"user": ""}, "user: give a user, a history, or both."),
        ({"user": "zoe"}, UNKNOWN_USER),
        ({"user": "\ud800"}, UNKNOWN_USER),
        ({"user": 1.5}, "user: it must be an id."),
        ({"user": True}, "user: it must be an id."),
        ({"history": ["x", "y"]}, NO_KNOWN_ITEM),
        ({"user": "zoe", "history": ["x"]}, NO_KNOWN_ITEM),
        ({"history": [["tea"]]}, "history: it must be a list of ids."),
        ({"history": {"tea": 1}}, "history: it must be a list of ids."),
        ({"history": ["tea"] * 10_001}, "history: 10,001 items, more than the 10,000 allowed."),
        ({"user": "ann", "only": ["x\n"]}, "only: 'x' is not in the catalogue."),
        ({"user": "ann", "top_k": 0}, WRONG_NUMBER),
        ({"user": "ann", "top_k": "9" * 5_000}, WRONG_NUMBER),
        ({"item": 1}, "item: there is no such field, only user, history, only, top_k."),
    ],
)
def test_a_wrong_row_is_a_problem_of_its_own(
    row: dict[str, Any], problem: str, config: Config
) -> None:
    requests = read_requests([row, {"user": "ann"}], PREPROCESSING, config)
    assert requests.problems == {0: problem}
    assert list(requests.split.ids) == ["2"]


def test_a_source_that_is_gone_is_no_secret_to_tell(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(config: Config) -> None:
        raise DataProblem("data.path: '/secret/place.csv' is not a file.")

    monkeypatch.setattr(inputs, "load_histories", fail)
    rows: list[dict[str, Any]] = [{"user": "ann"}, {"history": ["tea"]}]
    requests = read_requests(rows, PREPROCESSING, load_config([]))
    assert requests.problems == {0: "user: histories of users are not at hand; send the history."}
    assert "/secret/place.csv" in caplog.text


def test_each_source_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def read(fields: Any) -> Purchases:
        reads.append(fields.max_history)
        return Purchases()

    monkeypatch.setattr(data, "UserHistories", read)
    for epochs in ("1", "2"):
        for longest in ("7", "8"):  # of two models of a service
            words = ["--data.max_history", longest, "--train.epochs", epochs]
            read_requests([{"user": "ann"}, {"user": "carl"}], PREPROCESSING, load_config(words))
    assert reads == [7, 8]


def test_an_example_is_right_where_histories_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: Config) -> None:
        raise DataProblem("data.path: 'events.csv' is not a file.")

    monkeypatch.setattr(inputs, "load_histories", fail)
    rows = request_schema(PREPROCESSING)["examples"]
    assert len(read_requests(rows, PREPROCESSING, load_config([])).split) > 0


def test_every_example_is_right() -> None:
    rows = request_schema(PREPROCESSING)["examples"]
    assert not read_requests(rows, PREPROCESSING, None).problems
