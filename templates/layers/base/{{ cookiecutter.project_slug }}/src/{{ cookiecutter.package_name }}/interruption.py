"""Being asked to stop: SIGTERM and Ctrl-C are heard between two steps."""

import signal
import threading
from types import FrameType

from .errors import Interrupted


class StopRequest:
    """Inside it, the first signal is a wish, noted in ``wished``; a second one stops at once."""

    def __init__(self) -> None:
        self.wished: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self, doing: str) -> None:
        """Leave what is being done, in words, if a signal has arrived.

        Raises:
            Interrupted: one has.
        """
        if self.wished:
            raise Interrupted(f"stopped by {self.wished} {doing}; the same command goes on.")

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.wished:
            raise Interrupted(f"stopped by a second {name}.")
        self.wished = name
