"""uvicorn, with bounds on slow clients and a shutdown that loses no request."""

import asyncio
import resource
import signal
import time
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .request_log import events
from .service import Service

SPARE_FILES = 200  # that the process needs besides connections
MAX_CONNECTIONS = 4_096
GRACE_SECONDS = 5.0  # to write an answer after ``Service.answer_s``


class BoundedProtocol(H11Protocol):
    """A connection that ends if a request, or its headers, take too long.

    uvicorn bounds only the time between two requests: a client that sends a byte a minute could
    hold a connection for ever.
    """

    read_seconds = 10.0  # for the headers of a request
    request_seconds = 60.0  # for all of it, until it is answered
    max_connections = MAX_CONNECTIONS

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there are not too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._arm(self.read_seconds)

    def handle_events(self) -> None:
        """Work through what has been received; a new request has its own time."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self._arm(self.request_seconds)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._arm(self.read_seconds)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as JSON."""
        body = b'{"error":"This is no HTTP request."}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        parts = (h11.Response(status_code=400, headers=headers), h11.Data(data=body))
        for event in (*parts, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _arm(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.abort()


class DrainingServer(uvicorn.Server):
    """A server that, when it is to stop, is not ready first.

    uvicorn closes its socket at once, and connections that a balancer has just opened are reset.
    Here the first signal makes ``/readyz`` fail; ``serve.drain_s`` later uvicorn's own shutdown
    begins, which answers all requests that it has. A second signal stops at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. uvicorn's own would raise the signal again at the end."""
        if self._stop_at is not None:
            self.should_exit = self.force_exit = True
            return
        self.service.is_draining = True
        self._stop_at = time.monotonic() + self.service.fields.drain_s
        events.info("stopping", extra={"facts": {"signal": signal.Signals(sig).name}})

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; called ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)


def make_server(app: Any, service: Service) -> DrainingServer:
    """Return the server of an application.

    Args:
        app: see ``create_app``.
        service: whose fields say how long a client may take.
    """
    fields = service.fields
    config = uvicorn.Config(
        app,
        http=_make_protocol(service),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_graceful_shutdown=int(fields.read_s + service.answer_s + GRACE_SECONDS),
    )
    return DrainingServer(config, service)


def _make_protocol(service: Service) -> type[BoundedProtocol]:
    fields = service.fields
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bounds = {
        "read_seconds": fields.read_s,
        "request_seconds": fields.read_s + service.answer_s + GRACE_SECONDS,
        "max_connections": max(1, min(MAX_CONNECTIONS, files - SPARE_FILES)),
    }
    return type("Protocol", (BoundedProtocol,), bounds)
