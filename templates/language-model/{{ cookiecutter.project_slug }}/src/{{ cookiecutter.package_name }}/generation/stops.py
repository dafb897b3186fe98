"""From the bytes of tokens to whole characters, up to a stop text."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Text of an answer that grows token by token.

    What has been returned once is never taken back: bytes of a character wait until it is whole,
    and what a stop text may begin with waits until it is clear that none follows.

    Args:
        stops: texts at which the answer ends, without them.

    Attributes:
        is_stopped: a stop text was met; nothing follows.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.is_stopped = False
        self._stops = tuple(stops)
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, data: bytes) -> str:
        """Add the bytes of a token and return the text that is certain now.

        Args:
            data: UTF-8; may begin or end within a character.
        """
        if self.is_stopped:
            return ""
        self._held += self._decoder.decode(data)
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.is_stopped = True
            return self._take(min(places))
        return self._take(len(self._held) - self._count_uncertain())

    def flush(self) -> str:
        """Return the rest, as no token follows; bytes of an unfinished character are left out."""
        return "" if self.is_stopped else self._take(len(self._held))

    def _take(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _count_uncertain(self) -> int:
        """Return how many of the last characters a stop text may begin with."""
        longest = max(map(len, self._stops), default=1) - 1
        for count in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-count:]
            if any(stop.startswith(end) for stop in self._stops):
                return count
        return 0
