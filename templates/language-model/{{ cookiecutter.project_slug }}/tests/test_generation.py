"""Decoding with a cache, answers that grow together, streams, beams."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.generation.decoder import (
    CachedDecoder,
    RereadingDecoder,
)
from {{ cookiecutter.package_name }}.generation.generator import (
    Generator,
    beam_search,
    generate,
)
from {{ cookiecutter.package_name }}.generation.sampling import Sampling, log_softmax
from {{ cookiecutter.package_name }}.networks import gpt
from {{ cookiecutter.package_name }}.tokens import Tokenizer, fit_bytes

LENGTH = 24
PROMPTS = ("hello", "a", "what is this", "x y z")


def make_network(form: Any, size: int) -> Any:
    network = gpt.build(size, LENGTH, 2, 2, 8, form=form, dropout=0.5)
    random = np.random.default_rng(0)
    network.set_weights([w + random.normal(0, 0.2, w.shape) for w in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return fit_bytes(["hello"], None)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Any:
    preprocessing = SimpleNamespace(tokenizer=tokenizer, context=LENGTH)
    network = make_network(request.param, tokenizer.size)
    return SimpleNamespace(network=network, preprocessing=preprocessing, memo={})


@pytest.fixture(scope="module")
def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.encode(text) for text in PROMPTS]


def test_a_cache_gives_the_logits_of_the_whole_text(model: Any) -> None:
    slots, random = 3, np.random.default_rng(1)
    decoders = [kind(model.network, slots, LENGTH) for kind in (CachedDecoder, RereadingDecoder)]

    def compare(call: Any, kept: Any = slice(None)) -> None:
        ours, theirs = (np.asarray(call(decoder)) for decoder in decoders)
        np.testing.assert_allclose(ours[kept], theirs[kept], atol=2e-5)

    texts = [random.integers(1, 200, size).tolist() for size in (4, 9, 1)]
    compare(lambda d: np.stack([d.prefill(slot, text) for slot, text in enumerate(texts)]))
    for number in range(4):
        # Slots advance by themselves, and one that waits is not disturbed.
        active = np.array([True, number % 2 == 0, True])
        tokens = random.integers(1, 200, slots).astype("int32")
        compare(lambda d, t=tokens, a=active: d.step(t, a), active)
    for decoder in decoders:
        decoder.free(0)
    compare(lambda d: d.step(tokens, np.array([False, True, True])), [1, 2])
    compare(lambda d: d.prefill(0, texts[1]))
    for decoder in decoders:
        decoder.reorder([1, 1, 2])
    compare(lambda d: d.step(tokens, np.ones(slots, bool)))


def test_an_answer_does_not_depend_on_slot_and_company(
    model: Any, prompts: list[list[int]]
) -> None:
    sampling = [Sampling(temperature=1, seed=seed) for seed in range(len(prompts))]
    alone = [generate(model, [p], s)[0] for p, s in zip(prompts, sampling, strict=True)]
    assert len({answer.text for answer in alone}) == len(prompts)
    together = generate(model, prompts[::-1] * 3, sampling[::-1] * 3)
    assert [answer.ids for answer in together] == [answer.ids for answer in alone[::-1]] * 3
    for prompt, answer in zip(prompts, alone, strict=True):
        is_full = answer.finish_reason == "length"
        assert not is_full or len(prompt) + answer.token_count == LENGTH


def test_answers_join_and_leave_at_any_time(model: Any, prompts: list[list[int]]) -> None:
    generator = Generator(model, slots=2)
    sampling = Sampling(temperature=1, seed=5)
    expected = [answer.text for answer in generate(model, prompts, sampling)]
    handles = [generator.submit(prompt, sampling) for prompt in prompts[:3]]
    texts = dict.fromkeys(handles, "")
    for number in range(200):
        events = generator.step()
        assert len({event.handle for event in events}) == len(events) <= 2
        for event in events:
            texts[event.handle] += event.text_delta
        if number == 3:
            handles.append(generator.submit(prompts[3], sampling))
            texts[handles[3]] = ""
            generator.cancel(handles[0])
        if not generator.active:
            break
    assert [texts[handle] for handle in handles[1:]] == expected[1:]
    assert expected[0].startswith(texts[handles[0]])
    assert generator.step() == []
    generator.cancel(handles[0])  # nothing happens


def test_streamed_pieces_are_the_text(model: Any, prompts: list[list[int]]) -> None:
    pieces: dict[int, str] = {0: "", 1: ""}

    def add(number: int, text: str) -> None:
        pieces[number] += text

    answers = generate(model, prompts[:2], Sampling(temperature=1, seed=1), add)
    assert [answer.text for answer in answers] == [pieces[0], pieces[1]]


def test_stop_texts_and_limits(model: Any, prompts: list[list[int]]) -> None:
    [whole] = generate(model, prompts[:1], Sampling(temperature=1, seed=2))
    stop = whole.text[3:5]
    [stopped] = generate(model, prompts[:1], Sampling(temperature=1, seed=2, stop=(stop,)))
    assert stopped.text == whole.text[: whole.text.index(stop)]
    assert stopped.finish_reason == "stop"
    [short] = generate(model, prompts[:1], Sampling(temperature=1, seed=2, max_tokens=2))
    assert (short.ids, short.finish_reason) == (whole.ids[:2], "length")


def test_an_end_of_the_model_ends_an_answer(
    model: Any, prompts: list[list[int]], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [answer] = generate(model, prompts[:1], Sampling(temperature=0, max_tokens=3))
    monkeypatch.setattr(tokenizer, "stop_ids", (answer.ids[0],))
    [ended] = generate(model, prompts[:1], Sampling(temperature=0))
    assert (ended.text, ended.finish_reason, ended.token_count) == ("", "stop", 1)


def test_prompts_must_leave_room(model: Any) -> None:
    generator = Generator(model, slots=1)
    for prompt, message in (([], "prompt: it is empty."), ([7] * LENGTH, "prompt: 24 tokens;")):
        with pytest.raises(DataProblem) as error:
            generator.submit(prompt, Sampling())
        assert str(error.value).startswith(message)
    [answer] = generate(model, [[7] * (LENGTH - 1)], Sampling(temperature=0))
    assert answer.token_count == 1


def test_beams_find_the_likeliest_answer(model: Any, prompts: list[list[int]]) -> None:
    prompt, size = prompts[0], model.preprocessing.tokenizer.size
    # All answers of two tokens, by brute force.
    decoder = RereadingDecoder(model.network, 1, LENGTH)
    first = log_softmax(decoder.prefill(0, prompt).astype("float64"))
    likely = np.argsort(-first)[:16].tolist()
    best = {}
    for token in likely:
        second = log_softmax(decoder.prefill(0, [*prompt, token]).astype("float64"))
        best[token, int(second.argmax())] = first[token] + second.max()
    found = beam_search(model, prompt, beams=16, max_tokens=2)
    assert found.token_count <= 2
    assert size > 16
    if 0 not in found.ids:
        assert found.ids == max(best, key=best.__getitem__)
        assert found.logprob == pytest.approx(max(best.values()), abs=1e-4)
    greedy = generate(model, [prompt], Sampling(temperature=0, max_tokens=4))[0]
    one = beam_search(model, prompt, beams=1, max_tokens=4)
    assert one.ids[0] == greedy.ids[0]
