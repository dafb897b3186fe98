"""How tokens are chosen, and how their bytes become text."""

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine.errors import ProjectError, UsageProblem
from {{ cookiecutter.package_name }}.generation.sampling import (
    Sampling,
    distribution,
    make_rng,
    sample,
)
from {{ cookiecutter.package_name }}.generation.stops import TextStream

LOGITS = np.log([0.5, 0.25, 0.15, 0.1])


def draw(sampling: Sampling, count: int = 4000) -> np.ndarray:
    seed = sampling.seed or 0
    tokens = [sample(LOGITS, sampling, make_rng(seed, number))[0] for number in range(count)]
    return np.bincount(tokens, minlength=len(LOGITS)) / count


def test_tokens_are_drawn_with_their_probabilities() -> None:
    np.testing.assert_allclose(draw(Sampling(temperature=1)), [0.5, 0.25, 0.15, 0.1], atol=0.03)
    cold = distribution(LOGITS, Sampling(temperature=0.5))
    np.testing.assert_allclose(cold, np.square([0.5, 0.25, 0.15, 0.1]) / 0.345, rtol=1e-6)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=1, top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(temperature=1, top_k=99), [0.5, 0.25, 0.15, 0.1]),
        (Sampling(temperature=1, top_p=0.5), [1, 0, 0, 0]),
        (Sampling(temperature=1, top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(temperature=1, top_p=1e-9), [1, 0, 0, 0]),
        (Sampling(temperature=1, top_k=2, top_p=0.7), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(temperature=1e-3), [1, 0, 0, 0]),
    ],
)
def test_unlikely_tokens_are_left_out(sampling: Sampling, expected: list[float]) -> None:
    np.testing.assert_allclose(distribution(LOGITS, sampling), expected, atol=1e-9)


def test_temperature_zero_takes_the_likeliest_and_tells_its_probability() -> None:
    token, logprob = sample(LOGITS, Sampling(temperature=0), make_rng(1, 2))
    assert token == 0
    assert logprob == pytest.approx(np.log(0.5))


def test_random_numbers_depend_on_seed_and_place_alone() -> None:
    assert make_rng(3, 5).random() == make_rng(3, 5).random()
    numbers = {make_rng(seed, place).random() for seed in range(4) for place in range(4)}
    assert len(numbers) == 16
    assert Sampling(seed=None).with_seed().seed != Sampling(seed=None).with_seed().seed
    assert Sampling(seed=7).with_seed().seed == 7


def test_damaged_logits_are_an_error() -> None:
    with pytest.raises(ProjectError, match="not numbers"):
        sample(np.array([0.0, np.nan]), Sampling(), make_rng(0, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature: -1 is not a number from 0 to 10."),
        ({"temperature": float("nan")}, "temperature: nan is not a number from 0 to 10."),
        ({"temperature": True}, "temperature: True is not a number from 0 to 10."),
        ({"top_p": 0}, "top_p: 0 keeps no token"),
        ({"top_p": 1.5}, "top_p: 1.5 is not a number from 0 to 1."),
        ({"top_k": 0}, "top_k: 0 is not a whole number from 1 to 10,000,000."),
        ({"seed": -1}, "seed: -1 is not a whole number"),
        ({"seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"max_tokens": 0}, "max_tokens: 0 is not a whole number"),
        ({"stop": ("",)}, "stop: a text of 0 characters; 1 to 256 are allowed."),
        ({"stop": ("a",) * 17}, "stop: 17 texts, more than the 16 allowed."),
        ({"stop": (1,)}, "stop: it must be a list of texts."),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(UsageProblem) as error:
        Sampling(**options)
    assert str(error.value).startswith(message)


def test_characters_come_whole() -> None:
    stream = TextStream()
    parts = [stream.push(bytes([byte])) for byte in "a😀é".encode()]
    assert [part for part in parts if part] == ["a", "😀", "é"]
    stream.push("😀".encode()[:2])
    assert stream.flush() == "", "half a character is none"


def test_no_part_of_a_stop_text_appears() -> None:
    stream = TextStream(["END", "\n\n"])
    shown = [stream.push(part) for part in (b"one E", b"NX E", b"N", b"D two")]
    assert shown == ["one ", "ENX ", "", ""]
    assert stream.is_stopped
    assert stream.push(b"more") == stream.flush() == ""
    held = TextStream(["END"])
    assert held.push(b"the EN") + held.flush() == "the EN", "no stop text after all"
    early = TextStream(["b", "ab"])
    assert early.push(b"xab") == "x", "the one that begins first"
