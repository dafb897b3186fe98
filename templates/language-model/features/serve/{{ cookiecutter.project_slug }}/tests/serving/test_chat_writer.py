"""What writes for the project's own model: the same texts alone and beside others."""

from pathlib import Path

from {{ cookiecutter.package_name }}.engine.artifact import load
from {{ cookiecutter.package_name }}.engine.chat.hooks import warm
from {{ cookiecutter.package_name }}.engine.chat.writers import Settings
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.generation.generator import generate
from {{ cookiecutter.package_name }}.generation.sampling import Sampling
from {{ cookiecutter.package_name }}.generation.writer import GeneratorWriter, make_writer
from {{ cookiecutter.package_name }}.task import task

SLOTS, TOKENS = 3, 6


def write(writer: GeneratorWriter, *seeds: int) -> list[str]:
    """Continue a text with each seed, all at once."""
    settings = [Settings(max_tokens=TOKENS, temperature=1.0, seed=seed) for seed in seeds]
    handles = [writer.submit(writer.encode("a"), each) for each in settings]
    texts, left = dict.fromkeys(handles, ""), set(handles)
    while left:
        for piece in writer.step():
            texts[piece.handle] += piece.text
            assert piece.tokens <= TOKENS
            if piece.finish_reason:
                assert piece.finish_reason in ("stop", "length")
                left.remove(piece.handle)
    return [texts[handle] for handle in handles]


def test_neighbours_change_no_answer(trained: Path) -> None:
    model = load(find_run("latest").model_file, task)
    writer = make_writer(model, SLOTS)
    warm(writer, SLOTS)
    alone = [write(writer, seed)[0] for seed in range(5)]
    assert write(writer, *range(5)) == alone, "more than there are slots"
    sampling = [Sampling(temperature=1.0, seed=seed, max_tokens=TOKENS) for seed in range(5)]
    completions = generate(model, [writer.encode("a")] * 5, sampling)
    assert [completion.text for completion in completions] == alone


def test_a_cancelled_answer_is_no_neighbour(trained: Path) -> None:
    writer = make_writer(load(find_run("latest").model_file, task), SLOTS)
    expected = write(writer, 7)
    handle = writer.submit(writer.encode("a"), Settings(max_tokens=TOKENS))
    writer.step()
    writer.cancel(handle)
    assert write(writer, 7) == expected
    assert 1 <= len(writer.encode("a")) < writer.context
