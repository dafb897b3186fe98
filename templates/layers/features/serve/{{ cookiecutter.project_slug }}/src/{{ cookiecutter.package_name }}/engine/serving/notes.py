"""What features do with answers once they are sent: in a thread of its own, and bounded."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from . import request_log

Hook = Callable[..., None]  # see ``Hooks.after_answers``
FLUSH_SECONDS = 60  # a hook that takes longer hangs, and nothing more waits for it


class Notes:
    """Calls hooks in the background, and drops what would take too much memory.

    Args:
        hooks: called with what ``put`` is given, one after the other.
        max_rows: that may wait; they are kept in memory, as images may be.
        count_dropped: called with the number of rows that were dropped.
    """

    def __init__(
        self, hooks: Sequence[Hook], max_rows: int, count_dropped: Callable[[int], None]
    ) -> None:
        self._hooks, self._max_rows, self._count_dropped = list(hooks), max_rows, count_dropped
        self._waiting = 0  # rows
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[int, Callable[[], object]]] = queue.SimpleQueue()
        if hooks:
            threading.Thread(target=self._run, daemon=True, name="notes").start()

    def put(self, rows: int, *arguments: Any) -> None:
        """Call the hooks soon, or never if too many rows wait.

        Args:
            rows: that the arguments hold.
            arguments: of the hooks.
        """
        if not self._hooks:
            return
        with self._lock:
            is_full = self._waiting + rows > self._max_rows
            self._waiting += 0 if is_full else rows
        if is_full:
            self._count_dropped(rows)
            return
        for place, hook in enumerate(self._hooks, start=1):
            is_last = place == len(self._hooks)
            self._queue.put((rows if is_last else 0, partial(hook, *arguments)))

    async def flush(self) -> None:
        """Return once the hooks were called with all that was put before."""
        if not self._hooks:
            return
        loop, is_reached = asyncio.get_running_loop(), asyncio.Event()
        self._queue.put((0, partial(loop.call_soon_threadsafe, is_reached.set)))
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await is_reached.wait()

    def _run(self) -> None:
        while True:
            rows, call = self._queue.get()
            try:
                call()
            except Exception as error:
                request_log.events.warning(
                    "hook failed", extra={"facts": {"error": request_log.describe(error)}}
                )
            del call  # with its rows, not only once the next one comes
            with self._lock:
                self._waiting -= rows
