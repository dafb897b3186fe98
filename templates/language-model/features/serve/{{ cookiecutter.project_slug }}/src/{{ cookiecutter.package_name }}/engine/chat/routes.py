"""The routes of chats and completions, and their page; see ``engine/extensions.py``.

Reference: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..errors import DataProblem
from ..serving import request_log
from ..serving.problems import NotReady, Refused, UnknownModel, json_response
from . import page
from .answers import DONE, Reply, write_event, write_refusal
from .bodies import Order, Read, WrongField, read_chat, read_completion
from .metrics import ChatMetrics
from .scheduler import Scheduler, Ticket
from .sections import ChatFields
from .writers import Piece, find_writer

if TYPE_CHECKING:
    from ..serving.models import LoadedModel
    from ..serving.service import Service

LANE = "chat"
PATH = "/v1/"
# Longest prompts of which tokens are made at all: no vocabulary has that many characters a token.
CHARACTERS_OF_TOKEN = 64
SHORT = 2_000  # characters
BODY = {"requestBody": {"required": True, "content": {"application/json": {}}}}


def router(service: Service) -> APIRouter:
    """Return the routes below ``/v1``, and the page."""
    chats = Chats(service)
    routes = APIRouter(tags=["OpenAI"])

    @routes.post("/v1/chat/completions", summary="Answer a chat", openapi_extra=BODY)
    async def chat(request: Request) -> Response:
        return await chats.answer(request, read_chat)

    @routes.post("/v1/completions", summary="Continue a text", openapi_extra=BODY)
    async def completion(request: Request) -> Response:
        return await chats.answer(request, read_completion)

    @routes.get("/v1/models", summary="The models that are served")
    async def models() -> Response:
        found = [chats.describe(model) for model in service.models.values()]
        return json_response({"object": "list", "data": found})

    @routes.get("/v1/models/{name}", summary="A model by name")
    async def model(name: str) -> Response:
        return json_response(chats.describe(chats.find(name)))

    routes.include_router(page.router())
    return routes


class EventStream(StreamingResponse):
    """A stream whose ticket is cancelled when it ends, however it does."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], scheduler: Scheduler, ticket: Ticket) -> None:
        # Proxies must pass each event on at once.
        super().__init__(content, headers={"X-Accel-Buffering": "no"})
        self.scheduler, self.ticket = scheduler, ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.scheduler.cancel(self.ticket)
            _note(self.ticket)


class Chats:
    """The schedulers of a service's models, and the way from a request to its answer.

    Args:
        service: with the models, now or later.
    """

    def __init__(self, service: Service) -> None:
        self.service, self.created = service, int(time.time())
        self.fields: ChatFields = getattr(service.config, "chat", None) or ChatFields()
        self.metrics = ChatMetrics(service.metrics.registry)
        service.answer_s = max(service.answer_s, self.fields.timeout_s)
        service.add_refusal(PATH, write_refusal)
        service.add_lane(LANE, self._make_lane)

    def find(self, name: str | None) -> LoadedModel:
        """Return a model by name; None is the first.

        Raises:
            WrongField: there is none of this name.
            NotReady: it is not loaded yet.
        """
        try:
            return self.service.find(name)
        except UnknownModel:
            text = "there is no model of this name; /v1/models lists them."
            raise WrongField("model", text, "model_not_found", 404) from None

    def describe(self, model: LoadedModel) -> dict[str, Any]:
        """Return what a client needs to know of a model; the page reads more than OpenAI's has."""
        writer = find_writer(model)
        facts = {"id": model.name, "object": "model", "created": self.created, "owned_by": "local"}
        if writer is None:
            return facts
        most = min(self.fields.max_tokens, writer.context - 1)
        own = {"context_length": writer.context, "max_tokens": most, "has_chat": writer.has_chat}
        return facts | {"version": model.version, "notice": model.task.notice} | own

    async def answer(self, request: Request, read: Read) -> Response:
        """Answer a request.

        Args:
            request: with its body.
            read: reads the body.

        Raises:
            Refused: something in it is wrong, or it cannot be answered now.
        """
        body = await request.body()
        order = read(body, request.headers.get("content-type", ""), self.fields)
        model, scheduler, ticket = await self._submit(order)
        facts = request_log.current.get(None)
        if facts:
            facts.rows, facts.model = 1, model.header
        reply = Reply(model.name, model.version, order.is_chat, len(ticket.prompt), order.has_usage)
        try:
            if not order.is_stream:
                return json_response(await _until_gone(request, _write_whole(reply, ticket)))
            pieces = ticket.pieces()
            # Nothing is sent before the model begins: until then a refusal has its own status.
            first = await _until_gone(request, anext(pieces))
        except BaseException:
            scheduler.cancel(ticket)
            raise
        finally:
            _note(ticket)
        return EventStream(_write_stream(reply, first, pieces), scheduler, ticket)

    async def _submit(self, order: Order) -> tuple[LoadedModel, Scheduler, Ticket]:
        """Make tokens of a prompt, and put it into the line of its model."""
        facts = request_log.current.get(None)
        owner = facts.key if facts else ""
        while True:
            model = self.find(order.model)
            scheduler: Scheduler | None = self.service.find_lane(model.name, LANE)
            if scheduler is None:
                raise WrongField("model", "this model writes nothing.", "unsupported_value")
            try:
                prompt = await _encode(scheduler, order)
                settings = _limit(order, len(prompt), scheduler.writer.context, self.fields)
                ticket = scheduler.submit(prompt, settings, owner)
                return model, scheduler, ticket
            except NotReady:
                if self.service.find_lane(model.name, LANE) is scheduler:
                    raise
                # Another model has taken its place in the meantime.

    def _make_lane(self, model: LoadedModel) -> Scheduler | None:
        writer = find_writer(model)
        if writer is None:
            return None
        make, artifact, slots = model.task.make_writer, model.artifact, self.fields.slots
        assert make is not None
        return Scheduler(
            model.name,
            writer,
            lambda: make(artifact, slots),
            self.fields,
            self.metrics,
            lambda: self.service.is_draining,
        )


