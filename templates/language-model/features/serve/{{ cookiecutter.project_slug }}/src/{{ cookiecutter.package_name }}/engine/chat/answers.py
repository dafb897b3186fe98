"""Answers, events of streams and errors, in OpenAI's form."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..serving.problems import Refused

DONE = b"data: [DONE]\n\n"
ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "timeout_error",
}


def write_refusal(refusal: Refused) -> dict[str, Any]:
    """Return the body of the answer to a request that is refused."""
    kind = ERROR_TYPES.get(refusal.status, "invalid_request_error")
    code = getattr(refusal, "code", None)
    error = {"message": refusal.text, "type": kind, "param": refusal.field, "code": code}
    return {"error": error}


def write_event(content: Any) -> bytes:
    """Return an event of a stream, see https://html.spec.whatwg.org/multipage/server-sent-events."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


@dataclass
class Reply:
    """What all parts of an answer have in common.

    Attributes:
        model: its name, as requests name it.
        version: of the model.
        is_chat: whether it is a message, or the continuation of a text.
        prompt_tokens: of the request.
        has_usage: whether the stream ends with the number of tokens.
    """

    model: str
    version: str
    is_chat: bool
    prompt_tokens: int
    has_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    key: str = field(default_factory=lambda: secrets.token_hex(12))

    def write(self, text: str, finish_reason: str, tokens: int) -> dict[str, Any]:
        """Return a whole answer."""
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish_reason}
        if self.is_chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._head(kind) | {"choices": [choice], "usage": self._count(tokens)}

    def write_start(self) -> dict[str, Any] | None:
        """Return the first event of a stream, which says who speaks; None for a text."""
        return self._chunk({"role": "assistant", "content": ""}, None) if self.is_chat else None

    def write_part(self, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        """Return an event of a stream."""
        if self.is_chat:
            return self._chunk({"content": text} if text else {}, finish_reason)
        return self._chunk(text, finish_reason)

    def write_usage(self, tokens: int) -> dict[str, Any]:
        """Return the event of a stream with the number of tokens."""
        return self._head(self._kind_of_parts) | {"choices": [], "usage": self._count(tokens)}

    @property
    def _kind_of_parts(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    def _chunk(self, content: Any, finish_reason: str | None) -> dict[str, Any]:
        name = "delta" if self.is_chat else "text"
        choice = {"index": 0, name: content, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._head(self._kind_of_parts) | {"choices": [choice]}
        return chunk | ({"usage": None} if self.has_usage else {})

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self.is_chat else 'cmpl'}-{self.key}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.version,
        }

    def _count(self, tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        }
