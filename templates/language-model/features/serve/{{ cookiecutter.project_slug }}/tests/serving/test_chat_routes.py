"""Chats and completions: answers, streams, limits and refusals, with a model that writes words."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.engine.chat.hooks import after_loading
from {{ cookiecutter.package_name }}.engine.chat.sections import ChatFields
from {{ cookiecutter.package_name }}.engine.chat.writers import NAME, Settings
from {{ cookiecutter.package_name }}.engine.serving import request_log
from {{ cookiecutter.package_name }}.engine.serving.app import create_app
from {{ cookiecutter.package_name }}.engine.serving.keys import Keys, add

from .chat_models import Stream, WordWriter, WritingModel, make_chat_service
from .client import EchoModel, ask, until

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}


def run(test: Callable[..., Any], *models: Any, keys: Keys | None = None, **fields: Any) -> Any:
    """Call an asynchronous test with the application of a service and what writes."""
    found = models or (WritingModel(WordWriter()),)

    async def main() -> Any:
        service = make_chat_service(*found, **fields)
        app = create_app(service, keys)
        try:
            return await test(app, service, getattr(found[0], "writer", None))
        finally:
            await service.close()

    return asyncio.run(main())


def refusal_of(content: Any, path: str = CHAT, **fields: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a request."""

    async def test(app: Any, service: Any, writer: WordWriter) -> tuple[int, dict[str, Any]]:
        answer = await ask(app, "POST", path, content)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert not writer.order, "a request that is refused is not written"
        return answer.status, error

    return run(test, **fields)


# === Answers ===


def test_a_chat_is_answered() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        answer = (await ask(app, "POST", CHAT, HELLO | {"model": "writer"})).json()
        assert answer["object"] == "chat.completion"
        assert answer["model"] == "writer"
        (choice,) = answer["choices"]
        assert choice["message"]["content"] == "one two three "
        assert choice["finish_reason"] == "length"
        counts = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        assert answer["usage"] == counts

    run(test)


def test_a_text_is_continued_until_a_stop() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        body = {"prompt": "count", "stop": "three", "seed": 5, "temperature": 0, "top_p": 0.5}
        answer = (await ask(app, "POST", TEXT, body)).json()
        assert answer["object"] == "text_completion"
        assert answer["choices"][0]["text"] == "one two "
        assert answer["choices"][0]["finish_reason"] == "stop"
        (settings,) = writer.settings
        assert (settings.seed, settings.temperature, settings.top_p) == (5, 0, 0.5)
        assert settings.max_tokens == 95, "as many as the context has place for"

    run(test)


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_has_the_same_text(path: str) -> None:
    body = HELLO if path == CHAT else {"prompt": "hello", "max_tokens": 3}
    body = body | {"stream": True, "stream_options": {"include_usage": True}}

    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        stream = Stream(app, path, body)
        *events, last, done = await stream.events()
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert done == "[DONE]"
        assert len({event["id"] for event in events}) == 1
        assert all(event["usage"] is None for event in events)
        choices = [event["choices"][0] for event in events]
        parts = [choice["delta"] if path == CHAT else choice for choice in choices]
        texts = [part.get("content") or part.get("text") or "" for part in parts]
        assert "".join(texts) == "one two three "
        ends = [choice["finish_reason"] for choice in choices]
        assert ends == [None] * (len(ends) - 1) + ["length"]
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 3
        if path == CHAT:
            assert parts[0] == {"role": "assistant", "content": ""}

    run(test)


def test_requests_are_written_together_and_join_between_steps() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.may_write.clear()
        first = Stream(app, TEXT, {"prompt": "a", "max_tokens": 50, "stream": True})
        await until(lambda: writer.order)
        others = [Stream(app, TEXT, {"prompt": "b", "max_tokens": 2, "stream": True})] * 1
        others += [Stream(app, TEXT, {"prompt": "c", "max_tokens": 2, "stream": True})]
        await until(lambda: len(service.find_lane(None, "chat")._lines) == 2)
        writer.may_write.set()
        for other in others:
            assert (await other.events())[-1] == "[DONE]"
        assert (await first.events())[-1] == "[DONE]"
        assert writer.most == 3
        assert writer.steps <= 53

    run(test)


