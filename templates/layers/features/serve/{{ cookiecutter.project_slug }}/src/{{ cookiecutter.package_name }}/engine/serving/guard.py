"""Middleware: host, origin, API key, body limits, access log, metrics."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import request_log
from .keys import Keys
from .problems import Overloaded, Refused
from .request_log import Facts
from .sections import LOOPBACK
from .service import Service

MEGABYTE = 1_000_000
BODIES = 8  # bodies of the largest size that are in memory at once
DISCARD_SECONDS = 2.0  # in which the rest of a body that is too large is thrown away
NOT_SENT = 499  # in log and metrics: the client has gone before it was answered

# Anyone may read these, with or without a key: probes have none, and the page asks for one.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
OPEN_FOLDERS = ("/page/",)


@dataclass
class Exchange:
    """A request and what has been answered to it."""

    scope: Scope
    headers: Headers
    facts: Facts
    started: float
    status: int = 0
    size: int = 0  # of the body, as far as it was read

    @property
    def path(self) -> str:
        """Template of the path, such as ``/models/{name}/predict``; never what was sent."""
        route = self.scope.get("route")
        return getattr(route, "path", "") or "(none)"


class Guard:
    """ASGI middleware around all routes.

    Args:
        app: what is guarded.
        service: whose fields say what is allowed.
        keys: None: no key is asked for.
    """

    def __init__(self, app: ASGIApp, service: Service, keys: Keys | None = None) -> None:
        self.app, self.service, self.keys = app, service, keys
        self.fields = service.fields
        self.max_body = int(self.fields.max_body_mb * MEGABYTE)
        self.origins = parse_origins(self.fields.cors)
        self.hosts = frozenset[str]()  # that requests may name; empty: any
        if self.fields.host in LOOPBACK:
            names = (_parse_host(_parse_netloc(origin) or "") for origin in self.origins)
            self.hosts = frozenset(LOOPBACK).union(filter(None, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, Headers(scope=scope), Facts(), time.perf_counter())
        request_log.current.set(exchange.facts)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                self._add_headers(exchange, message)
            await send(message)

        try:
            await self._pass(exchange, receive, answer)
        except Refused as refusal:
            await self.service.refuse(scope["path"], refusal)(scope, receive, answer)
        except ClientDisconnect:
            exchange.status = exchange.status or NOT_SENT
        except Exception as error:
            request_log.events.error("failed", exc_info=error)
            if exchange.status:
                raise RuntimeError("the answer could not be completed") from None
            text = "The service has failed; its log says where."
            failure = Refused(500, text)
            await self.service.refuse(scope["path"], failure)(scope, receive, answer)
        finally:
            self.service.body_bytes -= exchange.size
            self._note(exchange)

    async def _pass(self, exchange: Exchange, receive: Receive, answer: Send) -> None:
        self._check_host(exchange.headers)
        self._check_origin(exchange.headers)
        self._check_key(exchange)
        try:
            self._check_body(exchange.headers)
        except Refused:
            await self._discard(exchange, receive)
            raise
        await self.app(exchange.scope, self._bound(exchange, receive), answer)

    # === Who may ask ===

    def _check_host(self, headers: Headers) -> None:
        """Refuse other names than this machine's where nobody else is to reach the service.

        A page of any site may give its own name the address 127.0.0.1 (DNS rebinding), after which
        its origin and the host are the same.
        """
        host = headers.get("host")
        if self.hosts and host and _parse_host(host) not in self.hosts:
            raise Refused(
                403, "The service is reached as localhost, or as an origin that serve.cors names."
            )

    def _check_origin(self, headers: Headers) -> None:
        """Refuse pages of other origins, which may send forms to any address without asking."""
        origin = headers.get("origin")
        if origin is None or origin in self.origins:
            return
        host = headers.get("host")
        if not host or _parse_netloc(origin) != host:
            raise Refused(403, "Pages of other origins may not call this service (serve.cors).")

    def _check_key(self, exchange: Exchange) -> None:
        path, method = exchange.scope["path"], exchange.scope["method"]
        if self.keys is None or is_open(method, path):
            return
        if path == "/metrics" and self.fields.metrics == "open":
            return
        scheme, _, bearer = exchange.headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else exchange.headers.get("x-api-key")
        name = self.keys.find(key) if key else None
        if name is None:
            what = "is not valid" if key else "is missing"
            raise Refused(
                401,
                f"The API key {what}; send it as the header X-API-Key or Authorization: Bearer.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        exchange.facts.key = name

    # === Bodies ===

    def _check_body(self, headers: Headers) -> None:
        """Refuse a body by its headers, before any of it is read."""
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "Bodies may not be compressed: leave Content-Encoding out.")
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared) > self.max_body:
            raise self._too_large()

    def _too_large(self) -> Refused:
        limit = self.fields.max_body_mb
        return Refused(
            413, f"The body may have at most {limit:g} megabytes.", headers={"Connection": "close"}
        )

    def _bound(self, exchange: Exchange, receive: Receive) -> Receive:
        """Return ``receive`` with bounds on size and time of the body."""
        deadline = asyncio.get_running_loop().time() + self.fields.read_s
        is_complete = False

        async def receive_within() -> Message:
            nonlocal is_complete
            if is_complete:  # whoever waits now waits for the client to leave
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    408, "The body has not arrived in time.", headers={"Connection": "close"}
                ) from None
            size = len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            exchange.size += size
            self.service.body_bytes += size
            if exchange.size > self.max_body:
                refusal: Refused = self._too_large()
            elif self.service.body_bytes > BODIES * self.max_body:
                refusal = Overloaded()
            else:
                return message
            if not is_complete:
                await self._discard(exchange, receive)
            raise refusal

        return receive_within

    async def _discard(self, exchange: Exchange, receive: Receive) -> None:
        """Read on for a moment: most clients read the answer only once they have sent all."""
        if "expect" in exchange.headers:  # this one asks before it sends
            return
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            return

    # === Answers ===

    def _add_headers(self, exchange: Exchange, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Cache-Control", "no-store")
        if exchange.facts.model:
            headers.setdefault("X-Model", exchange.facts.model)
        if self.service.is_draining:
            headers["Connection"] = "close"

    def _note(self, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        method = exchange.scope["method"]
        method = method if method in ("GET", "HEAD", "POST", "OPTIONS") else "(other)"
        status = exchange.status or NOT_SENT
        metrics = self.service.metrics
        metrics.requests.labels(method, exchange.path, status).inc()
        metrics.seconds.labels(exchange.path).observe(seconds)
        if not request_log.requests.isEnabledFor(20):
            return
        facts: dict[str, Any] = {
            "method": method,
            "path": exchange.path,
            "status": status,
            "rows": exchange.facts.rows,
            "milliseconds": round(1000 * seconds, 2),
            "model": exchange.facts.model,
        }
        if exchange.facts.key:
            facts["key"] = exchange.facts.key
        facts |= exchange.facts.more
        request_log.requests.info("request", extra={"facts": facts})


def is_open(method: str, path: str) -> bool:
    """Return whether a request needs no key.

    Args:
        method: of HTTP.
        path: of the request.
    """
    return method in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_FOLDERS))


def _parse_netloc(origin: str) -> str | None:
    """Return host and port of an origin; None if it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _parse_host(text: str) -> str | None:
    """Return the host of ``host:port`` in small letters; None if it is malformed."""
    try:
        return urlsplit(f"//{text}").hostname
    except ValueError:
        return None


def parse_origins(text: str) -> frozenset[str]:
    """Return the origins of ``serve.cors``."""
    return frozenset(origin for part in text.split(",") if (origin := part.strip()))
