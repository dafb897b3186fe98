"""Requests: prompts that a text continues, or messages of a chat that an answer follows."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from .config import Config
from .datasets import chats
from .datasets.corpus import TEXT
from .engine.errors import DataProblem, UsageProblem
from .engine.interfaces import DatasetSplits, Requests, Split
from .engine.requests import check_fields, read_each
from .generation.generator import check_prompt
from .generation.sampling import MAX_SEED, MAX_STOP_LENGTH, MAX_STOPS, MAX_TEMPERATURE, Sampling
from .preprocessing import Preprocessing

MAX_CHARACTERS = 1_000_000  # of a prompt, or of all messages
MAX_MESSAGES = 1_000
EXAMPLE_CHARACTERS = 60
EXAMPLE_MESSAGES = [{"role": "user", "content": "What can you help me with?"}]
INPUTS = ("prompt", "messages")
OPTIONS = ("temperature", "top_p", "top_k", "seed", "max_tokens", "stop")
WHOLE = ("top_k", "seed", "max_tokens")  # tables have them as 3.0 where others are missing


@dataclass(frozen=True)
class Request:
    """What a model is to answer.

    Attributes:
        ids: tokens of the prompt.
        sampling: of the answer.
    """

    ids: list[int]
    sampling: Sampling

    def to_json(self) -> str:
        return json.dumps({"ids": self.ids, "sampling": asdict(self.sampling)})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Request":
        """Undo ``to_json``."""
        content = json.loads(text)
        sampling = content["sampling"]
        return cls(content["ids"], Sampling(**{**sampling, "stop": tuple(sampling["stop"])}))


def signature(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the columns of a request and of its response, as MLflow's signature lists them."""
    text, required = {"type": "string"}, {"required": True}
    if can_chat(preprocessing):
        fields = {"role": {**text, **required}, "content": {**text, **required}}
        items = {"type": "object", "properties": fields}
        given = {"name": "messages", "type": "array", "items": items, **required}
    else:
        given = {"name": "prompt", **text, **required}
    types = {"temperature": "double", "top_p": "double", "top_k": "long"}
    types |= {"seed": "long", "max_tokens": "long"}
    options = [{"name": name, "type": kind, "required": False} for name, kind in types.items()]
    return {
        "inputs": [given, *options],
        "outputs": [
            {"name": "prediction", **text, **required},
            {"name": "finish_reason", **text, **required},
            {"name": "tokens", "type": "long", **required},
        ],
    }


def example(data: DatasetSplits, preprocessing: Preprocessing) -> pd.DataFrame:
    """Return a request: the beginning of the first training text, or a question."""
    return pd.DataFrame([_example_row(preprocessing, data)])


