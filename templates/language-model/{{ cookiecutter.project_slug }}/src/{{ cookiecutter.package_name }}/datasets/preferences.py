"""Preference pairs: a prompt with an answer that somebody preferred, and one that they did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..engine.errors import DataProblem
from .chats import ChatTemplate, Part
from .messages import Message, check_messages, read_messages


class Pair(NamedTuple):
    """Two answers to one prompt.

    Attributes:
        prompt: messages in OpenAI's form, the last one a user's.
        chosen: the answer that was preferred.
        rejected: the other one.
    """

    prompt: list[Message]
    chosen: str
    rejected: str


def read_pair(record: Mapping[str, Any]) -> Pair:
    """Return the pair of a row.

    Args:
        record: ``chosen`` and ``rejected``, each a text or messages, and ``prompt``, a text or
            messages. Messages of both answers may begin with the prompt instead; ``system`` may
            stand beside a prompt that is a text.

    Raises:
        DataProblem: something is missing, empty or malformed, or both answers are the same.
            Without file and row.
    """
    for name in ("chosen", "rejected"):
        if not isinstance(record.get(name), str | list):
            raise DataProblem(f"{name}: expected a text or messages.")
    sides = [_read_side(record[name], name) for name in ("chosen", "rejected")]
    prompt = _read_prompt(record) or _common_prompt(*sides)
    try:
        check_messages(prompt)
    except DataProblem as problem:
        raise DataProblem(f"prompt: {problem}") from None
    chosen, rejected = (side[-1]["content"] for side in sides)
    for name, text in (("chosen", chosen), ("rejected", rejected)):
        if not text.strip():
            raise DataProblem(f"{name}: it is empty.")
    if chosen == rejected:
        raise DataProblem("chosen and rejected are the same text.")
    return Pair(prompt, chosen, rejected)


def render_pair(template: ChatTemplate, pair: Pair) -> tuple[list[Part], list[Part]]:
    """Return both answers with their prompt, in parts of which the answer alone counts.

    Args:
        template: renders them.
        pair: the prompt and its answers.

    Raises:
        DataProblem: the template fails or refuses them.
    """
    chosen, rejected = (
        template.render_last([*pair.prompt, {"role": "assistant", "content": answer}])
        for answer in (pair.chosen, pair.rejected)
    )
    return chosen, rejected


def _read_prompt(record: Mapping[str, Any]) -> list[Message]:
    prompt = record.get("prompt")
    if prompt is None:
        return []
    if isinstance(prompt, str):
        system = record.get("system")
        first = [{"role": "system", "content": system}] if isinstance(system, str) else []
        return [*first, {"role": "user", "content": prompt}]
    return read_messages({"messages": prompt})


def _read_side(value: str | list[Message], name: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    messages = read_messages({"messages": value})
    if not messages or messages[-1]["role"] != "assistant":
        raise DataProblem(f"{name}: the last message is no answer (role 'assistant').")
    return messages


def _common_prompt(chosen: list[Message], rejected: list[Message]) -> list[Message]:
    """Return the messages before the last one, which both answers must share."""
    if not chosen[:-1]:
        raise DataProblem("prompt: it is missing.")
    if chosen[:-1] != rejected[:-1]:
        raise DataProblem("chosen and rejected answer different chats, and there is no prompt.")
    return chosen[:-1]