async def _encode(scheduler: Scheduler, order: Order) -> list[int]:
    """Return the tokens of a prompt.

    Raises:
        WrongField: the model has no chats, the template refuses this one, or it is too long.
    """
    writer, name = scheduler.writer, "messages" if order.is_chat else "prompt"
    if _count_characters(order) > CHARACTERS_OF_TOKEN * writer.context:
        raise _too_long(name, "it is far longer", writer.context)
    if isinstance(order.prompt, str):
        if len(order.prompt) <= SHORT:  # sooner done than given to another thread
            return writer.encode(order.prompt)
        return await scheduler.encode(writer.encode, order.prompt)
    if not writer.has_chat:
        text = "this model has no chat template; it continues texts: /v1/completions."
        raise WrongField("model", text, "unsupported_value")
    try:
        return await scheduler.encode(writer.encode_chat, order.prompt, order.tools)
    except DataProblem as error:
        text = str(error).removeprefix("messages: ")
        raise WrongField(name, text, "invalid_value") from None


def _count_characters(order: Order) -> int:
    if isinstance(order.prompt, str):
        return len(order.prompt)
    values = [value for message in order.prompt for value in message.values()]
    return sum(len(str(value)) for value in (*values, *(order.tools or ())))


def _limit(order: Order, size: int, context: int, fields: ChatFields) -> Any:
    """Return the settings with as many tokens as the context has place for.

    Raises:
        WrongField: the prompt is empty, or leaves no place.
    """
    name = "messages" if order.is_chat else "prompt"
    if size >= context:
        raise _too_long(name, f"{size:,} tokens", context)
    if not size:
        raise WrongField(name, "it is empty.")
    most = min(order.settings.max_tokens or fields.max_tokens, context - size)
    return replace(order.settings, max_tokens=most)


def _too_long(name: str, what: str, context: int) -> WrongField:
    text = f"{what} than the context of {context:,} tokens."
    if what.endswith("tokens"):
        text = f"{what} leave no place for an answer in the context of {context:,} tokens."
    return WrongField(name, text, "context_length_exceeded")


async def _write_whole(reply: Reply, ticket: Ticket) -> dict[str, Any]:
    texts = list[str]()
    piece = Piece(None, "", 0, "stop")
    async for piece in ticket.pieces():
        texts.append(piece.text)
    return reply.write("".join(texts), piece.finish_reason or "stop", piece.tokens)


async def _write_stream(
    reply: Reply, first: Piece, rest: AsyncIterator[Piece]
) -> AsyncIterator[bytes]:
    """Yield the events of an answer, whose first piece has come."""
    if start := reply.write_start():
        yield write_event(start)
    piece = first
    while True:
        if piece.text:
            yield write_event(reply.write_part(piece.text))
        if piece.finish_reason:
            break
        try:
            piece = await anext(rest)
        except Refused as refusal:
            yield write_event(write_refusal(refusal))
            return
    end = write_event(reply.write_part("", piece.finish_reason))
    usage = write_event(reply.write_usage(piece.tokens)) if reply.has_usage else b""
    yield end + usage + DONE


async def _until_gone(request: Request, answer: Awaitable[Any]) -> Any:
    """Return an answer, unless the client goes away before.

    Raises:
        ClientDisconnect: it has.
    """
    tasks = [asyncio.ensure_future(answer), asyncio.ensure_future(_wait_until_gone(request))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            return tasks[0].result()
        raise ClientDisconnect
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _note(ticket: Ticket) -> None:
    """Add numbers to the log of the request."""
    if facts := request_log.current.get(None):
        facts.more |= {
            "prompt_tokens": len(ticket.prompt),
            "completion_tokens": ticket.tokens,
            "end": ticket.end or "cancelled",
        }
        if ticket.first_token_s:
            facts.more["first_token_ms"] = round(1000 * ticket.first_token_s, 2)
