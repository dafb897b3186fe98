"""Requests to stop: SIGTERM and Ctrl-C, which take effect between two steps."""

import signal
import threading
from types import FrameType
from typing import Any

from .errors import Interrupted


class StopRequest:
    """The first SIGTERM or SIGINT sets ``requested``; a second one raises immediately."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self, doing: str) -> None:
        """Raise if a signal has arrived.

        Args:
            doing: what is interrupted, for the message.

        Raises:
            Interrupted: one has.
        """
        if self.requested:
            raise Interrupted(f"stopped by {self.requested} {doing}; the same command resumes.")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.requested:
            raise Interrupted(f"stopped by a second {name}.")
        self.requested = name
