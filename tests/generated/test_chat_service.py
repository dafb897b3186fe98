"""The chat service of a language model: OpenAI's client, load, shutdown, new models."""

import asyncio
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.environments import project_python
from tests.generated import services
from tests.generated.servers import wait_for
from tests.generated.services import HOST, RunningService, environment, serving

pytestmark = [pytest.mark.slow, pytest.mark.minutes(8), pytest.mark.xdist_group("chat_service")]

CLIENT = Path(__file__).with_name("openai_client.py")
TINY = ("--model.layers", "1", "--model.heads", "2", "--model.embedding_dim", "32")
USERS = 32


@cache
def make_writers() -> dict[str, Any]:
    """A project with a model of texts and one of chats; their runs by name."""
    project = services.make_project("language-model")
    chats = project / "chats.jsonl"
    turns = [("Hello there", "Hi! How are you?"), ("Who are you?", "A small model.")]
    with chats.open("w", encoding="utf-8") as file:
        for number in range(120):
            question, answer = turns[number % 2]
            pair = [("user", f"{question} {number}"), ("assistant", f"{answer} {number}")]
            messages = [{"role": role, "content": content} for role, content in pair]
            file.write(json.dumps({"messages": messages}) + "\n")
    runs = {}
    words = ("--train.max_steps", "20", "--fresh", "--tracking.enabled", "false", *TINY)
    source = ["--data.source", "jsonl", "--data.path", str(chats), "--data.batch_size", "8"]
    source += ["--model.context", "512"]  # descriptions of tools are long
    for name, own in {"text": [], "chat": source}.items():
        done = services.call(project, "train", *words, *own)
        assert done.returncode == 0, done.stderr
        runs[name] = services.newest_run(project).name
    return {"project": project, **runs}


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    """A service of both models that asks for a key."""
    made = make_writers()
    project = made["project"]
    (project / "keys.json").unlink(missing_ok=True)
    added = services.call(project, "serve", "keys", "add", "ann", "--file", "keys.json")
    assert added.returncode == 0, added.stderr
    models = ("--model", f"chat={made['chat']}", "--model", f"text={made['text']}")
    with serving(project, *models, "--serve.keys_file", "keys.json") as running:
        running.key = added.stdout.strip()  # type: ignore[attr-defined]
        yield running


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_openais_client_works_unchanged(service: RunningService, kind: str) -> None:
    words = [f"http://{HOST}:{service.port}/v1", kind, service.key, kind]  # type: ignore[attr-defined]
    done = subprocess.run(
        [str(project_python()), str(CLIENT), *words],
        env=environment(service.project),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("right")


def test_rows_are_answered_too(service: RunningService) -> None:
    key = {"X_API_Key": service.key}  # type: ignore[attr-defined]
    answer = service.post({"prompt": "The function"}, "/models/text/predict", **key)
    assert answer.status == 200, answer.body
    assert isinstance(answer.json()["prediction"], str)
    assert answer.json()["finish_reason"] in ("stop", "length")
    many = service.post(
        [{"prompt": "The"}, {"prompt": 3}, {"other": 1}], "/models/text/predict", **key
    )
    assert ["error" in one for one in many.json()] == [False, True, True]
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [2], "data": ["The", "A"]}
    found = service.post({"inputs": [tensor]}, "/v2/models/text/infer", **key)
    assert found.status == 200, found.body
    outputs = {one["name"]: one for one in found.json()["outputs"]}
    assert outputs["prediction"]["shape"] == [2]


def test_neither_log_nor_metrics_have_a_text(service: RunningService) -> None:
    key = {"X_API_Key": service.key}  # type: ignore[attr-defined]
    secret = "Jane Doe, 1950"
    body = {"messages": [{"role": "user", "content": secret}], "max_tokens": 4}
    assert service.post(body, "/v1/chat/completions", **key).status == 200
    assert service.post({"prompt": secret}, "/models/text/predict", **key).status == 200
    metrics = service.ask("GET", "/metrics", **key).body.decode()
    assert 'chat_tokens_total{kind="completion",model="chat"}' in metrics
    assert 'chat_first_token_seconds_count{model="chat"}' in metrics
    assert "Jane" not in metrics + service.log()
    (*_, last) = [
        event for event in service.events("request") if event["path"] == "/v1/chat/completions"
    ]
    assert last["key"] == "ann"
    assert last["completion_tokens"] <= 4


# === Streams ===


async def open_stream(port: int, **fields: Any) -> tuple[Any, Any]:
    """Send a request for a stream, and return its connection once the first event has come."""
    body = json.dumps({"prompt": "The", "stream": True, "temperature": 1} | fields).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in answer.splitlines()[0], answer + await reader.read(1000)
    return reader, writer


async def read_to_end(reader: Any) -> bytes:
    """Everything until the stream ends."""
    return await asyncio.wait_for(reader.readuntil(b"data: [DONE]\n\n"), 120)


def metric(service: RunningService, name: str) -> float:
    """The value of a metric without a key."""
    lines = service.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_who_leaves_costs_nothing_more_and_a_stop_loses_nobody() -> None:
    made = make_writers()
    words = ("--run", made["text"], "--serve.drain_s", "0.5", "--chat.slots", "8")
    running = RunningService(made["project"], *words)
    try:
        running.wait_until_ready()

        async def leave() -> None:
            streams = [await open_stream(running.port, max_tokens=100) for _ in range(8)]
            for _, writer in streams:
                writer.transport.abort()

        asyncio.run(leave())
        wait_for(lambda: metric(running, "chat_active") == 0, "cancelled requests")
        assert metric(running, "chat_waiting") == 0

        async def stop() -> list[bytes]:
            opening = [open_stream(running.port, max_tokens=60, seed=n) for n in range(USERS)]
            streams = await asyncio.gather(*opening)
            running.process.send_signal(signal.SIGTERM)
            return list(await asyncio.gather(*(read_to_end(reader) for reader, _ in streams)))

        for content in asyncio.run(stop()):
            assert b'"finish_reason":"' in content
            assert b'"error"' not in content
        assert running.process.wait(60) == 0, running.log()[-3000:]
    finally:
        running.process.kill()
        running.process.wait()


def test_a_new_model_loses_no_request(tmp_path: Path) -> None:
    made = make_writers()
    project = tmp_path / "project"
    shutil.copytree(made["project"], project)
    shutil.rmtree(project / "runs" / made["chat"])
    follow = ("--run", "latest", "--serve.follow", "true", "--serve.follow_seconds", "0.5")
    with serving(project, *follow) as running:
        name = running.ask("GET", "/v1/models").json()["data"][0]["id"]

        async def use(seed: int) -> str:
            reader, writer = await open_stream(running.port, max_tokens=20, seed=seed, model=name)
            content = await read_to_end(reader)
            writer.close()
            assert b'"error"' not in content
            return str(
                json.loads(content[content.index(b"{") :].split(b"\n")[0])["system_fingerprint"]
            )

        async def load() -> set[str]:
            seen, started = set[str](), time.monotonic()
            shutil.copytree(
                made["project"] / "runs" / made["chat"], project / "runs" / made["chat"]
            )
            while time.monotonic() - started < 120 and made["chat"] not in seen:
                seen |= set(await asyncio.gather(*(use(seed) for seed in range(8))))
            return seen

        assert asyncio.run(load()) >= {made["chat"]}
