"""Continuous batches: a thread writes a token for all requests, and takes new ones in between.

Whoever is accepted waits for a bounded time: a full queue refuses at once, each request has a
deadline, and one whose client has gone is ended before the next token.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..serving.problems import NotReady, Overloaded, Refused, TimedOut
from ..serving.request_log import events
from .metrics import ChatMetrics
from .sections import ChatFields
from .writers import Piece, Settings, Writer

ENCODERS = 2  # threads that make tokens of prompts


class TooManyOfKey(Refused):
    """A key has as many requests as it may have."""

    def __init__(self, limit: int) -> None:
        text = f"This API key has {limit} requests already; try again later (chat.per_key)."
        super().__init__(429, text, headers={"Retry-After": "1"})


@dataclass(eq=False)
class Ticket:
    """A request that waits or is written.

    Attributes:
        prompt: its tokens.
        owner: whose it is; owners take turns.
        deadline: by ``time.monotonic``.
        created: likewise.
        tokens: written so far.
        first_token_s: seconds until the first one; 0: there is none yet.
        end: how it has ended; '' before.
    """

    prompt: Sequence[int]
    settings: Settings
    owner: str
    deadline: float
    created: float = field(default_factory=time.monotonic)
    tokens: int = 0
    first_token_s: float = 0.0
    end: str = ""
    is_cancelled: bool = False
    inbox: asyncio.Queue[Piece | Exception] = field(default_factory=asyncio.Queue)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield what is written, until the answer ends.

        Raises:
            Refused: it has not begun in time, or the model has failed.
        """
        while True:
            piece = await self.inbox.get()
            if isinstance(piece, Exception):
                raise piece
            yield piece
            if piece.finish_reason:
                return


class Lines:
    """Tickets that wait, in a line for each owner; not safe for threads."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Ticket]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, ticket: Ticket) -> None:
        """Add a ticket at the end of its owner's line."""
        self._lines.setdefault(ticket.owner, deque()).append(ticket)

    def take(self) -> Ticket | None:
        """Return the first ticket of the owner whose turn it is, or None."""
        if not self._lines:
            return None
        owner = next(iter(self._lines))
        line = self._lines.pop(owner)
        ticket = line.popleft()
        if line:
            self._lines[owner] = line  # behind all others
        return ticket

    def remove(self, is_over: Callable[[Ticket], bool]) -> list[Ticket]:
        """Take out and return the tickets for which a function says so."""
        removed = [ticket for line in self._lines.values() for ticket in line if is_over(ticket)]
        for ticket in removed:
            line = self._lines[ticket.owner]
            line.remove(ticket)
            if not line:
                del self._lines[ticket.owner]
        return removed


