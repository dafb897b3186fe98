"""Bodies of requests in OpenAI's form, each field of which is checked or refused by name.

Reference: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..requests import shorten
from ..serving.problems import Refused, load_json
from .sections import ChatFields
from .writers import Settings

MOST_STOPS = 4
LONGEST_STOP = 256  # characters
MOST_MESSAGES = 10_000
MOST_TOOLS = 128
MAX_SEED = 2**63 - 1
# Of C0 and C1, all but tab, line feed, carriage return and next line: no text has a use for them.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
ROLES |= {"tool": "tool"}
# Fields that change no answer here; clients send them with their own defaults.
IGNORED = {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"}
COMMON = {
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "model",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_k",
    "top_p",
}
CHAT = COMMON | IGNORED
CHAT |= {"max_completion_tokens", "messages", "modalities", "parallel_tool_calls"}
CHAT |= {"response_format", "tool_choice", "tools", "top_logprobs"}
TEXT = COMMON | IGNORED | {"best_of", "echo", "prompt", "suffix"}
# Values that mean what is done anyway; any other value of these fields is refused.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("auto", "none"),
    "top_logprobs": (0,),
}


class WrongField(Refused):
    """A field of a body is wrong.

    Args:
        param: its name.
        text: what is wrong with it.
        code: a word for programs.
        status: of HTTP.
    """

    def __init__(self, param: str, text: str, code: str | None = None, status: int = 400) -> None:
        super().__init__(status, f"{param}: {text}", param)
        self.code = code


@dataclass(frozen=True)
class Order:
    """A request that has been read.

    Attributes:
        model: name of the model; None: the first.
        prompt: text to continue, or messages to answer.
        tools: for the chat template.
        settings: with ``max_tokens`` 0 where the request does not say.
        limit_field: field that has said how many tokens; '' for none.
        is_stream: whether the answer comes piece by piece.
        has_usage: whether the stream ends with the number of tokens.
    """

    model: str | None
    prompt: str | list[dict[str, Any]]
    tools: list[Any] | None
    settings: Settings
    limit_field: str
    is_stream: bool
    has_usage: bool

    @property
    def is_chat(self) -> bool:
        return not isinstance(self.prompt, str)


def read_chat(body: bytes, content_type: str, fields: ChatFields) -> Order:
    """Read the body of a chat.

    Args:
        body: all of it.
        content_type: of the body.
        fields: what is allowed.

    Raises:
        Refused: it is no JSON, or a field is wrong; it names the first.
    """
    content = _read_object(body, content_type, CHAT)
    messages = read_messages(content.get("messages"))
    return _read_order(content, messages, _read_tools(content), fields)


def read_completion(body: bytes, content_type: str, fields: ChatFields) -> Order:
    """Read the body of a completion; arguments and errors as of ``read_chat``."""
    content = _read_object(body, content_type, TEXT)
    prompt = content.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        what = "several are not written at once" if isinstance(prompt, list) else "it is missing"
        raise WrongField("prompt", f"it must be one text; {what}.")
    check_text("prompt", prompt)
    return _read_order(content, prompt, None, fields)


def read_messages(messages: Any) -> list[dict[str, Any]]:
    """Return messages as a chat template takes them: each content as one text.

    Args:
        messages: as JSON gives them.

    Raises:
        WrongField: there is none, or one is wrong.
    """
    if not isinstance(messages, list) or not messages:
        raise WrongField("messages", "it must be a list of at least one message.")
    if len(messages) > MOST_MESSAGES:
        raise WrongField("messages", f"it may have at most {MOST_MESSAGES:,} messages.")
    return [_read_message(f"messages[{place}]", one) for place, one in enumerate(messages)]


def check_text(param: str, text: str) -> None:
    """Check that a text has no control characters.

    Raises:
        WrongField: it has.
    """
    if found := CONTROL.search(text):
        code = ord(found.group())
        raise WrongField(param, f"it has the control character U+{code:04X}.", "invalid_prompt")


def _read_object(body: bytes, content_type: str, known: Collection[str]) -> dict[str, Any]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "The Content-Type must be application/json.")
    content = load_json(body)
    if not isinstance(content, dict):
        raise Refused(400, "The body must be an object.")
    for name, value in content.items():
        if name not in known:
            raise WrongField(shorten(name), "there is no such field.", "unknown_parameter")
        if name in NEUTRAL and value is not None and value not in NEUTRAL[name]:
            only = " or ".join(map(_show, NEUTRAL[name]))
            raise WrongField(name, f"only {only} is possible here.", "unsupported_value")
    return content


def _show(value: Any) -> str:
    return {False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)


def _read_message(place: str, message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise WrongField(place, "it must be an object.")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise WrongField(f"{place}.role", f"it must be one of {', '.join(ROLES)}.")
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise WrongField(f"{place}.tool_calls", "it must be a list.")
    content = _read_content(f"{place}.content", message.get("content"), is_needed=not calls)
    read: dict[str, Any] = {"role": ROLES[role], "content": content}
    for name in ("name", "tool_call_id"):
        if isinstance(message.get(name), str):
            check_text(f"{place}.{name}", message[name])
            read[name] = message[name]
    return read | ({"tool_calls": calls} if calls else {})


def _read_content(place: str, content: Any, is_needed: bool) -> str:
    """Return a content as one text: it is one already, or a list of parts."""
    if content is None and not is_needed:
        return ""
    if isinstance(content, list):
        content = "".join(_read_part(f"{place}[{at}]", part) for at, part in enumerate(content))
    if not isinstance(content, str):
        raise WrongField(place, "it must be a text.")
    if is_needed and not content.strip():
        raise WrongField(place, "it is empty.")
    check_text(place, content)
    return content


def _read_part(place: str, part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise WrongField(place, "only parts of the type text can be read.", "unsupported_value")
    if not isinstance(part.get("text"), str):
        raise WrongField(f"{place}.text", "it must be a text.")
    return str(part["text"])


def _read_tools(content: Mapping[str, Any]) -> list[Any] | None:
    tools = content.get("tools")
    if tools is None or content.get("tool_choice") == "none":
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise WrongField("tools", "it must be a list of objects.")
    if len(tools) > MOST_TOOLS:
        raise WrongField("tools", f"it may have at most {MOST_TOOLS}.")
    return tools or None


def _read_order(
    content: Mapping[str, Any], prompt: Any, tools: list[Any] | None, fields: ChatFields
) -> Order:
    model = content.get("model")
    if model is not None and not isinstance(model, str):
        raise WrongField("model", "it must be a text.")
    limit_field, max_tokens = _read_limit(content, fields)
    settings = Settings(
        max_tokens=max_tokens,
        temperature=_read_number(content, "temperature", 0, 2, 1.0),
        top_p=_read_number(content, "top_p", 0, 1, 1.0, is_above=True),
        top_k=_read_whole(content, "top_k", 1, 1_000_000),
        seed=_read_seed(content),
        stop=_read_stop(content.get("stop")),
    )
    is_stream = _read_flag(content, "stream", "stream")
    options = content.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise WrongField("stream_options", "it must be an object.")
    if options and not is_stream:
        raise WrongField("stream_options", "it is for streams only: set stream.")
    has_usage = _read_flag(options or {}, "include_usage", "stream_options.include_usage")
    return Order(model, prompt, tools, settings, limit_field, is_stream, has_usage)


def _read_limit(content: Mapping[str, Any], fields: ChatFields) -> tuple[str, int]:
    """Return which field says how many tokens an answer may have, and how many."""
    given = [n for n in ("max_completion_tokens", "max_tokens") if content.get(n) is not None]
    if not given:
        return "", 0
    name = given[0]
    value = _read_whole(content, name, 1, None)
    assert value is not None
    if value > fields.max_tokens:
        text = f"{value:,} is more than the {fields.max_tokens:,} allowed (chat.max_tokens)."
        raise WrongField(name, text, "invalid_value")
    return name, value


def _read_number(
    content: Mapping[str, Any],
    name: str,
    low: float,
    high: float,
    default: float,
    is_above: bool = False,
) -> float:
    value = content.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (is_above and value == low):
        start = "above" if is_above else "from"
        raise WrongField(name, f"it must be a number {start} {low} to {high}.", "invalid_value")
    return float(value)


def _read_whole(content: Mapping[str, Any], name: str, low: int, high: int | None) -> int | None:
    value = content.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        end = "on" if high is None else f"to {high:,}"
        raise WrongField(name, f"it must be a whole number from {low:,} {end}.", "invalid_value")
    return int(value)


def _read_seed(content: Mapping[str, Any]) -> int:
    seed = _read_whole(content, "seed", -MAX_SEED - 1, MAX_SEED)
    return secrets.randbits(31) if seed is None else seed & MAX_SEED


def _read_stop(stop: Any) -> tuple[str, ...]:
    texts = [] if stop is None else [stop] if isinstance(stop, str) else stop
    is_list = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not is_list or len(texts) > MOST_STOPS:
        raise WrongField("stop", f"it must be a text, or a list of at most {MOST_STOPS}.")
    if not all(0 < len(text) <= LONGEST_STOP for text in texts):
        raise WrongField("stop", f"each text must have 1 to {LONGEST_STOP:,} characters.")
    return tuple(texts)


def _read_flag(content: Mapping[str, Any], name: str, param: str) -> bool:
    value = content.get(name)
    if value is not None and not isinstance(value, bool):
        raise WrongField(param, "it must be true or false.")
    return bool(value)


# A body, its content type and the fields -> what is ordered.
Read = Callable[[bytes, str, ChatFields], Order]
