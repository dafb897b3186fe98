"""What writes for a model that is loaded, see ``Task.make_writer``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

NAME = "writer"  # of the writer in the model's memo


@dataclass(frozen=True)
class Settings:
    """How an answer is written.

    Attributes:
        max_tokens: most tokens of it.
        temperature: 0: the likeliest token each time.
        top_p: share of the probability that tokens are drawn from.
        top_k: number of the likeliest tokens that are drawn from; None: all.
        seed: of the random numbers.
        stop: texts before the first of which it ends.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What a step has added to an answer.

    Attributes:
        handle: of the answer, see ``Writer.submit``.
        text: whole characters; may be empty.
        tokens: of the answer so far.
        finish_reason: ``stop`` or ``length`` with the last piece.
    """

    handle: Any
    text: str
    tokens: int
    finish_reason: str | None = None


class Writer(Protocol):
    """Continues several prompts at once; all but the two ``encode`` run in one thread.

    Attributes:
        context: tokens of a prompt and its answer together.
        has_chat: whether it has a template for chats.
    """

    context: int
    has_chat: bool

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text that is to be continued."""

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None
    ) -> list[int]:
        """Return the tokens of a chat whose next message is to be written.

        Raises:
            DataProblem: the template refuses it.
        """

    def submit(self, prompt: Sequence[int], settings: Settings) -> Any:
        """Begin an answer, and return its handle."""

    def step(self) -> list[Piece]:
        """Write the next token of each answer."""

    def cancel(self, handle: Any) -> None:
        """End an answer whose last piece has not come."""


def find_writer(model: Any) -> Writer | None:
    """Return what writes for a model, or None where nothing does.

    Args:
        model: that a service has loaded.
    """
    artifact = getattr(model, "artifact", None)
    writer: Writer | None = artifact.memo.get(NAME) if artifact is not None else None
    return writer
