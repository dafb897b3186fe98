"""Chats: the text that a model sees of their messages.

A chat template says how messages become one text. That of a preset comes with it and runs in a
process of its own; see ``render_process.py``. A special token that somebody typed into a message
stays text: contents are marked before rendering (``tokens.protect``), and rendered texts are to be
encoded with ``Tokenizer.encode_prompt``, which knows the marks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..engine.errors import DataProblem
from ..tokens import protect
from .messages import Message, check_messages, normalize_messages
from .render_process import find_process

# How chats look to a model without a template of its own; special tokens of ``tokens.py``. Trained
# models keep no copy of it: set ``data.chat_template`` for another, which they keep.
DEFAULT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
PROBE = "\ufdd3"  # a noncharacter, which no text has, to see where a template puts an answer
Part = tuple[str, bool]  # a text, and whether the model is to write it

_ASKED: Message = {"role": "user", "content": "?"}


class _Ending(NamedTuple):
    """What a template writes behind an answer.

    Attributes:
        end: up to its first special token, which ends the answer; '' if there is none.
        rest: what stands behind that.
        follow: messages that must follow for it to be written.
    """

    end: str = ""
    rest: str = ""
    follow: Sequence[Message] = ()


@dataclass(frozen=True)
class ChatTemplate:
    """How messages become the text that a model sees.

    All texts that it returns have marks where somebody typed a special token; encode them with
    ``Tokenizer.encode_prompt``, and show them after ``tokens.unprotect``.

    Attributes:
        source: in Jinja, as in ``tokenizer_config.json`` of Hugging Face.
        special_tokens: texts of the tokenizer's special tokens; an answer ends with one of them.
        variables: further ones that the template reads, such as ``bos_token``.
    """

    source: str
    special_tokens: Collection[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """Return the text of a chat.

        Args:
            messages: of the chat, in OpenAI's form.
            tools: that the model may call, in OpenAI's form.
            add_generation_prompt: it ends with the beginning of an answer.

        Raises:
            DataProblem: the template refuses the chat, fails, or takes too long.
        """
        [text] = self._render([self._prepare(messages, tools, add_generation_prompt)])
        return _strip_marks(text)

    def render_with_answers(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Part]:
        """Return the text of a chat in parts, and which of them the model is to write.

        These are the answers with the special token that ends each, and nothing else. An answer
        that a template shows otherwise once the chat goes on, such as without its thoughts, is not
        among them; see ``render_examples``.

        Args:
            messages: of a chat with answers, in OpenAI's form.
            tools: that the model may call.

        Raises:
            DataProblem: the template fails, or does not tell where an answer begins or ends.
        """
        return self.render_examples(messages, tools)[0]

    def render_examples(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[list[Part]]:
        """Return the texts to learn a chat from, in parts; each answer counts in one of them.

        That is one text, unless the template shows an earlier answer otherwise than the model
        writes it. Then that answer has a text of its own, in which it is the last one.

        Args:
            messages: of a chat with answers, in OpenAI's form.
            tools: that the model may call.

        Raises:
            DataProblem: the template fails, or does not tell where an answer begins or ends.
        """
        messages, answers = _find_answers(messages)
        if self._marks_answers:
            [text] = self._render([self._prepare(messages, tools)])
            return [self._split_marks(text)]
        follow = self._ending.follow
        requests = [self._prepare([*messages, *follow], tools)]
        for place in answers:
            requests.append(self._prepare(messages[:place], tools, True))
            requests.append(self._prepare([*messages[: place + 1], *follow], tools))
        whole, *texts = self._render(requests)
        spans, others = [], []
        for place, before, after in zip(answers, texts[::2], texts[1::2], strict=True):
            answer = self._find_answer(messages[:place], tools, before, after)
            if whole.startswith(before + answer):
                spans.append((len(before), len(before) + len(answer)))
            else:
                others.append([(before, False), (answer, True)])
        return [_split(whole, spans), *others] if spans else others

    def render_last(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Part]:
        """Return the text of a chat up to its last answer, of which that answer alone counts.

        Args:
            messages: of a chat with answers, in OpenAI's form.
            tools: that the model may call.

        Raises:
            DataProblem: the template fails, or does not tell where an answer begins or ends.
        """
        messages, (*_, last) = _find_answers(messages)
        if self._marks_answers:
            [text] = self._render([self._prepare(messages, tools)])
            parts = self._split_marks(text)
            end = max(place for place, (_, is_answer) in enumerate(parts) if is_answer)
            before, answer = "".join(text for text, _ in parts[:end]), parts[end][0]
        else:
            asked = self._prepare(messages[:last], tools, True)
            whole = self._prepare([*messages, *self._ending.follow], tools)
            before, after = self._render([asked, whole])
            answer = self._find_answer(messages[:last], tools, before, after)
        return [(before, False), (answer, True)]

    def _find_answer(
        self,
        earlier: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        before: str,
        after: str,
    ) -> str:
        """Return what the model is to write, up to the special token that ends it.

        Args:
            earlier: messages before the answer.
            tools: that the model may call.
            before: text of the earlier messages with the beginning of an answer.
            after: text of the earlier messages, the answer, and ``_ending.follow``.
        """
        start = len(before)
        if not after.startswith(before):
            # Some templates show earlier messages otherwise once there is an answer, such as a
            # system's message in the last question alone. The beginning of the answer must agree.
            probe = [*earlier, {"role": "assistant", "content": PROBE}]
            [probed] = self._render([self._prepare(probe, tools)])
            shown, found, _ = probed.partition(PROBE)
            if not (found and after.startswith(shown) and self._tail(shown) == self._tail(before)):
                raise DataProblem(
                    "chat template: an answer does not begin as the model is asked for it; mark "
                    "the answers in the template with {% generation %} and {% endgeneration %}."
                )
            start = len(shown)
        ending = self._ending
        if ending.end and after.endswith(ending.end + ending.rest, start):
            return after[start : len(after) - len(ending.rest)]
        ends = [match.end() for match in self._special.finditer(after, start)]
        if not ends or ending.follow:
            raise self._endless()
        return after[start : ends[-1]]

    def _endless(self) -> DataProblem:
        return DataProblem(
            "chat template: no special token ends an answer, so that a model could not learn to "
            f"stop; expected one of {', '.join(sorted(self._tokens)[:8])}."
        )

    def _tail(self, text: str) -> str:
        """Return the last special token of a text and what follows it."""
        starts = [match.start() for match in self._special.finditer(text)]
        return text[starts[-1] :] if starts else text

    @cached_property
    def _ending(self) -> _Ending:
        """What the template writes behind an answer."""
        chat = [_ASKED, {"role": "assistant", "content": PROBE}]
        # Some templates end an answer once the chat goes on.
        for follow in ([], [_ASKED]):
            try:
                [text] = self._render([self._prepare([*chat, *follow], None)])
            except DataProblem:
                continue
            behind = text.partition(PROBE)[2]
            found = self._special.search(behind)
            if found:
                return _Ending(behind[: found.end()], behind[found.end() :], follow)
        return _Ending()

    @cached_property
    def _opening(self) -> str:
        """What the template writes to ask for an answer, such as the name of the assistant."""
        both = [self._prepare([_ASKED], None, asks) for asks in (False, True)]
        without, asked = self._render(both)
        return asked.removeprefix(without) if asked.startswith(without) else ""

    @cached_property
    def _marks_answers(self) -> bool:
        return bool(re.search(r"\{%[-+]?\s*generation\b", self.source))

    def _split_marks(self, text: str) -> list[Part]:
        """Return the parts of a text whose answers the template itself has marked."""
        from .chat_renderer import ANSWER_END, ANSWER_START

        first, *pieces = text.split(ANSWER_START)
        clean, spans = first, []
        for piece in pieces:
            answer, _, rest = piece.partition(ANSWER_END)
            start, end = len(clean), len(clean) + len(answer)
            clean += answer + rest
            start += len(self._opening) if answer.startswith(self._opening) else 0
            inside = [match.end() for match in self._special.finditer(clean, start, end)]
            behind = self._special.match(clean, end)  # some templates mark the words alone
            if not inside and not behind:
                raise self._endless()
            spans.append((start, inside[-1] if inside else behind.end()))  # type: ignore[union-attr]
        if not spans:
            raise DataProblem("chat template: its {% generation %} marks no answer of a chat.")
        return _split(clean, spans)

    @property
    def _tokens(self) -> set[str]:
        return {token for token in (*self.special_tokens, *self.variables.values()) if token}

    @property
    def _special(self) -> re.Pattern[str]:
        return _compile_tokens(frozenset(self._tokens))

    def _prepare(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool = False,
    ) -> dict[str, Any]:
        return {
            **self.variables,
            "messages": self._protect(normalize_messages(messages)),
            "tools": self._protect(list(tools)) if tools else None,
            "add_generation_prompt": add_generation_prompt,
        }

    def _protect(self, value: Any) -> Any:
        """Return a value with marks in the special tokens of all its texts."""
        if value == PROBE:
            return value
        if isinstance(value, str):
            return protect(_strip_marks(value), self.special_tokens)
        if isinstance(value, Mapping):
            return {
                key: inner if key == "role" else self._protect(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self._protect(inner) for inner in value]
        return value

    def _render(self, requests: list[dict[str, Any]]) -> list[str]:
        if self.source == DEFAULT_TEMPLATE:
            return _render_own(requests)
        return find_process().render(self.source, requests)


def template_of(tokenizer: Any, source: str | None = None) -> ChatTemplate:
    """Return the chat template of a tokenizer.

    Args:
        tokenizer: knows its special tokens and, if it is a preset's, its template.
        source: of another template; None: the tokenizer's, else ``DEFAULT_TEMPLATE``.
    """
    source = source or getattr(tokenizer, "chat_template", None) or DEFAULT_TEMPLATE
    variables = getattr(tokenizer, "template_variables", None) or {}
    return ChatTemplate(source, tuple(tokenizer.special_tokens), dict(variables))


def make_template(preprocessing: Any) -> ChatTemplate:
    """Return the chat template of a model, from its preprocessing."""
    return template_of(preprocessing.tokenizer, preprocessing.chat_template)


def render_prompt(
    preprocessing: Any,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[int]:
    """Return the tokens of a chat up to the answer that the model is to write.

    Args:
        preprocessing: of the model.
        messages: of the chat, in OpenAI's form; the last one is a user's or a tool's.
        tools: that the model may call.

    Raises:
        DataProblem: a message is malformed, or the template refuses the chat.
    """
    check_messages(messages)
    text = make_template(preprocessing).render(messages, tools, add_generation_prompt=True)
    return list(preprocessing.tokenizer.encode_prompt(text))


def _find_answers(messages: Sequence[Message]) -> tuple[list[Message], list[int]]:
    """Return the messages up to the last answer, from which alone is learnt, and its answers."""
    messages = normalize_messages(messages)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise DataProblem("messages: there is no answer (role 'assistant').")
    return messages[: answers[-1] + 1], answers


def _split(text: str, spans: Sequence[tuple[int, int]]) -> list[Part]:
    """Return the parts of a text up to the last span; the spans are what the model is to write."""
    parts, place = list[Part](), 0
    for start, end in spans:
        parts += [(text[place:start], False), (text[start:end], True)]
        place = end
    return [part for part in parts if part[0]]


def _strip_marks(text: str) -> str:
    """Return a text without the marks of answers, which somebody may have typed."""
    return re.sub("[\ufdd1-\ufdd3]", "", text)


@lru_cache(maxsize=16)
def _compile_tokens(tokens: frozenset[str]) -> re.Pattern[str]:
    if not tokens:
        return re.compile(r"(?!)")  # matches nothing
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))


@lru_cache(maxsize=1)
def _compile_own() -> Any:
    from .chat_renderer import compile_template

    return compile_template(DEFAULT_TEMPLATE)


def _render_own(requests: list[dict[str, Any]]) -> list[str]:
    """Render our own template, which needs no process of its own."""
    import jinja2

    from .chat_renderer import render

    try:
        return [render(_compile_own(), variables) for variables in requests]
    except jinja2.TemplateError as error:
        raise DataProblem(f"chat template: {error}.") from None