def test_the_models_are_named() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        (model,) = (await ask(app, "GET", "/v1/models")).json()["data"]
        assert (model["id"], model["object"]) == ("writer", "model")
        assert (model["context_length"], model["max_tokens"], model["has_chat"]) == (100, 99, True)
        assert (await ask(app, "GET", "/v1/models/writer")).json() == model
        assert (await ask(app, "GET", "/v1/models/other")).status == 404

    run(test)


def test_tools_reach_the_template() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}

    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        assert (await ask(app, "POST", CHAT, HELLO | {"tools": [tool]})).status == 200
        assert writer.tools == [tool]
        await ask(app, "POST", CHAT, HELLO | {"tools": [tool], "tool_choice": "none"})
        assert writer.tools is None
        parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
        body = {"messages": [{"role": "user", "content": parts}], "max_completion_tokens": 1}
        assert (await ask(app, "POST", CHAT, body)).json()["usage"]["prompt_tokens"] == 5

    run(test)


# === Refusals ===


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("messages", {}),
        ("messages", {"messages": []}),
        ("messages[0]", {"messages": ["hello"]}),
        ("messages[0].role", {"messages": [{"role": "nobody", "content": "x"}]}),
        ("messages[0].content", user("")),
        ("messages[0].content", user(" \n")),
        ("messages[0].content", user("a\x00b")),
        ("messages[0].content", user("a\x1b[2Jb")),
        ("messages[0].content", user(3)),
        ("messages[0].content[0]", user([{"type": "image_url", "image_url": {"url": "x"}}])),
        ("messages", {"messages": [{"role": "assistant", "content": "x"}]}),
        ("messages", user("x" * 100)),
        ("messages", user("x" * 100_000)),
        ("n", HELLO | {"n": 2}),
        ("logprobs", HELLO | {"logprobs": True}),
        ("logit_bias", HELLO | {"logit_bias": {"5": 1}}),
        ("presence_penalty", HELLO | {"presence_penalty": 0.5}),
        ("response_format", HELLO | {"response_format": {"type": "json_object"}}),
        ("tool_choice", HELLO | {"tool_choice": "required"}),
        ("tools", HELLO | {"tools": ["add"]}),
        ("temperature", HELLO | {"temperature": 2.5}),
        ("temperature", HELLO | {"temperature": True}),
        ("temperature", HELLO | {"temperature": "1"}),
        ("top_p", HELLO | {"top_p": 0}),
        ("top_k", HELLO | {"top_k": 0}),
        ("seed", HELLO | {"seed": 1.5}),
        ("seed", HELLO | {"seed": 2**70}),
        ("stop", HELLO | {"stop": [""]}),
        ("stop", HELLO | {"stop": ["a", "b", "c", "d", "e"]}),
        ("stop", HELLO | {"stop": 3}),
        ("stream", HELLO | {"stream": "yes"}),
        ("stream_options", HELLO | {"stream_options": {"include_usage": True}}),
        ("max_tokens", HELLO | {"max_tokens": 1_000_000}),
        ("max_tokens", HELLO | {"max_tokens": 0}),
        ("max_completion_tokens", HELLO | {"max_completion_tokens": -1}),
        ("model", HELLO | {"model": 3}),
        ("nothing", HELLO | {"nothing": 1}),
    ],
)
def test_what_is_wrong_is_named(param: str, body: dict[str, Any]) -> None:
    status, error = refusal_of(body)
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("prompt", {}),
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": ["a", "b"]}),
        ("prompt", {"prompt": [1, 2]}),
        ("prompt", {"prompt": "a\x07"}),
        ("prompt", {"prompt": "x" * 100}),
        ("echo", {"prompt": "a", "echo": True}),
        ("best_of", {"prompt": "a", "best_of": 3}),
        ("suffix", {"prompt": "a", "suffix": "b"}),
        ("logprobs", {"prompt": "a", "logprobs": 2}),
        ("messages", {"prompt": "a", "messages": []}),
    ],
)
def test_what_is_wrong_with_a_text_is_named(param: str, body: dict[str, Any]) -> None:
    status, error = refusal_of(body, TEXT)
    assert (status, error["param"]) == (400, param)


