"""What chats add to loading a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .writers import Writer

WARM_TOKENS = 64
ADMITTED = 8  # answers that a step may begin; further ones begin with the next


def after_loading(config: Any, model: Any) -> None:
    """Make what writes for a model, and let it write a little, so that it is compiled."""
    make = model.artifact.task.make_writer
    if make is None:
        return
    from .writers import NAME

    writer = make(model.artifact, config.chat.slots)
    warm(writer, config.chat.slots)
    model.artifact.memo[NAME] = writer


def warm(writer: Writer, slots: int) -> None:
    """Write 1, 2, 4, … answers at once: each of these numbers is a program of its own.

    Args:
        writer: of a model that has not answered yet.
        slots: most answers at once.
    """
    from .writers import Settings

    prompt = writer.encode("a") or [0]
    active, size = set[Any](), 1
    while True:
        for seed in range(len(active), size):
            settings = Settings(max_tokens=WARM_TOKENS, temperature=2.0, seed=seed)
            active.add(writer.submit(prompt, settings))
        for _ in range(2 + size // ADMITTED):
            active -= {piece.handle for piece in writer.step() if piece.finish_reason}
        if size == slots:
            break
        size = min(2 * size, slots)
    for handle in active:
        writer.cancel(handle)
