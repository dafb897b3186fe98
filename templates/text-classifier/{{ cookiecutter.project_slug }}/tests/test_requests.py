"""Texts that somebody sends."""

from typing import Any

import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.inputs import read_requests, request_schema
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.tokens import MAX_CHARACTERS

PREPROCESSING = Preprocessing(
    tokenizer="word",
    lowercase=True,
    vocabulary=("hello", "world"),
    tokenizer_state="",
    sequence_length=4,
    classes=("a", "b"),
)


def test_texts_are_read_as_they_are() -> None:
    texts = ["Hello world", "\u202eright to left", "\ud83d alone", "nul \x00", "你好"]
    texts.append("x" * MAX_CHARACTERS)
    requests = read_requests([{"text": text} for text in texts], PREPROCESSING, None)
    assert not requests.problems
    fetched = requests.split.fetch(tf.range(len(texts), dtype=tf.int64))
    expected = [text.encode("utf-8", "replace") for text in texts]
    assert fetched.numpy().tolist() == expected
    assert PREPROCESSING(fetched)[0, :2].numpy().tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "text: it is empty."),
        (" \n\t", "text: it is empty."),
        ("x" * (MAX_CHARACTERS + 1), "text: 100,001 characters, more than the 100,000 allowed."),
        (None, "text: it is missing."),
        (3, "text: it must be a text."),
        (b"bytes", "text: it must be a text."),
        (["text"], "text: it must be a text."),
    ],
)
def test_a_wrong_text_is_a_problem_of_its_own(text: Any, problem: str) -> None:
    requests = read_requests([{"text": text}, {"text": "good"}], PREPROCESSING, None)
    assert requests.problems == {0: problem}
    assert list(requests.split.ids) == ["2"]


def test_the_limits_are_in_the_schema() -> None:
    field = request_schema(PREPROCESSING)["properties"]["text"]
    assert (field["minLength"], field["maxLength"]) == (1, MAX_CHARACTERS)
