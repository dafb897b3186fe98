"""A client that calls the application without a socket, and a model that needs no TensorFlow."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from {{ cookiecutter.package_name }}.engine.serving.sections import ServeFields
from {{ cookiecutter.package_name }}.engine.serving.service import Service

SCHEMA = {
    "type": "object",
    "title": "Number",
    "properties": {
        "number": {"type": "number"},
        "file": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"},
        "note": {"type": "string", "contentMediaType": "text/plain"},
        "age": {"type": ["number", "null"]},
        "parts": {"type": "array", "items": {"type": "string"}, "x-separator": "|"},
    },
    "required": ["number"],
    "additionalProperties": False,
    "examples": [{"number": 1}],
}


@dataclass
class Answer:
    """What the application has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class EchoModel:
    """Stands for a loaded model: predicts what it is sent, once ``work`` is done."""

    name: str = "echo"
    version: str = "1"
    explains: bool = True
    schema: dict[str, Any] = field(default_factory=lambda: SCHEMA)
    example: tuple[dict, dict] = ({"number": 1}, {"prediction": "1"})
    task: Any = field(default_factory=lambda: SimpleNamespace(notice="Not for patients."))
    work: Callable[[Sequence[Any]], None] = lambda rows: None
    batches: list[int] = field(default_factory=list)

    @property
    def header(self) -> str:
        return f"{self.name}/{self.version}"

    def answer(self, rows: Sequence[Any], explain: bool = False) -> tuple[Any, list, list]:
        """Answer with the rows themselves; without a number, a row is wrong."""
        self.work(rows)
        self.batches.append(len(rows))
        merged = [self._answer(row, explain) for row in rows]
        return None, [answer for answer in merged if "error" not in answer], merged

    def _answer(self, row: Any, explain: bool) -> dict[str, Any]:
        if not isinstance(row, dict) or "number" not in row:
            return {"error": "number: it is missing."}
        answer = {"prediction": str(row["number"]), **{k: str(v) for k, v in row.items()}}
        return answer | ({"explanation": "because"} if explain else {})


def make_service(*models: Any, **fields: Any) -> Service:
    """A service with these models; to be called inside an event loop."""
    config = SimpleNamespace(serve=ServeFields(**fields))
    service = Service(config, [model.name for model in models])
    for model in models:
        service.put(model)
    service.problem = ""
    return service


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def ask(
    app: Any,
    method: str,
    path: str,
    body: Any = b"",
    query: str = "",
    parts: Iterable[bytes] | None = None,
    **headers: str,
) -> Answer:
    """Send a request; a body that is not bytes is sent as JSON.

    Args:
        app: the application.
        method: of HTTP.
        path: of the request.
        body: of the request.
        query: of the URL.
        parts: of the body, instead of ``body``, without a declared length.
        headers: underscores are written as dashes.
    """
    names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        names.setdefault("content-type", "application/json")
    names.setdefault("host", "localhost:8000")
    if parts is None:
        names.setdefault("content-length", str(len(body)))
    waiting = list(parts) if parts is not None else [body]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not waiting:  # the client stays until it is answered
            await asyncio.Event().wait()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in names.items()],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }
    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(part.get("body", b"") for part in sent[1:]))
