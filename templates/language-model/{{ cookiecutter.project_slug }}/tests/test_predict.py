"""The command ``predict``: prompts, files, chats; what it prints and writes."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import prediction
from {{ cookiecutter.package_name }}.engine.config_loader import Parser
from {{ cookiecutter.package_name }}.engine.errors import DataProblem, UsageProblem
from {{ cookiecutter.package_name }}.inputs import read_requests
from {{ cookiecutter.package_name }}.networks import gpt
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.tokens import fit_bytes

CONTEXT = 64


def make_model(kind: str) -> Any:
    tokenizer = fit_bytes(["hello"], None)
    network = gpt.build(tokenizer.size, CONTEXT, 1, 2, 8, form="llama")
    random = np.random.default_rng(0)
    network.set_weights([w + random.normal(0, 0.2, w.shape) for w in network.get_weights()])
    preprocessing = Preprocessing(tokenizer, CONTEXT, kind)
    return SimpleNamespace(network=network, preprocessing=preprocessing, memo={})


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("text")


@pytest.fixture(scope="module")
def chat_model() -> Any:
    return make_model("chat")


def parse(*words: str) -> Namespace:
    parser = Parser(prog="predict", allow_abbrev=False)
    prediction.add_arguments(parser)
    return parser.parse_args(words, Namespace(json=False, output=None, batch_size=2))


def predict(model: Any, *words: str) -> list[dict[str, Any]]:
    return list(prediction.predict(model, parse(*words), None))  # type: ignore[arg-type]


def test_each_prompt_has_a_row(model: Any, tmp_path: Path, monkeypatch: Any) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("one\n\ntwo\n", encoding="utf-8")
    table = tmp_path / "rows.jsonl"
    rows = [{"prompt": "one", "id": "mine"}, {"prompt": "two", "max_tokens": 1, "seed": 9}]
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", iter(["one\n"]))
    answers = predict(model, "one", str(lines), str(table), "-", "--max-tokens", "6")
    assert [row["id"] for row in answers] == ["one", "1", "3", "mine", "2", "1"]
    same = [answers[place]["prediction"] for place in (0, 1, 3, 5)]
    assert len(set(same)) == 1, "one prompt, one seed, one answer"
    assert [row["tokens"] for row in answers] == [6, 6, 6, 6, 1, 6]
    assert {row["finish_reason"] for row in answers} == {"length"}


def test_a_seed_and_a_temperature_decide(model: Any) -> None:
    words = ["hello", "--max-tokens", "8"]
    [first], [again] = (predict(model, *words, "--seed", "4") for _ in range(2))
    assert first == again
    [other] = predict(model, *words, "--seed", "5")
    assert other["prediction"] != first["prediction"]
    [cold] = predict(model, *words, "--temperature", "0")
    [narrow] = predict(model, *words, "--top-k", "1", "--seed", "5")
    assert cold["prediction"] == narrow["prediction"]
    [beam] = predict(model, *words, "--beams", "2")
    assert beam["tokens"] <= 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "--temperature", "-1"], "--temperature: -1.0 is not a number from 0 to 10."),
        (["a", "--max-tokens", "1000000"], "--max-tokens: 1,000,000 is more than the 64 tokens"),
        (["a", "--top-k", "0"], "--top-k: 0 is not a whole number"),
        (["a", "--beams", "100"], "--beams: 100 is not a number from 1 to 64."),
        (["a", "--beams", "2", "--seed", "1"], "--beams: it leaves nothing to chance; leave out"),
        (["a", "--beams", "2", "--stream"], "--stream: not with --beams"),
        (["a", "--stop", ""], "--stop: a text of 0 characters"),
        (["a", "--chat"], "--chat: this model has learnt texts, not chats"),
        (["a", "--system", "Be brief."], "--system: only chats have such a message"),
    ],
)
def test_wrong_arguments_are_named(words: list[str], message: str, model: Any) -> None:
    with pytest.raises(UsageProblem) as error:
        predict(model, *words)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{]", "line 1 is not JSON."),
        ("a.jsonl", b"[1]", "line 1 is not an object with a prompt or messages."),
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": ""}', "input 2: prompt: it is empty."),
        ("a.txt", b"\xff\xfe\xfa", "it is not UTF-8."),
        ("a.txt", b"\n\n", "input: there is no prompt in"),
        ("a.txt", b"x" * 99, "input 1: prompt: 100 tokens; the model's context has 64"),
    ],
)
def test_a_wrong_file_stops_it_all(
    name: str, content: bytes, message: str, model: Any, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    words = [str(tmp_path / name)] if "no prompt" in message else ["good", str(tmp_path / name)]
    with pytest.raises(DataProblem) as error:
        prediction.predict(model, parse(*words), None)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_a_stream_is_printed_and_has_no_row(model: Any, capsys: Any) -> None:
    words = ["hello", "--max-tokens", "6", "--seed", "3"]
    [row] = predict(model, *words)
    assert predict(model, *words, "--stream") == []
    assert capsys.readouterr().out == prediction._show(row["prediction"]) + "\n"
    assert predict(model, "a", *words, "--stream") == []
    assert capsys.readouterr().out.startswith("[a]\n")


def test_lines_of_the_printed_table() -> None:
    rows = [{"id": "a\x1b", "prediction": "one\x1b[31m\ttwo\n\u00a0"}]
    rows += [{"id": "b", "prediction": ""}]
    assert list(prediction.format_predictions(rows[:1])) == ["one\ufffd[31m\ttwo\n\u00a0"]
    assert list(prediction.format_predictions(rows))[0::3] == ["[a\ufffd]", "[b]"]
    assert list(prediction.format_predictions([])) == []


def test_chats_are_answered(chat_model: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "hi"}]}', encoding="utf-8")
    few = ["--max-tokens", "6"]
    [by_word] = predict(chat_model, "hi", *few)
    [by_row] = predict(chat_model, str(rows), *few)
    [continued] = predict(chat_model, "hi", "--no-chat", *few)
    assert by_word["prediction"] == by_row["prediction"] != continued["prediction"]
    [told] = predict(chat_model, "hi", "--system", "Be brief.", *few)
    assert told["prediction"] != by_word["prediction"]


def test_talk_in_a_terminal(chat_model: Any, monkeypatch: Any, capsys: Any) -> None:
    typed = iter(["hi", "", "and now?", "/new", "hi", "x" * 200])

    def ask(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", ask)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert predict(chat_model, "--chat", "--max-tokens", "4") == []
    lines = capsys.readouterr().out
    assert "messages: 2" in lines, "what is too long is said, and the chat goes on"
    with pytest.raises(UsageProblem, match="input: give a prompt"):
        predict(chat_model, "--no-chat")


def test_requests_are_answered_in_their_order(model: Any) -> None:
    rows = [{"prompt": text, "max_tokens": 5} for text in ("hello", "a", "hello")]
    requests = read_requests(rows, model.preprocessing, None)
    answers = prediction.respond(model, requests.split, None)
    assert [set(answer) for answer in answers] == [{"prediction", "finish_reason", "tokens"}] * 3
    assert answers[0] == answers[2] != answers[1]
    assert prediction.respond(model, requests.split.take(np.array([1])), None) == answers[1:2]
