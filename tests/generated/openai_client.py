"""OpenAI's own client against a service of a language model; asserts what it gets.

Called in an environment that has the client: ``openai_client.py ADDRESS MODEL KEY chat|text``.
"""

import asyncio
import sys
import time
from typing import Any

import openai

USERS = 32


def ask(client: Any, model: str, kind: str, **fields: Any) -> Any:
    """Ask for an answer to a short prompt, unless the fields have another one."""
    if kind == "chat":
        messages = fields.pop("messages", [{"role": "user", "content": "Hello there"}])
        return client.chat.completions.create(model=model, messages=messages, **fields)
    prompt = fields.pop("prompt", "The function returns")
    return client.completions.create(model=model, prompt=prompt, **fields)


def text_of(answer: Any, kind: str) -> str:
    """The text of a whole answer."""
    choice = answer.choices[0]
    return choice.message.content if kind == "chat" else choice.text


def read_stream(stream: Any, kind: str) -> tuple[str, str | None, Any]:
    """Return text, finish reason and usage of a stream."""
    text, reason, usage = "", None, None
    for part in stream:
        usage = part.usage or usage
        for choice in part.choices:
            text += (choice.delta.content if kind == "chat" else choice.text) or ""
            reason = choice.finish_reason or reason
    return text, reason, usage


def check_answers(client: Any, model: str, kind: str) -> None:
    """Whole answers, streams, seeds, stops and counts."""
    found = client.models.list().data
    assert model in [one.id for one in found]
    assert client.models.retrieve(model).id == model
    fields = {"max_tokens": 12, "seed": 7, "temperature": 1.0, "top_p": 0.9}
    whole = ask(client, model, kind, n=1, user="ann", **fields)
    assert whole.choices[0].finish_reason in ("stop", "length")
    usage = whole.usage
    assert 1 <= usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    options = {"include_usage": True}
    stream = ask(client, model, kind, stream=True, stream_options=options, **fields)
    text, reason, counted = read_stream(stream, kind)
    assert text == text_of(whole, kind), (text, text_of(whole, kind))
    assert reason == whole.choices[0].finish_reason
    assert counted == usage
    again = ask(client, model, kind, **fields)
    assert text_of(again, kind) == text
    stop = text[len(text) // 2 :][:2]
    if stop:
        cut = ask(client, model, kind, stop=[stop], **fields)
        assert text_of(cut, kind) == text[: text.index(stop)]
        assert cut.choices[0].finish_reason == "stop"
        stream = ask(client, model, kind, stop=stop, stream=True, **fields)
        assert read_stream(stream, kind)[0] == text[: text.index(stop)]
    if kind == "chat":
        limit = {**fields, "max_completion_tokens": 3}
        del limit["max_tokens"]
        assert ask(client, model, kind, **limit).usage.completion_tokens <= 3
        tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
        ask(client, model, kind, tools=[tool], max_tokens=2)


def check_refusals(client: Any, model: str, kind: str) -> None:
    """What is wrong is refused by name, as the client's own errors."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("max_tokens", {"max_tokens": 1_000_000}),
        ("n", {"n": 2}),
        ("temperature", {"temperature": 3}),
        ("presence_penalty", {"presence_penalty": 1}),
        ("nonsense", {"extra_body": {"nonsense": 1}}),
    ]
    if kind == "chat":
        wrong.append(("logprobs", {"logprobs": True}))
        wrong.append(("messages", {"messages": []}))
        for content in ("", "a\x00b"):
            message = {"role": "user", "content": content}
            wrong.append(("messages[0].content", {"messages": [message]}))
    else:
        wrong += [("logprobs", {"logprobs": 1}), ("prompt", {"prompt": "a\x00b"})]
    for param, fields in wrong:
        error = refusal_of(client, model, kind, openai.BadRequestError, **fields)
        assert error.param == param, (param, error)
        assert error.message, fields
    long = "word " * 20_000
    prompt = {"messages": [{"role": "user", "content": long}]} if kind == "chat" else {}
    error = refusal_of(client, model, kind, openai.BadRequestError, **(prompt or {"prompt": long}))
    assert error.code == "context_length_exceeded"
    error = refusal_of(client, "other", kind, openai.NotFoundError)
    assert error.code == "model_not_found"


def refusal_of(client: Any, model: str, kind: str, expected: type[Exception], **fields: Any) -> Any:
    """The error of a request, of an expected type."""
    try:
        ask(client, model, kind, **fields)
    except expected as error:
        return error
    raise AssertionError(f"{model}, {fields}: not refused")


async def check_users(address: str, key: str, model: str, kind: str) -> None:
    """Many users at once: each gets what they would get alone; some leave early."""
    client = openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0)

    async def use(seed: int) -> str:
        answer = await ask(client, model, kind, max_tokens=8, seed=seed, temperature=1.0)
        return text_of(answer, kind)

    async def leave(seed: int) -> None:
        stream = await ask(client, model, kind, max_tokens=40, seed=seed, stream=True)
        async for _ in stream:
            break
        await stream.close()

    alone = [await use(seed) for seed in range(4)]
    leaving = [leave(seed) for seed in range(8)]
    together = await asyncio.gather(*(use(seed) for seed in range(USERS)), *leaving)
    assert together[:4] == alone
    await client.close()


def main(address: str, model: str, key: str, kind: str) -> None:
    """Check everything."""
    client = openai.OpenAI(base_url=address, api_key=key, max_retries=0)
    check_answers(client, model, kind)
    check_refusals(client, model, kind)
    asyncio.run(check_users(address, key, model, kind))
    if key != "unused":
        try:
            openai.OpenAI(base_url=address, api_key="wrong").models.list()
        except openai.AuthenticationError:
            pass
        else:
            raise AssertionError("a wrong key was not refused")


if __name__ == "__main__":
    started = time.monotonic()
    main(*sys.argv[1:])
    print(f"right, {time.monotonic() - started:.1f} s")