def request_schema(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the JSON Schema of a row: a prompt or messages, and how to answer."""
    text_field = {
        "type": "string",
        "title": "Prompt",
        "description": "The text that is continued. Prompt and answer together have at most "
        f"{preprocessing.context:,} tokens.",
        "contentMediaType": "text/plain",
        "minLength": 1,
        "maxLength": MAX_CHARACTERS,
    }
    schema: dict[str, Any] = {"type": "object", "title": "Prompt", "properties": {}}
    if can_chat(preprocessing):
        schema["properties"] = {"messages": _message_schema()}
        schema["anyOf"] = [{"required": [name]} for name in INPUTS]
        text_field["type"] = ["string", "null"]
    else:
        schema["required"] = ["prompt"]
    schema["properties"] |= {"prompt": text_field, **_option_schemas(preprocessing)}
    schema["additionalProperties"] = False
    schema["examples"] = [_example_row(preprocessing)]
    return schema


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, config: Config | None
) -> Requests:
    """Read rows; one whose prompt leaves no room for an answer is a problem, for example.

    Args:
        rows: each with a ``prompt`` or ``messages``, and perhaps what ``Sampling`` has.
        preprocessing: of the model.
        config: part of the engine's interface.
    """
    return read_each(rows, lambda row: read_row(row, preprocessing), make_split)


def read_row(
    row: Mapping[str, Any], preprocessing: Preprocessing, default: Sampling | None = None
) -> Request:
    """Read a row.

    Args:
        row: with a ``prompt`` or ``messages``, and perhaps fields of ``Sampling``.
        preprocessing: of the model.
        default: of the fields that the row does not have.

    Raises:
        DataProblem: it is wrong; the text begins with the field.
    """
    check_fields(row, (*INPUTS, *OPTIONS))
    given = [name for name in INPUTS if row.get(name) is not None]
    if not given:
        raise DataProblem("prompt: it is missing.")
    if len(given) == 2:
        raise DataProblem("messages: a row has a prompt or messages, not both.")
    if given == ["prompt"]:
        ids = encode_prompt(row["prompt"], preprocessing)
    else:
        ids = encode_messages(row["messages"], preprocessing)
    return Request(ids, _read_sampling(row, preprocessing, default or Sampling()))


def encode_prompt(prompt: Any, preprocessing: Preprocessing) -> list[int]:
    """Return the tokens of a text to be continued; special tokens that somebody typed are text.

    Raises:
        DataProblem: it is no text, is empty or leaves no room for an answer.
    """
    if not isinstance(prompt, str):
        raise DataProblem("prompt: it must be a text.")
    if not prompt:
        raise DataProblem("prompt: it is empty.")
    _check_characters("prompt", len(prompt))
    tokenizer = preprocessing.tokenizer
    ids = [*tokenizer.start_ids, *tokenizer.encode(_clean(prompt))]
    check_prompt(ids, preprocessing.context)
    return ids


def encode_messages(messages: Any, preprocessing: Preprocessing) -> list[int]:
    """Return the tokens of a chat, up to where its answer begins.

    Args:
        messages: in OpenAI's form.

    Raises:
        DataProblem: the model knows no chats, a message is wrong, or they leave no room for an
            answer.
    """
    if not can_chat(preprocessing):
        raise DataProblem("messages: this model has learnt texts, not chats; give a prompt.")
    if isinstance(messages, np.ndarray):  # from a table
        messages = messages.tolist()
    if not isinstance(messages, list) or not all(isinstance(part, dict) for part in messages):
        raise DataProblem("messages: it must be a list of objects with role and content.")
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise DataProblem(f"messages: {len(messages):,}; 1 to {MAX_MESSAGES:,} are allowed.")
    _check_characters("messages", sum(len(str(part.get("content"))) for part in messages))
    try:
        ids = chats.render_prompt(preprocessing, [_clean_all(part) for part in messages])
        check_prompt(ids, preprocessing.context)
    except DataProblem as error:
        text = str(error).removeprefix("prompt: ")
        raise DataProblem(text if text.startswith("messages") else f"messages: {text}") from None
    return ids


def can_chat(preprocessing: Preprocessing) -> bool:
    """Return whether a model answers messages: it has learnt chats, or was a chat model before."""
    has_template = preprocessing.chat_template or preprocessing.tokenizer.chat_template
    return preprocessing.kind != TEXT or bool(has_template)


def make_split(ids: Sequence[str] | np.ndarray, requests: Sequence[Request]) -> Split:
    """Return requests as a split, whose raw inputs (batch,) are JSON."""
    encoded = [request.to_json() for request in requests]
    constant = tf.constant(encoded, tf.string, shape=(len(encoded),))
    return Split(np.array(ids, dtype=object), np.array([]), lambda i: tf.gather(constant, i))


def read_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an id and a row for each line of a file.

    Args:
        path: ``.jsonl`` or ``.ndjson`` have a row as JSON in each line, perhaps with an ``id``;
            other files a prompt in each. Empty lines are left out.

    Raises:
        DataProblem: a line cannot be read.
    """
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield parse_line(line, number) if is_json else (str(number), _as_row(line))
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataProblem(f"{path}: {reason}.") from None
    except DataProblem as error:
        raise DataProblem(f"{path}: {error}") from None


def parse_line(line: str, number: int) -> tuple[str, dict[str, Any]]:
    """Return the id and the row of a line of JSON.

    Args:
        number: of the line, which is its id unless it has one.

    Raises:
        DataProblem: it is no JSON object.
    """
    try:
        row = json.loads(line)
    except ValueError:
        raise DataProblem(f"line {number} is not JSON.") from None
    if not isinstance(row, dict):
        raise DataProblem(f"line {number} is not an object with a prompt or messages.")
    return str(row.pop("id", number)), row


def _as_row(line: str) -> dict[str, Any]:
    return {"prompt": line.rstrip("\r\n")}


def _read_sampling(
    row: Mapping[str, Any], preprocessing: Preprocessing, default: Sampling
) -> Sampling:
    given = {name: row[name] for name in OPTIONS if row.get(name) is not None}
    for name in WHOLE:
        value = given.get(name)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            given[name] = int(value)
    if isinstance(given.get("stop"), str):
        given["stop"] = (given["stop"],)
    elif isinstance(given.get("stop"), list):
        given["stop"] = tuple(given["stop"])
    try:
        sampling = Sampling(**{**asdict(default), **given})
    except UsageProblem as error:
        raise DataProblem(str(error)) from None
    if "max_tokens" in given:
        check_max_tokens(sampling.max_tokens, preprocessing)
    return sampling


def check_max_tokens(max_tokens: int | None, preprocessing: Preprocessing) -> None:
    """Check that an answer may have so many tokens.

    Raises:
        DataProblem: the model's context has fewer.
    """
    if max_tokens is not None and max_tokens > preprocessing.context:
        raise DataProblem(
            f"max_tokens: {max_tokens:,} is more than the {preprocessing.context:,} tokens of the "
            "model's context."
        )


def _check_characters(name: str, count: int) -> None:
    if count > MAX_CHARACTERS:
        raise DataProblem(
            f"{name}: {count:,} characters, more than the {MAX_CHARACTERS:,} allowed."
        )


def _clean(text: str) -> str:
    """Replace what is not Unicode by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _clean_all(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return list(map(_clean_all, value))
    if isinstance(value, dict):
        return {name: _clean_all(part) for name, part in value.items()}
    return value


def _example_row(preprocessing: Preprocessing, data: DatasetSplits | None = None) -> dict[str, Any]:
    if can_chat(preprocessing):
        return {"messages": EXAMPLE_MESSAGES}
    text = ""
    if data is not None:
        text = next(iter(data.train.read_texts(np.array([0]))))[:EXAMPLE_CHARACTERS]  # type: ignore[attr-defined]
    # It must fit into the smallest context.
    room = max(preprocessing.context // 2, 1)
    tokens = preprocessing.tokenizer.encode(_clean(text.strip() or "The"))[:room]
    return {"prompt": preprocessing.tokenizer.decode(tokens) or "a"}


def _message_schema() -> dict[str, Any]:
    return {
        "type": ["array", "null"],
        "title": "Messages",
        "description": "A chat, in OpenAI's form; the answer follows the last message.",
        "minItems": 1,
        "maxItems": MAX_MESSAGES,
        "items": {
            "type": "object",
            "properties": {
                "role": {"type": "string", "enum": ["system", "user", "assistant", "tool"]},
                "content": {"type": ["string", "array", "null"]},
                "name": {"type": ["string", "null"]},
                "tool_calls": {"type": ["array", "null"], "items": {"type": "object"}},
                "tool_call_id": {"type": ["string", "null"]},
            },
            "required": ["role"],
        },
    }


def _option_schemas(preprocessing: Preprocessing) -> dict[str, Any]:
    number, whole, default = ["number", "null"], ["integer", "null"], Sampling()
    return {
        "temperature": {
            "type": number,
            "title": "Temperature",
            "description": f"0: the likeliest text; unset: {default.temperature}.",
            "minimum": 0,
            "maximum": MAX_TEMPERATURE,
        },
        "top_p": {
            "type": number,
            "title": "Top p",
            "description": "Likeliest tokens whose probabilities sum up to this; unset: all.",
            "exclusiveMinimum": 0,
            "maximum": 1,
        },
        "top_k": {
            "type": whole,
            "title": "Top k",
            "description": "So many of the likeliest tokens; unset: all.",
            "minimum": 1,
        },
        "seed": {
            "type": whole,
            "title": "Seed",
            "description": f"The same seed gives the same answer; unset: {default.seed}.",
            "minimum": 0,
            "maximum": MAX_SEED,
        },
        "max_tokens": {
            "type": whole,
            "title": "Most tokens",
            "description": "Of the answer; unset: as many as there is room for.",
            "minimum": 1,
            "maximum": preprocessing.context,
        },
        "stop": {
            "type": ["array", "null"],
            "title": "Stop texts",
            "description": "The answer ends before any of them.",
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_STOP_LENGTH},
            "maxItems": MAX_STOPS,
        },
    }