def test_statuses_and_codes_are_those_of_openai() -> None:
    status, error = refusal_of(HELLO | {"model": "gpt-5"})
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    status, error = refusal_of(user("x" * 100))
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert refusal_of(b"{")[0] == 415
    assert refusal_of([1])[0] == 400
    status, error = refusal_of(HELLO, "/v1/nothing")
    assert (status, error["type"]) == (404, "invalid_request_error")
    assert refusal_of(user("x" * 2_000), serve={"max_body_mb": 0.001})[0] == 413


def test_a_model_without_a_chat_template_continues_texts_only() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        refused = await ask(app, "POST", CHAT, HELLO)
        assert refused.status == 400
        assert "/v1/completions" in refused.json()["error"]["message"]
        assert (await ask(app, "POST", TEXT, {"prompt": "a", "max_tokens": 1})).status == 200

    run(test, WritingModel(WordWriter(has_chat=False)))


def test_a_model_that_does_not_write_is_named() -> None:
    async def test(app: Any, service: Any, writer: Any) -> None:
        refused = await ask(app, "POST", CHAT, HELLO)
        assert (refused.status, refused.json()["error"]["param"]) == (400, "model")

    run(test, EchoModel())


def test_a_key_is_asked_for(tmp_path: Any) -> None:
    key = add(tmp_path / "keys.json", "ann")

    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        refused = await ask(app, "POST", CHAT, HELLO)
        assert (refused.status, refused.json()["error"]["type"]) == (401, "authentication_error")
        answer = await ask(app, "POST", CHAT, HELLO, authorization=f"Bearer {key}")
        assert answer.status == 200
        for path in ("/", "/page/chat/main.js", "/page/style.css"):
            assert (await ask(app, "GET", path)).status == 200
        writer.may_write.clear()
        other = asyncio.create_task(ask(app, "POST", CHAT, HELLO, authorization=f"Bearer {key}"))
        await until(lambda: len(writer.order) == 2)
        refused = await ask(app, "POST", CHAT, HELLO, authorization=f"Bearer {key}")
        assert (refused.status, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert refused.headers["retry-after"] == "1"
        writer.may_write.set()
        assert (await other).status == 200

    run(test, keys=Keys(tmp_path / "keys.json"), per_key=1)


# === Limits ===


def test_a_full_queue_refuses_at_once() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.may_write.clear()
        tasks = [asyncio.create_task(ask(app, "POST", CHAT, HELLO))]
        await until(lambda: writer.order)
        tasks += [asyncio.create_task(ask(app, "POST", CHAT, HELLO)) for _ in range(2)]
        await until(lambda: len(service.find_lane(None, "chat")._lines) == 2)
        refused = await ask(app, "POST", CHAT, HELLO | {"stream": True})
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["type"] == "server_error"
        writer.may_write.set()
        assert [(await task).status for task in tasks] == [200, 200, 200]
        assert writer.most == 1

    run(test, slots=1, queue=2)


def test_keys_take_turns() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.may_write.clear()
        scheduler = service.find_lane(None, "chat")
        owners = {"a": "ann", "b": "ann", "c": "ann", "d": "bob", "e": "bob", "f": "cid"}
        settings = Settings(max_tokens=1)
        for text, owner in owners.items():
            scheduler.submit(writer.encode(text), settings, owner)
            await until(lambda: writer.order)  # the first one is being written
        writer.may_write.set()
        await until(lambda: len(writer.order) == len(owners))
        assert writer.order == ["a", "b", "d", "f", "c", "e"]

    run(test, slots=1)


def test_an_answer_ends_in_time() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.pace = 0.05
        body = {"prompt": "a", "max_tokens": 90}
        answers = await asyncio.gather(*(ask(app, "POST", TEXT, body) for _ in range(2)))
        begun, waits = sorted(answers, key=lambda answer: answer.status)
        assert (waits.status, waits.json()["error"]["type"]) == (504, "timeout_error")
        choice = begun.json()["choices"][0]
        assert choice["finish_reason"] == "length"
        assert choice["text"].startswith("one two ")

    run(test, slots=1, timeout_s=0.4)


def test_a_client_that_leaves_costs_nothing_more() -> None:
    body = {"prompt": "a", "max_tokens": 90}

    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.pace = 0.02
        stream = Stream(app, TEXT, body | {"stream": True})
        await stream.event()
        await stream.leave()
        await until(lambda: writer.cancelled == [1])
        whole = Stream(app, TEXT, body)
        await until(lambda: len(writer.order) == 2)
        waiting = Stream(app, TEXT, body | {"stream": True})
        await until(lambda: len(service.find_lane(None, "chat")._lines) == 1)
        await waiting.leave()
        await whole.leave()
        await until(lambda: writer.cancelled == [1, 2])
        assert not writer.active
        answers = service.metrics.write().decode()
        assert 'chat_answers_total{end="cancelled",model="writer"} 3.0' in answers

    run(test, slots=1)


def test_a_failure_is_that_of_its_requests() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        alone = await ask(app, "POST", TEXT, {"prompt": "broken"})
        assert (alone.status, alone.json()["error"]["type"]) == (500, "server_error")
        assert (await ask(app, "POST", CHAT, HELLO)).status == 200
        writer.may_write.clear()
        stream = Stream(app, CHAT, HELLO | {"stream": True})
        await until(lambda: len(writer.order) == 2)
        writer.fails = True
        writer.may_write.set()
        assert (await stream.events())[-1]["error"]["type"] == "server_error"
        assert (await ask(app, "POST", CHAT, HELLO)).status == 200

    run(test)


# === New models, the end, log and metrics ===


def test_a_new_model_loses_no_request() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.may_write.clear()
        old = [Stream(app, CHAT, HELLO | {"stream": True}) for _ in range(3)]
        await until(lambda: len(writer.order) == 1)
        service.put(WritingModel(WordWriter(version="new "), version="2"))
        new = await ask(app, "POST", CHAT, HELLO)
        assert new.json()["choices"][0]["message"]["content"] == "new new new "
        writer.may_write.set()
        for stream in old:
            events = await stream.events()
            assert events[-1] == "[DONE]"
            assert events[1]["choices"][0]["delta"]["content"] == "one "
        await service.wait_for_replaced()

    run(test, slots=1)


def test_answers_end_soon_once_the_service_is_to_stop() -> None:
    async def test(app: Any, service: Any, writer: WordWriter) -> None:
        writer.pace = 0.02
        stream = Stream(app, TEXT, {"prompt": "a", "max_tokens": 90, "stream": True})
        await stream.event()
        service.is_draining = True
        *_, last, done = await stream.events()
        assert (last["choices"][0]["finish_reason"], done) == ("length", "[DONE]")
        assert writer.cancelled == [1]

    run(test, drain_s=0.1)


def test_neither_log_nor_metrics_have_a_text(caplog: pytest.LogCaptureFixture) -> None:
    secret = "Jane Doe, 1950"

    async def test(app: Any, service: Any, writer: WordWriter) -> str:
        request_log.requests.setLevel("INFO")
        with caplog.at_level("INFO", request_log.requests.name):
            await ask(app, "POST", CHAT, user(secret) | {"max_tokens": 2})
            await Stream(app, TEXT, {"prompt": secret, "max_tokens": 2, "stream": True}).events()
            await ask(app, "POST", CHAT, user(secret) | {secret: 1})
        return service.metrics.write().decode()

    metrics = run(test)
    facts = [record.facts for record in caplog.records if hasattr(record, "facts")]  # type: ignore[attr-defined]
    assert [fact["status"] for fact in facts] == [200, 200, 400]
    for fact in facts[:2]:
        assert (fact["prompt_tokens"], fact["completion_tokens"]) == (14, 2)
        assert (fact["end"], fact["model"]) == ("length", "writer/1")
        assert fact["first_token_ms"] > 0
    assert secret not in json.dumps(facts) + metrics
    assert 'chat_tokens_total{kind="completion",model="writer"} 4.0' in metrics
    assert 'chat_first_token_seconds_count{model="writer"} 2.0' in metrics


def test_what_writes_is_made_before_the_model_answers() -> None:
    writer = WordWriter()
    model = WritingModel(writer)
    del model.artifact.memo[NAME]
    after_loading(SimpleNamespace(chat=ChatFields(slots=3)), model)
    assert model.artifact.memo[NAME] is writer
    assert (writer.most, writer.active) == (3, {})
