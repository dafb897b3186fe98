"""How the next token is chosen from logits. NumPy alone; nothing here knows of a network."""

import math
import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine.errors import ProjectError, UsageProblem

MAX_TEMPERATURE = 10.0
MAX_STOPS, MAX_STOP_LENGTH = 16, 256  # stop texts, and characters of each
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Sampling:
    """Choice of the tokens of one answer, and where it ends.

    Attributes:
        temperature: logits are divided by it; 0: the likeliest token always.
        top_p: keep the likeliest tokens whose probabilities sum up to this: Holtzman et al. 2020.
        top_k: keep so many of the likeliest tokens; None: all.
        seed: the same seed gives the same answer; None: another one each time.
        max_tokens: most tokens of the answer; None: as many as the context has room for.
        stop: texts at which the answer ends, without them.
    """

    temperature: float = 0.8
    top_p: float = 1.0
    top_k: int | None = None
    seed: int | None = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_number("temperature", self.temperature, 0, MAX_TEMPERATURE)
        _check_number("top_p", self.top_p, 0, 1)
        if self.top_p == 0:
            raise UsageProblem("top_p: 0 keeps no token; it must be above 0, and at most 1.")
        if self.top_k is not None:
            _check_whole("top_k", self.top_k, 1, 10_000_000)
        if self.seed is not None:
            _check_whole("seed", self.seed, 0, MAX_SEED)
        if self.max_tokens is not None:
            _check_whole("max_tokens", self.max_tokens, 1, 10_000_000)
        _check_stops(self.stop)

    def with_seed(self) -> "Sampling":
        """Return the same with a seed, drawn by chance if there is none."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(MAX_SEED))


def make_rng(seed: int, number: int) -> np.random.Generator:
    """Return the random numbers of one token.

    They depend on nothing else: neither on the slot that an answer is decoded in nor on its
    neighbours.

    Args:
        seed: of the answer.
        number: of the token in the answer, from 0 on.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, number, 0, 0]))


def sample(logits: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> tuple[int, float]:
    """Choose a token.

    Args:
        logits: (vocabulary,) of the next token.

    Returns:
        Its id, and the logarithm of the probability that the model gives it.

    Raises:
        ProjectError: the model's logits are not numbers.
    """
    logits = np.asarray(logits, np.float64)
    log_probabilities = log_softmax(logits)
    if sampling.temperature == 0:
        chosen = int(np.argmax(logits))
        return chosen, float(log_probabilities[chosen])
    # In the order of ids: which token a random number means hardly depends on rounding.
    cumulative = np.cumsum(distribution(logits, sampling))
    place = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
    chosen = int(min(place, len(cumulative) - 1))
    return chosen, float(log_probabilities[chosen])


def distribution(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the probabilities (vocabulary,) that a token is drawn with; temperature above 0."""
    probabilities = np.exp(log_softmax(logits / sampling.temperature))
    if sampling.top_k is not None and sampling.top_k < len(logits):
        least = np.partition(logits, -sampling.top_k)[-sampling.top_k]
        probabilities = np.where(logits >= least, probabilities, 0.0)
        probabilities /= probabilities.sum()
    if sampling.top_p < 1:
        falling = np.sort(probabilities)[::-1]
        # The token that reaches top_p is kept too: there is always one.
        last = np.searchsorted(np.cumsum(falling), sampling.top_p)
        least = falling[min(int(last), len(falling) - 1)]
        probabilities = np.where(probabilities >= least, probabilities, 0.0)
        probabilities /= probabilities.sum()
    return probabilities


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return logarithms of probabilities (…, vocabulary).

    Raises:
        ProjectError: a logit is not a number.
    """
    largest = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(largest).all():
        raise ProjectError("the model's logits are not numbers: its weights are damaged.")
    shifted = logits - largest
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        raise UsageProblem(f"{name}: {value!r} is not a number from {least:g} to {most:g}.")


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageProblem(f"{name}: {value!r} is not a whole number from {least:,} to {most:,}.")


def _check_stops(stops: Any) -> None:
    if not isinstance(stops, tuple) or not all(isinstance(text, str) for text in stops):
        raise UsageProblem("stop: it must be a list of texts.")
    if len(stops) > MAX_STOPS:
        raise UsageProblem(f"stop: {len(stops)} texts, more than the {MAX_STOPS} allowed.")
    for text in stops:
        if not 0 < len(text) <= MAX_STOP_LENGTH:
            raise UsageProblem(
                f"stop: a text of {len(text):,} characters; 1 to {MAX_STOP_LENGTH} are allowed."
            )
