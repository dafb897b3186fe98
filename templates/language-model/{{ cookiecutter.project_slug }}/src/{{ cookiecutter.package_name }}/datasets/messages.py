"""Messages of chats: read from the forms in which people keep them, and checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from ..engine.errors import DataProblem

ROLES = ("system", "user", "assistant", "tool")
Message = dict[str, Any]

_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
# Columns of a question and its answer, besides Alpaca's.
_QUESTIONS = (("prompt", "completion"), ("prompt", "response"), ("question", "answer"))


def detect_format(columns: Collection[str]) -> str | None:
    """Return what rows with these columns are: preference, chat, alpaca, text or None.

    Args:
        columns: their names.
    """
    has = set(columns).issuperset
    if has(("chosen", "rejected")):
        return "preference"
    if has(("messages",)) or has(("conversations",)) or any(map(has, _QUESTIONS)):
        return "chat"
    if has(("instruction", "output")):
        return "alpaca"
    return "text" if has(("text",)) else None


def read_messages(record: Mapping[str, Any], form: str = "auto") -> list[Message]:
    """Return the messages of a row.

    Args:
        record: a chat in OpenAI's form (``messages``) or ShareGPT's (``conversations``), a prompt
            with its completion, a question with its answer, or Alpaca's instruction, input, output.
        form: ``chat`` or ``alpaca``; ``auto``: by its columns.

    Raises:
        DataProblem: it has none of these, or a message is malformed. Without file and row.
    """
    if form == "auto":
        form = detect_format(record) or "chat"
    if form == "alpaca":
        return _read_alpaca(record)
    if isinstance(record.get("conversations"), list):
        return [_read_turn(turn) for turn in record["conversations"]]
    if "messages" in record:
        return normalize_messages(record["messages"])
    for question, answer in _QUESTIONS:
        if question in record and answer in record:
            asked = _as_messages(record[question], "user", question)
            return normalize_messages(asked + _as_messages(record[answer], "assistant", answer))
    raise DataProblem("no chat: it has neither 'messages' nor 'conversations'.")


def check_messages(messages: Any, answered: bool = False) -> None:
    """Check the messages of a chat.

    Args:
        messages: in OpenAI's form.
        answered: it is to be learnt from, so somebody must answer in it; else the model is to
            answer, so the last message must not be an answer.

    Raises:
        DataProblem: a message is malformed or empty, two answers stand in a row, or there is none.
    """
    messages = normalize_messages(messages)
    roles = [message["role"] for message in messages]
    if not roles:
        raise DataProblem("messages: there is none.")
    for number, message in enumerate(messages, 1):
        role = message["role"]
        if role in ("user", "assistant") and not (
            message["content"].strip() or message.get("tool_calls")
        ):
            raise DataProblem(f"messages: number {number} ({role}) is empty.")
        if role == "assistant" and roles[number - 2 : number - 1] == ["assistant"]:
            raise DataProblem(f"messages: number {number} is a second answer in a row.")
        if role == "assistant" and "user" not in roles[: number - 1]:
            raise DataProblem(f"messages: number {number} is an answer before any question.")
    if answered and "assistant" not in roles:
        raise DataProblem("messages: there is no answer (role 'assistant').")
    if not answered and roles[-1] not in ("user", "tool"):
        raise DataProblem(f"messages: the last one is of the {roles[-1]}; expected a user's.")


def normalize_messages(messages: Any) -> list[Message]:
    """Return messages with text as content and arguments of tools as objects, as templates expect.

    Raises:
        DataProblem: they are no messages.
    """
    if not isinstance(messages, list | tuple):
        raise DataProblem(f"messages: expected a list, got {_name(messages)}.")
    return [_normalize_message(message, number) for number, message in enumerate(messages, 1)]


def _read_alpaca(record: Mapping[str, Any]) -> list[Message]:
    texts = {name: record.get(name) for name in ("system", "instruction", "input", "output")}
    for name, text in texts.items():
        if not isinstance(text, str) and not (text is None and name in ("system", "input")):
            raise DataProblem(f"{name}: expected a text, got {_name(text)}.")
    asked = [str(texts[name]) for name in ("instruction", "input") if texts[name]]
    system = [{"role": "system", "content": texts["system"]}] if texts["system"] else []
    return [
        *system,
        {"role": "user", "content": "\n\n".join(asked)},
        {"role": "assistant", "content": texts["output"]},
    ]


def _read_turn(turn: Any) -> Message:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("value"), str):
        raise DataProblem("conversations: expected turns with 'from' and 'value'.")
    role = _SHAREGPT_ROLES.get(str(turn.get("from")).lower())
    if role is None:
        names = ", ".join(_SHAREGPT_ROLES)
        raise DataProblem(f"conversations: from {turn.get('from')!r}: expected one of {names}.")
    return {"role": role, "content": turn["value"]}


def _as_messages(value: Any, role: str, column: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, list):
        return list(value)
    raise DataProblem(f"{column}: expected a text or messages, got {_name(value)}.")


def _normalize_message(message: Any, number: int) -> Message:
    if not isinstance(message, Mapping):
        raise DataProblem(f"messages: number {number}: expected an object, got {_name(message)}.")
    role = "system" if message.get("role") == "developer" else message.get("role")
    if role not in ROLES:
        raise DataProblem(
            f"messages: number {number}: role {role!r}: expected one of {', '.join(ROLES)}."
        )
    calls = message.get("tool_calls")
    content = message.get("content")
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        content = "".join(_read_content(part, number) for part in content)
    if not isinstance(content, str):
        raise DataProblem(
            f"messages: number {number}: content: expected a text, got {_name(content)}."
        )
    # OpenAI sends null for what a message does not have; templates ask whether it is defined.
    rest = {name: value for name, value in message.items() if value is not None}
    clean = {**rest, "role": role, "content": content}
    if calls:
        clean["tool_calls"] = [_normalize_call(call, number) for call in calls]
    return clean


def _read_content(part: Any, number: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else _name(part)
    raise DataProblem(f"messages: number {number}: content: only texts, no {kind!r}.")


def _normalize_call(call: Any, number: int) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataProblem(f"messages: number {number}: tool_calls: expected functions with a name.")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            raise DataProblem(
                f"messages: number {number}: tool_calls: arguments of {function['name']!r} are "
                "not JSON."
            ) from None
    return {**call, "function": {**function, "arguments": arguments}}


def _name(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