class Scheduler:
    """The requests of a model, and the thread that writes for them. Made inside the event loop.

    Args:
        name: of the model.
        writer: of the model.
        make_writer: makes another one, should that one fail.
        fields: what is allowed.
        metrics: of the service.
        is_draining: whether the service is about to stop.
    """

    def __init__(
        self,
        name: str,
        writer: Writer,
        make_writer: Callable[[], Writer],
        fields: ChatFields,
        metrics: ChatMetrics,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name, self.writer, self.fields = name, writer, fields
        self._make_writer, self._metrics, self._is_draining = make_writer, metrics, is_draining
        self._lines = Lines()
        self._active: dict[Any, Ticket] = {}  # by handle; only the thread changes it
        self._owners: dict[str, int] = {}  # tickets of each that have not ended
        self._is_closing = False
        self._drain_at: float | None = None  # from when on answers end where they are
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._encoders = ThreadPoolExecutor(ENCODERS, thread_name_prefix=f"encode-{name}")
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"write-{name}")
        self._thread.start()
        metrics.waiting.labels(name).set_function(self._count_waiting)
        metrics.active.labels(name).set_function(lambda: len(self._active))

    async def encode(self, function: Callable[..., list[int]], *arguments: Any) -> list[int]:
        """Return tokens that a function makes, without holding up other requests.

        Raises:
            NotReady: the scheduler is closed.
        """
        if self._is_closing:
            raise NotReady("The service is shutting down.")
        return await self._loop.run_in_executor(self._encoders, function, *arguments)

    def submit(self, prompt: Sequence[int], settings: Settings, owner: str = "") -> Ticket:
        """Accept a request; its pieces come from the ticket.

        Raises:
            Overloaded: as many wait as may.
            TooManyOfKey: the owner has as many as may be.
            NotReady: the scheduler is closed.
        """
        with self._changed:
            if self._is_closing:
                raise NotReady("The service is shutting down.")
            if len(self._lines) >= self.fields.queue:
                raise Overloaded
            limit = self.fields.per_key
            if owner and limit is not None and self._owners.get(owner, 0) >= limit:
                raise TooManyOfKey(limit)
            ticket = Ticket(prompt, settings, owner, time.monotonic() + self.fields.timeout_s)
            self._owners[owner] = self._owners.get(owner, 0) + 1
            self._lines.put(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """End a request that nobody waits for; one that has ended stays as it is."""
        with self._changed:
            ticket.is_cancelled = True
            self._changed.notify()

    async def close(self) -> None:
        """Take no more requests, and return once those that were accepted have ended."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        await self._ended.wait()
        self._thread.join()
        self._encoders.shutdown(wait=False)

    # === In the thread ===

    def _run(self) -> None:
        while self._wait():
            try:
                self._end_some()
                self._admit()
                if self._active:
                    self._step()
            except Exception as error:
                events.error("writing failed", exc_info=error)
                tickets = list(self._active.values())
                self._active.clear()
                self._fail(tickets)
                self.writer = self._make_writer()
        self._loop.call_soon_threadsafe(self._ended.set)

    def _wait(self) -> bool:
        """Wait until there is something to do; return False at the end."""
        with self._changed:
            while not self._active and not len(self._lines):
                if self._is_closing:
                    return False
                self._changed.wait()
        return True

    def _end_some(self) -> None:
        """End what nobody waits for, and what takes too long."""
        now = time.monotonic()
        if self._drain_at is None and self._is_draining():
            self._drain_at = now + self.fields.drain_s

        def is_over(ticket: Ticket) -> bool:
            return ticket.is_cancelled or now >= min(ticket.deadline, self._drain_at or now + 1)

        with self._changed:
            removed = self._lines.remove(is_over)
        active = {handle: ticket for handle, ticket in self._active.items() if is_over(ticket)}
        for handle in active:
            self.writer.cancel(handle)
            del self._active[handle]
        for ticket in (*removed, *active.values()):
            if ticket.is_cancelled:
                self._end(ticket, "cancelled")
            elif ticket.tokens:
                self._end(ticket, "length", Piece(None, "", ticket.tokens, "length"))
            else:
                self._end(ticket, "late", TimedOut())

    def _admit(self) -> None:
        """Begin what waits, as far as there are slots."""
        while len(self._active) < self.fields.slots:
            with self._changed:
                ticket = self._lines.take()
            if ticket is None:
                return
            try:
                handle = self.writer.submit(ticket.prompt, ticket.settings)
            except Exception as error:  # a request must not fail because of its neighbours
                events.error("writing failed", exc_info=error)
                self._fail([ticket])
            else:
                self._active[handle] = ticket
                self._metrics.tokens.labels(self.name, "prompt").inc(len(ticket.prompt))

    def _step(self) -> None:
        start = time.monotonic()
        pieces = self.writer.step()
        now = time.monotonic()
        self._metrics.step.labels(self.name).observe(now - start)
        written, sent = 0, list[tuple[Ticket, Piece]]()
        for piece in pieces:
            ticket = self._active.get(piece.handle)
            if ticket is None:
                continue
            written += piece.tokens - ticket.tokens
            if piece.tokens and not ticket.first_token_s:
                ticket.first_token_s = now - ticket.created
                self._metrics.first_token.labels(self.name).observe(ticket.first_token_s)
            ticket.tokens = piece.tokens
            if piece.finish_reason:
                del self._active[piece.handle]
                self._end(ticket, piece.finish_reason)
            if piece.text or piece.finish_reason:
                sent.append((ticket, piece))
        self._metrics.tokens.labels(self.name, "completion").inc(written)
        if sent:
            self._deliver(sent)

    def _fail(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._end(ticket, "failed", Refused(500, "The service has failed; its log says where."))

    def _count_waiting(self) -> int:
        with self._changed:
            return len(self._lines)

    def _end(self, ticket: Ticket, end: str, last: Piece | Exception | None = None) -> None:
        ticket.end = end
        self._metrics.answers.labels(self.name, end).inc()
        with self._changed:
            self._owners[ticket.owner] -= 1
            if not self._owners[ticket.owner]:
                del self._owners[ticket.owner]
        if last is not None:
            self._deliver([(ticket, last)])

    def _deliver(self, sent: Sequence[tuple[Ticket, Piece | Exception]]) -> None:
        def put() -> None:
            for ticket, piece in sent:
                ticket.inbox.put_nowait(piece)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(put)
