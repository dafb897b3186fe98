"""What a model writes for held-out prompts, beside what stands there."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.files import write_json, write_text
from ..engine.tables import write_csv
from .answers import chrf, exact_match
from .copied import choose_n, measure_copied
from .scores import shorten

if TYPE_CHECKING:
    from ..datasets.store import TokenSplit
    from ..engine.artifact import Artifact

SHOWN = 4  # prompts of texts, each with a greedy and a sampled continuation
ASKED = 32  # questions of chats
SHOWN_ANSWERS = 8  # of them, in the tables
PROMPT_TOKENS = 32  # of a text, at most
NEW_TOKENS = 64  # of a continuation
ANSWER_TOKENS = 256  # of an answer
TEMPERATURE, TOP_P = 0.8, 0.95
SECONDS = 20.0  # for writing all of them; what is not finished by then is left out
SMALL, SHORT = 2_000_000, 256  # weights, and tokens of a context, of a model that is quick to call
FILE = "samples.json"


@dataclass(frozen=True)
class Prompt:
    """A held-out beginning.

    Attributes:
        id: of its row.
        ids: tokens of the beginning.
        reference: tokens that follow it there.
    """

    id: str
    ids: list[int]
    reference: list[int]


@dataclass(frozen=True)
class Sample:
    """What a model wrote after a prompt; ``way`` is ``greedy`` or ``sampled``."""

    prompt: Prompt
    way: str
    text: str
    ids: list[int]


def select_prompts(split: TokenSplit, count: int) -> list[Prompt]:
    """Return the beginnings of some rows, spread evenly over a split.

    Of a text the first half, up to 32 tokens; of a chat or a pair all up to the first answer.

    Args:
        split: held-out rows.
        count: how many rows are looked at.
    """
    positions = np.unique(np.linspace(0, max(len(split) - 1, 0), count).astype("int64"))
    if not len(split):
        return []
    rows = split.read_rows(positions)
    found = []
    for place, position in enumerate(positions):
        tokens, segments, weights = (
            np.asarray(rows[name])[place] for name in ("tokens", "segments", "weights")
        )
        if tokens.ndim == 2:  # of a pair, the chosen answer
            tokens, segments, weights = tokens[:, 0], segments[:, 0], weights[:, 0]
        first = segments == 1
        ids, weights = tokens[first], weights[first]
        start, end = _find_answer(ids, weights, split.kind)
        if 0 < start < end:
            prompt = Prompt(str(split.ids[position]), ids[:start].tolist(), ids[start:end].tolist())
            found.append(prompt)
    return found


def _find_answer(ids: np.ndarray, weights: np.ndarray, kind: str) -> tuple[int, int]:
    """Return where the part that a model is to write begins and ends."""
    if kind == "text":
        return min(len(ids) // 2, PROMPT_TOKENS), len(ids)
    counted = np.flatnonzero(weights > 0)
    if not len(counted):
        return 0, 0
    start = int(counted[0])
    rest = np.flatnonzero(weights[start:] == 0)
    return start, start + int(rest[0]) if len(rest) else len(ids)


def write_samples(
    folder: Path, model: Artifact, train: TokenSplit, test: TokenSplit, seconds: float = SECONDS
) -> dict[str, float]:
    """Let a model write, and write ``samples.json``, ``samples.md`` and ``test_examples.csv``.

    Args:
        folder: the run's report.
        model: the trained model.
        train: its training split, in which n-grams are looked up.
        test: held-out rows, whose beginnings are continued.
        seconds: after which the model is stopped.

    Returns:
        Metrics: of chats ``exact_match`` and ``chrf`` of greedy answers; ``copied``, the share of
        n-grams that occur in the training split, and ``copied_by_people``, that of the held-out
        texts themselves. Those that cannot be had are left out.
    """
    asks = test.kind != "text"
    prompts = select_prompts(test, ASKED if asks else SHOWN)
    ways = ("greedy",) if asks else ("greedy", "sampled")
    samples = write_texts(model, prompts, ways, ANSWER_TOKENS if asks else NEW_TOKENS, seconds)
    tokenizer = test.tokenizer
    n = choose_n(train)
    references = [prompt.reference for prompt in prompts]
    shares = measure_copied([*(sample.ids for sample in samples), *references], train, n)
    metrics = {
        "copied": _mean(shares[: len(samples)]),
        "copied_by_people": _mean(shares[len(samples) :]),
    }
    if asks and samples:
        answers = [sample.text.strip() for sample in samples]
        expected = [tokenizer.decode(sample.prompt.reference).strip() for sample in samples]
        metrics |= {"exact_match": exact_match(answers, expected), "chrf": chrf(answers, expected)}
    metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
    shown = samples[:SHOWN_ANSWERS]
    rows = [
        {
            "id": sample.prompt.id,
            "prompt": tokenizer.decode(sample.prompt.ids),
            "way": sample.way,
            "written": sample.text,
            "reference": tokenizer.decode(sample.prompt.reference),
            "copied": None if math.isnan(share) else share,
        }
        for sample, share in zip(shown, shares[: len(shown)], strict=True)
    ]
    facts = {"ngram": n, "texts": len(samples), "metrics": metrics, "samples": rows}
    write_json(folder / FILE, facts)
    write_text(folder / "samples.md", describe(facts))
    header = ["id", "prompt", "way", "written", "reference"]
    table = ([shorten(str(row[name])) for name in header] for row in rows)
    write_csv(folder / "test_examples.csv", header, table)
    return metrics


def write_texts(
    model: Artifact, prompts: Sequence[Prompt], ways: Sequence[str], max_tokens: int, seconds: float
) -> list[Sample]:
    """Return what a model writes for prompts, all at once; those that are finished in time.

    Args:
        model: the trained model.
        prompts: to be continued.
        ways: ``greedy``, ``sampled``.
        max_tokens: of each text.
        seconds: for all of them.
    """
    from ..generation.sampling import Sampling

    context = model.preprocessing.context
    wanted = [(p, way) for p in prompts if len(p.ids) < context - 1 for way in ways]
    if not wanted:
        return []
    generator = _make_generator(model, min(len(wanted), 8))
    handles: dict[int, tuple[Prompt, str]] = {}
    for seed, (prompt, way) in enumerate(wanted):
        sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
        if way == "sampled":
            sampling = Sampling(TEMPERATURE, TOP_P, seed=seed, max_tokens=max_tokens)
        handles[generator.submit(prompt.ids, sampling)] = (prompt, way)
    texts: dict[int, list[str]] = {handle: [] for handle in handles}
    finished: list[int] = []
    deadline = time.monotonic() + seconds
    while len(finished) < len(handles) and time.monotonic() < deadline:
        for event in generator.step():
            texts[event.handle].append(event.text_delta)
            if event.finish_reason:
                finished.append(event.handle)
    for handle in set(handles) - set(finished):
        generator.cancel(handle)
    done = set(finished)
    samples = []
    for handle, (prompt, way) in handles.items():
        if handle in done:
            text = "".join(texts[handle])
            samples.append(Sample(prompt, way, text, model.preprocessing.tokenizer.encode(text)))
    return samples


def _make_generator(model: Artifact, slots: int) -> Any:
    from ..generation.decoder import RereadingDecoder
    from ..generation.generator import Generator

    context = model.preprocessing.context
    decoder = None
    if model.network.count_params() <= SMALL and context <= SHORT:
        # To compile a decoder with a cache takes longer than to read these few texts again.
        decoder = RereadingDecoder(model.network, slots, context)
    return Generator(model, slots, decoder=decoder)


def describe(facts: dict[str, Any]) -> str:
    """Return samples and their metrics as Markdown.

    Args:
        facts: what ``samples.json`` holds.
    """
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in facts["metrics"].items())
    blocks = [
        "# Samples",
        f"Of {facts['texts']} texts: {metrics or 'no metrics'}. `copied` is the share of "
        f"{facts['ngram']}-grams of tokens that occur in the training split, `copied_by_people` "
        "the same of the held-out texts.",
    ]
    for row in facts["samples"]:
        blocks += [f"## {shorten(row['id'])} ({row['way']})"]
        for title, name in (("Prompt", "prompt"), ("Written", "written"), ("There", "reference")):
            blocks.append(f"{title}:\n\n{_indent(row[name])}")
    return "\n\n".join(blocks) + "\n"


def _indent(text: str) -> str:
    """Return a text as a block of code, in which nothing is Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else float("nan")
