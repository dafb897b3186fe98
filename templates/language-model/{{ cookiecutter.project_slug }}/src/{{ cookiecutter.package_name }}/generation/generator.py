"""Answers to prompts: many at a time, each with its own sampling, streamed as they grow."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..engine.errors import DataProblem
from .decoder import Decoder, RereadingDecoder, make_decoder
from .sampling import Sampling, log_softmax, make_rng, sample
from .stops import TextStream

if TYPE_CHECKING:
    from ..engine.artifact import Artifact

FinishReason = Literal["stop", "length"]
SLOTS = 8  # answers at a time, unless asked otherwise
# Tokens of prompts, padding included, that are read before the other answers continue.
MAX_PREFILL_TOKENS = 2_048


@dataclass(frozen=True)
class Event:
    """What a step has added to an answer.

    Attributes:
        handle: of the answer.
        text_delta: whole characters, perhaps none; no part of a stop text.
        finish_reason: why it has ended: an end of the model's or a stop text, or no room; else
            None.
        token_count: tokens of the answer so far, with one that ends it.
        token: id of the token.
        logprob: logarithm of the probability that the model gives it.
    """

    handle: int
    text_delta: str
    finish_reason: FinishReason | None
    token_count: int
    token: int = -1
    logprob: float = 0.0


@dataclass(frozen=True)
class Completion:
    """A finished answer.

    Attributes:
        text: without the text that it was stopped at.
        ids: its tokens, with one that ends it.
        logprob: sum of the logarithms of their probabilities.
    """

    text: str
    finish_reason: FinishReason
    token_count: int
    ids: tuple[int, ...] = ()
    logprob: float = 0.0


@dataclass(eq=False)
class Answer:
    """An answer that grows."""

    handle: int
    prompt: list[int]
    sampling: Sampling
    limit: int  # tokens
    text: TextStream
    ids: list[int] = field(default_factory=list)
    slot: int = -1


class Generator:
    """Answers that grow together, token by token; a new one takes the place of a finished one.

    One thread may use it at a time. Its cache is its own: several generators of one model do not
    disturb each other.

    Args:
        model: a trained model.
        slots: answers that grow at a time; further ones wait in a line.
        length: most tokens of a prompt and its answer together; None: the model's context.
        decoder: with as many slots; None: the fastest one.

    Attributes:
        length: that number.
    """

    def __init__(
        self,
        model: Artifact,
        slots: int = SLOTS,
        length: int | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        self._decoder = decoder or make_decoder(model, slots, length)
        self.length = self._decoder.length
        self._tokenizer = model.preprocessing.tokenizer
        self._free = list(range(slots))
        self._slots = slots
        self._waiting: deque[Answer] = deque()
        self._running: dict[int, Answer] = {}  # by slot
        self._next_handle = 0
        self._has_admitted = False  # with the last step

    @property
    def active(self) -> list[int]:
        """Handles of answers that are not finished."""
        return [answer.handle for answer in [*self._running.values(), *self._waiting]]

    def submit(self, prompt: list[int], sampling: Sampling) -> int:
        """Put a prompt in line and return its handle; the network is not called yet.

        Args:
            prompt: ids of its tokens.

        Raises:
            DataProblem: it has no token, or leaves no room for an answer.
        """
        check_prompt(prompt, self.length)
        sampling = sampling.with_seed()
        room = self.length - len(prompt)
        limit = min(sampling.max_tokens or room, room)
        self._next_handle += 1
        self._waiting.append(
            Answer(self._next_handle, list(prompt), sampling, limit, TextStream(sampling.stop))
        )
        return self._next_handle

    def cancel(self, handle: int) -> None:
        """Forget an answer; nothing happens if there is none."""
        for answer in list(self._waiting):
            if answer.handle == handle:
                self._waiting.remove(answer)
        for answer in list(self._running.values()):
            if answer.handle == handle:
                self._release(answer)

    def step(self) -> list[Event]:
        """Add a token to each answer that has a slot, in turns with those that take a free one.

        Whoever begins gets the first token at once, and does not wait for those of all others.
        """
        self._has_admitted = not self._has_admitted and bool(self._waiting and self._free)
        if self._has_admitted:
            admitted = self._admit()
            return self._advance(admitted, self._prefill(admitted))
        continued = list(self._running.values())
        if not continued:
            return []
        tokens, active = np.zeros(self._slots, np.int32), np.zeros(self._slots, bool)
        for answer in continued:
            tokens[answer.slot], active[answer.slot] = answer.ids[-1], True
        logits = self._decoder.step(tokens, active)
        return self._advance(continued, logits[[answer.slot for answer in continued]])

    def _admit(self) -> list[Answer]:
        admitted, longest = list[Answer](), 0
        while self._waiting and self._free:
            longest = max(longest, len(self._waiting[0].prompt))
            if admitted and longest * (len(admitted) + 1) > MAX_PREFILL_TOKENS:
                break
            answer = self._waiting.popleft()
            answer.slot = self._free.pop(0)
            self._running[answer.slot] = answer
            admitted.append(answer)
        return admitted

    def _prefill(self, answers: Sequence[Answer]) -> np.ndarray:
        """Read prompts and return the logits (answers, vocabulary) after them."""
        slots, prompts = [a.slot for a in answers], [a.prompt for a in answers]
        if hasattr(self._decoder, "prefill_many"):
            return np.asarray(self._decoder.prefill_many(slots, prompts))
        return np.stack([self._decoder.prefill(*each) for each in zip(slots, prompts, strict=True)])

    def _advance(self, answers: Sequence[Answer], logits: np.ndarray) -> list[Event]:
        return [self._append(answer, row) for answer, row in zip(answers, logits, strict=True)]

    def _append(self, answer: Answer, logits: np.ndarray) -> Event:
        """Choose the next token of an answer from logits (vocabulary,)."""
        assert answer.sampling.seed is not None, "submit draws one"
        rng = make_rng(answer.sampling.seed, len(answer.ids))
        # Presets have more logits than there are tokens.
        chosen, logprob = sample(logits[: self._tokenizer.size], answer.sampling, rng)
        answer.ids.append(chosen)
        delta, reason = extend(answer.text, chosen, self._tokenizer)
        if reason is None and len(answer.ids) >= answer.limit:
            delta, reason = delta + answer.text.flush(), "length"
        if reason is not None:
            self._release(answer)
        return Event(answer.handle, delta, reason, len(answer.ids), chosen, logprob)

    def _release(self, answer: Answer) -> None:
        del self._running[answer.slot]
        self._decoder.free(answer.slot)
        self._free.append(answer.slot)
        self._free.sort()


def generate(
    model: Artifact,
    prompts: Sequence[list[int]],
    sampling: Sampling | Sequence[Sampling],
    on_text: Callable[[int, str], None] | None = None,
) -> list[Completion]:
    """Return an answer to each prompt.

    Args:
        model: a trained model.
        prompts: ids of the tokens of each.
        sampling: of all, or of each.
        on_text: called with the number of a prompt and each further piece of its answer.

    Raises:
        DataProblem: a prompt has no token, or leaves no room for an answer.
    """
    each = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
    slots = 1 if len(prompts) == 1 else SLOTS  # few sizes, as each is compiled
    with _LOCK:
        generator: Generator = _remember(
            model, ("generator", slots), lambda: Generator(model, slots)
        )
        try:
            return _generate(generator, prompts, each, on_text)
        finally:  # an interruption must not leave answers behind
            for handle in generator.active:
                generator.cancel(handle)


def beam_search(
    model: Artifact,
    prompt: list[int],
    beams: int,
    max_tokens: int | None = None,
    stop: Sequence[str] = (),
) -> Completion:
    """Return the answer with the largest mean logarithm of probability a token that is found.

    Args:
        model: a trained model.
        prompt: ids of its tokens.
        beams: beginnings of answers that are kept at each length.
        max_tokens: most tokens of the answer; None: as many as the context has room for.
        stop: texts at which an answer ends.

    Raises:
        DataProblem: the prompt has no token, or leaves no room for an answer.
    """
    with _LOCK:
        decoder = _remember(model, ("beams", beams), lambda: _make_beam_decoder(model, beams))
        check_prompt(prompt, decoder.length)
        room = decoder.length - len(prompt)
        limit = min(max_tokens or room, room)
        return _search(decoder, prompt, beams, limit, tuple(stop), model.preprocessing.tokenizer)


def check_prompt(prompt: Sequence[int], length: int) -> None:
    """Check that a prompt leaves room for a token.

    Args:
        prompt: ids of its tokens.
        length: most tokens of a prompt and its answer together.

    Raises:
        DataProblem: it is empty or too long.
    """
    if not len(prompt):
        raise DataProblem("prompt: it is empty.")
    if len(prompt) >= length:
        raise DataProblem(
            f"prompt: {len(prompt):,} tokens; the model's context has {length:,}, for a prompt "
            "and its answer."
        )


def extend(text: TextStream, token: int, tokenizer: Any) -> tuple[str, FinishReason | None]:
    """Add a token to a text and return what it adds, and why the text has ended with it."""
    if token in tokenizer.stop_ids:
        return text.flush(), "stop"
    delta = text.push(tokenizer.token_bytes(token))
    return delta, "stop" if text.is_stopped else None


def _remember(model: Artifact, key: tuple[str, int], make: Callable[[], Any]) -> Any:
    """Return what was made for a model before: its functions need not be compiled again."""
    if key not in model.memo:
        model.memo[key] = make()
    return model.memo[key]


def _make_beam_decoder(model: Artifact, beams: int) -> Any:
    decoder = make_decoder(model, beams)
    if hasattr(decoder, "reorder"):
        return decoder
    return RereadingDecoder(model.network, beams, decoder.length)


_LOCK = threading.Lock()  # the generators and decoders of ``memo`` serve one call at a time


def _generate(
    generator: Generator,
    prompts: Sequence[list[int]],
    sampling: Sequence[Sampling],
    on_text: Callable[[int, str], None] | None,
) -> list[Completion]:
    for prompt in prompts:
        check_prompt(prompt, generator.length)
    handles = [generator.submit(*pair) for pair in zip(prompts, sampling, strict=True)]
    number = {handle: place for place, handle in enumerate(handles)}
    events: list[list[Event]] = [[] for _ in prompts]
    while generator.active:
        for event in generator.step():
            place = number[event.handle]
            events[place].append(event)
            if on_text is not None and event.text_delta:
                on_text(place, event.text_delta)
    return list(map(_complete, events))


def _complete(events: Sequence[Event]) -> Completion:
    reason = events[-1].finish_reason
    assert reason is not None, "an answer ends with its last event"
    return Completion(
        "".join(event.text_delta for event in events),
        reason,
        len(events),
        tuple(event.token for event in events),
        sum(event.logprob for event in events),
    )


@dataclass(frozen=True)
class Beam:
    """The beginning of an answer."""

    ids: tuple[int, ...]
    logprob: float

    @property
    def score(self) -> float:
        return self.logprob / max(len(self.ids), 1)


def _search(
    decoder: Any, prompt: list[int], beams: int, limit: int, stop: tuple[str, ...], tokenizer: Any
) -> Completion:
    logits = np.tile(decoder.prefill(0, prompt), (beams, 1))
    for slot in range(1, beams):
        decoder.prefill(slot, prompt)
    running, finished = [Beam((), 0.0)], list[tuple[Beam, str, FinishReason]]()
    while True:
        extended, sources = list[Beam](), list[int]()
        for beam, source in _rank(running, logits[:, : tokenizer.size], beams):
            text, reason = _read(beam.ids, stop, tokenizer)
            if reason is None and len(beam.ids) >= limit:
                reason = "length"
            if reason is not None:
                finished.append((beam, text, reason))
            elif len(extended) < beams:
                extended.append(beam)
                sources.append(source)
        finished.sort(key=lambda each: -each[0].score)
        running = extended
        is_enough = len(finished) >= beams and running and (
            finished[beams - 1][0].score >= max(beam.score for beam in running)
        )  # fmt: skip
        if not running or is_enough:
            break
        # Slots without a beam repeat the first one.
        decoder.reorder(sources + sources[:1] * (beams - len(sources)))
        tokens = np.zeros(beams, np.int32)
        tokens[: len(running)] = [beam.ids[-1] for beam in running]
        logits = decoder.step(tokens, np.ones(beams, bool))
    for slot in range(beams):
        decoder.free(slot)
    best, text, reason = finished[0]
    return Completion(text, reason, len(best.ids), best.ids, best.logprob)


def _rank(running: Sequence[Beam], logits: np.ndarray, beams: int) -> list[tuple[Beam, int]]:
    """Return the likeliest continuations, twice as many as beams, and whose they are."""
    candidates = list[tuple[Beam, int]]()
    for slot, beam in enumerate(running):
        scores = log_softmax(logits[slot].astype(np.float64))
        for token in np.argsort(-scores, kind="stable")[: 2 * beams].tolist():
            candidates.append((Beam((*beam.ids, token), beam.logprob + scores[token]), slot))
    candidates.sort(key=lambda each: -each[0].logprob)
    return candidates[: 2 * beams]


def _read(
    ids: Sequence[int], stop: tuple[str, ...], tokenizer: Any
) -> tuple[str, FinishReason | None]:
    stream, text = TextStream(stop), ""
    for token in ids:
        delta, reason = extend(stream, token, tokenizer)
        text += delta
        if reason is not None:
            return text, reason
    return text + stream.flush(), None
