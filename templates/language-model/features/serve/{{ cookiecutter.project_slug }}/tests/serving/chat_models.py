"""A model that writes without TensorFlow, and a client that reads streams."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from {{ cookiecutter.package_name }}.engine.chat.sections import ChatFields
from {{ cookiecutter.package_name }}.engine.chat.writers import NAME, Piece, Settings
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.serving.sections import ServeFields
from {{ cookiecutter.package_name }}.engine.serving.service import Service

WORDS = ("one ", "two ", "three ", "four ", "five ")


@dataclass
class WordWriter:
    """Writes numbers, a word a step, as long as ``may_write`` is set.

    Attributes:
        context: characters of a prompt are its tokens.
        fails: raise at the next step.
        pace: seconds that a step takes.
        most: answers that were written at once.
        order: prompts in the order in which they were begun.
    """

    context: int = 100
    has_chat: bool = True
    version: str = ""
    fails: bool = False
    pace: float = 0.0
    most: int = 0
    steps: int = 0
    tools: Any = None
    order: list[str] = field(default_factory=list)
    settings: list[Settings] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    may_write: threading.Event = field(default_factory=threading.Event)
    active: dict[int, list[Any]] = field(default_factory=dict)  # handle -> settings, words

    def __post_init__(self) -> None:
        self.may_write.set()

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None
    ) -> list[int]:
        self.tools = tools
        if messages[-1]["role"] == "assistant":
            raise DataProblem("messages: the last one must be of a user.")
        return self.encode("".join(message["content"] for message in messages))

    def submit(self, prompt: Sequence[int], settings: Settings) -> int:
        text = "".join(map(chr, prompt))
        if text == "broken":
            raise ValueError(text)
        self.order.append(text)
        self.settings.append(settings)
        handle = len(self.order)
        self.active[handle] = [settings, 0]
        return handle

    def step(self) -> list[Piece]:
        self.may_write.wait(10)
        time.sleep(self.pace)
        self.steps += 1
        self.most = max(self.most, len(self.active))
        if self.fails:
            self.fails = False
            raise RuntimeError("out of memory")
        pieces = []
        for handle, state in list(self.active.items()):
            settings, count = state
            state[1] = count + 1
            text = self.version or WORDS[count % len(WORDS)]
            end = "length" if count + 1 == settings.max_tokens else None
            if text.strip() in settings.stop:
                text, end = "", "stop"
            if end:
                del self.active[handle]
            pieces.append(Piece(handle, text, count + 1, end))
        return pieces

    def cancel(self, handle: int) -> None:
        del self.active[handle]
        self.cancelled.append(handle)


class WritingModel:
    """Stands for a loaded model that writes."""

    explains = False
    schema: dict[str, Any] = {"type": "object", "properties": {}, "examples": []}  # noqa: RUF012
    example: tuple[dict, dict] = ({}, {})

    def __init__(self, writer: WordWriter, name: str = "writer", version: str = "1") -> None:
        self.name, self.version, self.writer = name, version, writer
        make = lambda artifact, slots: writer  # noqa: E731
        self.task = SimpleNamespace(notice="", make_writer=make)
        self.artifact = SimpleNamespace(memo={NAME: writer}, attachments={}, task=self.task)

    @property
    def header(self) -> str:
        return f"{self.name}/{self.version}"


def make_chat_service(*models: Any, serve: Mapping[str, Any] | None = None, **fields: Any) -> Any:
    """A service with these models; to be called inside an event loop."""
    config = SimpleNamespace(serve=ServeFields(**(serve or {})), chat=ChatFields(**fields))
    service = Service(config, [model.name for model in models])
    for model in models:
        service.put(model)
    service.problem = ""
    return service


class Stream:
    """A request whose answer comes piece by piece.

    Args:
        app: the application.
        path: of the request.
        content: sent as JSON.
    """

    def __init__(self, app: Any, path: str, content: Any) -> None:
        self.status, self.headers = 0, dict[str, str]()
        self._body = json.dumps(content).encode()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._is_sent = False
        headers = {"content-type": "application/json", "host": "localhost:8000"}
        headers["content-length"] = str(len(self._body))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
        }
        self.task = asyncio.create_task(self._run(app, scope))

    async def event(self) -> Any:
        """The bytes of the next event; None after the last one."""
        return await asyncio.wait_for(self._chunks.get(), 10)

    async def events(self) -> list[Any]:
        """All events that are left, as JSON; the last one as it is."""
        content = b""
        while chunk := await self.event():
            content += chunk
        parts = [part.removeprefix("data: ") for part in content.decode().split("\n\n") if part]
        return [part if part == "[DONE]" else json.loads(part) for part in parts]

    async def leave(self) -> None:
        """Close the connection."""
        self._gone.set()
        await self.task

    async def _run(self, app: Any, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)
        self._chunks.put_nowait(None)

    async def _receive(self) -> dict[str, Any]:
        if self._is_sent:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._is_sent = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message.get("body"):
            self._chunks.put_nowait(message["body"])
