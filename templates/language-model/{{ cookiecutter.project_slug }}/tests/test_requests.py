"""Rows that somebody sends: prompts and messages."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.inputs import (
    MAX_CHARACTERS,
    Request,
    example,
    read_requests,
    request_schema,
    signature,
)
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.tokens import fit_bytes

TOKENIZER = fit_bytes(["hello"], None)
TEXTS = Preprocessing(TOKENIZER, context=64)
CHATS = Preprocessing(TOKENIZER, context=64, kind="chat")
MESSAGES = [{"role": "user", "content": "hi"}]


def read(rows: list[Any], preprocessing: Preprocessing = TEXTS) -> tuple[list[Request], dict]:
    requests = read_requests(rows, preprocessing, None)
    raw = requests.split.fetch(tf.range(len(requests.split), dtype=tf.int64))
    return [Request.from_json(text) for text in raw.numpy()], dict(requests.problems)


def test_prompts_are_read_as_they_are() -> None:
    texts = ["Hello world", "\u202eright to left", "\ud83d alone", "nul \x00 \x1b[31m"]
    texts += ["你好", "\n"]
    requests, problems = read([{"prompt": text} for text in texts])
    assert not problems
    for text, request in zip(texts, requests, strict=True):
        assert request.ids[:1] == TOKENIZER.start_ids
        assert TOKENIZER.decode(request.ids) == text.encode("utf-8", "replace").decode()


def test_special_tokens_in_a_prompt_are_text() -> None:
    [request], _ = read([{"prompt": "<end><user>"}])
    assert not TOKENIZER.special_ids & set(request.ids[len(TOKENIZER.start_ids) :])


def test_options_are_read() -> None:
    row = {"prompt": "a", "temperature": 0, "top_p": 0.5, "top_k": 3.0, "seed": 7}
    [request, other], problems = read(
        [{**row, "max_tokens": 5.0, "stop": "x"}, {"prompt": "a", "stop": ["x", "y"], "seed": None}]
    )
    sampling = request.sampling
    assert not problems
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0, 0.5, 3)
    assert (sampling.seed, sampling.max_tokens, sampling.stop) == (7, 5, ("x",))
    assert (other.sampling.stop, other.sampling.seed) == (("x", "y"), 0)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": ""}, "prompt: it is empty."),
        ({}, "prompt: it is missing."),
        ({"prompt": None}, "prompt: it is missing."),
        ({"prompt": 3}, "prompt: it must be a text."),
        ({"prompt": b"bytes"}, "prompt: it must be a text."),
        ({"prompt": "x" * 64}, "prompt: 65 tokens; the model's context has 64, for a prompt"),
        ({"prompt": "x" * (MAX_CHARACTERS + 1)}, "prompt: 1,000,001 characters, more than"),
        ({"prompt": "a", "max_tokens": 1_000_000}, "max_tokens: 1,000,000 is more than the 64"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens: 0 is not a whole number"),
        ({"prompt": "a", "temperature": "hot"}, "temperature: 'hot' is not a number from 0 to 10"),
        ({"prompt": "a", "top_p": 0}, "top_p: 0 keeps no token"),
        ({"prompt": "a", "seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"prompt": "a", "stop": [""]}, "stop: a text of 0 characters"),
        ({"prompt": "a", "stop": 3}, "stop: it must be a list of texts."),
        ({"prompt": "a", "text": "b"}, "text: there is no such field, only prompt, messages,"),
        ({"messages": MESSAGES}, "messages: this model has learnt texts, not chats"),
        ({"messages": MESSAGES, "prompt": "a"}, "messages: a row has a prompt or messages"),
        ("a", "a row must be an object"),
    ],
)
def test_a_wrong_row_is_a_problem_of_its_own(row: Any, problem: str) -> None:
    requests, problems = read([row, {"prompt": "good"}])
    assert list(problems) == [0]
    assert problems[0].startswith(problem)
    assert len(requests) == 1


def test_messages_become_a_prompt() -> None:
    requests, problems = read(
        [{"messages": MESSAGES}, {"messages": np.array(MESSAGES)}, {"prompt": "a"}], CHATS
    )
    assert not problems
    assert requests[0].ids == requests[1].ids
    text = TOKENIZER.decode(requests[0].ids, skip_special=False)
    assert "hi" in text
    assert requests[0].ids[-1] != TOKENIZER.end_id, "the answer is still to come"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "hi",
        ["hi"],
        [{"role": "user"}],
        [{"role": "wizard", "content": "hi"}],
        [*MESSAGES, {"role": "user", "content": "x" * 100}],
        MESSAGES * 2000,
    ],
)
def test_wrong_messages_are_named(messages: Any) -> None:
    _, problems = read([{"messages": messages}], CHATS)
    assert problems[0].startswith("messages"), problems


@pytest.mark.parametrize("preprocessing", [TEXTS, CHATS])
def test_schema_signature_and_example_agree(preprocessing: Preprocessing) -> None:
    schema = request_schema(preprocessing)
    assert not read(schema["examples"], preprocessing)[1]
    assert json.loads(json.dumps(schema)) == schema
    for column in signature(preprocessing)["inputs"]:
        assert column["name"] in schema["properties"]
    assert ("messages" in schema["properties"]) is (preprocessing is CHATS)

    class Texts:
        def read_texts(self, positions: np.ndarray) -> list[str]:
            return ["The first text. " * 20]

    class Data:
        train = Texts()

    rows = example(Data(), preprocessing).to_dict("records")  # type: ignore[arg-type]
    assert not read(rows, preprocessing)[1]
