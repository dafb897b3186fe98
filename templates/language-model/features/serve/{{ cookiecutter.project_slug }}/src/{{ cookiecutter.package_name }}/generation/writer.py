"""What writes in the chat service, see ``Task.make_writer``: the generator with text in and out."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import inputs
from ..datasets import chats
from ..engine.artifact import Artifact
from ..engine.chat.writers import Piece, Settings
from .generator import Generator
from .sampling import Sampling


class GeneratorWriter:
    """Continues several prompts at once.

    Args:
        model: that writes.
        slots: prompts that are continued at once.
    """

    def __init__(self, model: Artifact, slots: int) -> None:
        self._preprocessing = model.preprocessing
        self._generator = Generator(model, slots)
        self.context: int = self._generator.length
        self.has_chat = inputs.can_chat(self._preprocessing)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text that is to be continued."""
        tokenizer = self._preprocessing.tokenizer
        return [*tokenizer.start_ids, *tokenizer.encode(text)]

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None
    ) -> list[int]:
        """Return the tokens of a chat whose next message is to be written.

        Raises:
            DataProblem: the template refuses it.
        """
        return chats.render_prompt(self._preprocessing, [dict(m) for m in messages], tools)

    def submit(self, prompt: Sequence[int], settings: Settings) -> int:
        """Begin an answer, and return its handle."""
        sampling = Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            seed=settings.seed,
            max_tokens=settings.max_tokens,
            stop=settings.stop,
        )
        return self._generator.submit(list(prompt), sampling)

    def step(self) -> list[Piece]:
        """Write the next token of each answer."""
        return [
            Piece(event.handle, event.text_delta, event.token_count, event.finish_reason)
            for event in self._generator.step()
        ]

    def cancel(self, handle: int) -> None:
        """End an answer whose last piece has not come."""
        self._generator.cancel(handle)


def make_writer(model: Artifact, slots: int) -> GeneratorWriter:
    """Return what continues up to ``slots`` prompts of a model at once."""
    return GeneratorWriter(model, slots)
