"""Refusals with their status and text, and JSON that is read and written."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

MAX_CONTAINERS = 100_000  # lists and objects of a body


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        text: one sentence for the client; nothing of the request, no path.
        field: the field of the row that is wrong, if it is one.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        text: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status, self.text, self.field = status, text, field
        self.headers = dict(headers or {})

    def content(self) -> dict[str, Any]:
        """Return the body of the answer."""
        return {"error": self.text} | ({"field": self.field} if self.field else {})


class Overloaded(Refused):
    """The queue has no place for the rows."""

    def __init__(self, text: str = "The service is busy; try again later.") -> None:
        super().__init__(503, text, headers={"Retry-After": "1"})


class TooManyRows(Refused):
    """A request has more rows than one may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"A request may have at most {limit} rows.")


class NotReady(Refused):
    """The model is not loaded."""

    def __init__(self, text: str) -> None:
        super().__init__(503, text, headers={"Retry-After": "5"})


class TimedOut(Refused):
    """The model has not answered in time."""

    def __init__(self) -> None:
        super().__init__(504, "The model has not answered in time.")


class UnknownModel(Refused):
    """No model has this name."""

    def __init__(self) -> None:
        super().__init__(404, "There is no model of this name; /schema lists them.")


def load_json(body: bytes) -> Any:
    """Return the content of a body.

    Raises:
        Refused: it is not JSON, or has so many lists and objects that it would take seconds and
            twenty times its own memory.
    """
    # Those in texts count too: only a parser could tell them apart.
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise Refused(413, f"The body may have at most {MAX_CONTAINERS:,} brackets.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(400, "The body is not JSON, or nests too deeply.") from None


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with JSON.

    Args:
        content: may hold arrays and numbers of NumPy; NaN becomes null.
        status: of HTTP.
        headers: further ones.
    """
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, dict(headers or {}), "application/json")
