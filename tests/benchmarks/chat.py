"""The chat service of a language model: one user beside 32 at once.

    python -m tests.benchmarks.chat [PROJECT]

A small model is trained on the sample of the template, unless a project with a run is given. Then
one user, and 32 at once, ask for streams of 32 to 96 tokens: time to the first token, tokens a
second, requests that are lost, and memory over 2,000 requests more.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.report import run_in
from tests.generated.services import HOST, RunningService, make_project, serving

USERS = 32
FEWEST, SPREAD = 32, 65  # tokens of an answer
ROUNDS = {1: 60, USERS: 10}  # requests of each user
MEMORY_REQUESTS = 2_000
TRAINING = ("--train.max_steps", "200", "--fresh", "--tracking.enabled", "false")


@dataclass(frozen=True)
class Answer:
    """What a user has seen of a stream.

    Attributes:
        first: seconds to the first token; NaN: it was lost.
        total: seconds to the end.
        tokens: of the answer.
    """

    first: float
    total: float
    tokens: int


async def ask(port: int, seed: int, tokens: int) -> Answer:
    """Ask for a stream over a connection of its own."""
    content = {"prompt": "The function returns a", "stream": True, "max_tokens": tokens}
    content |= {"seed": seed, "stream_options": {"include_usage": True}}
    body = json.dumps(content).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    start = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head.encode() + body)
        await reader.readuntil(b"data: ")
        first = time.perf_counter() - start
        rest = await reader.read()
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return Answer(float("nan"), 0.0, 0)
    total = time.perf_counter() - start
    if b"[DONE]" not in rest:
        return Answer(float("nan"), total, 0)
    usage = next(line for line in rest.split(b"data: ") if b'"completion_tokens"' in line)
    counted: dict[str, Any] = json.loads(usage[: usage.index(b"\n")])["usage"]
    return Answer(first, total, counted["completion_tokens"])


async def use(port: int, users: int, rounds: int, tokens: int = 0) -> list[Answer]:
    """Let users ask again and again, all at once; for answers of any length if tokens is 0."""

    async def ask_again(user: int) -> list[Answer]:
        seeds = [user * rounds + number for number in range(rounds)]
        return [await ask(port, seed, tokens or FEWEST + 37 * seed % SPREAD) for seed in seeds]

    answers = await asyncio.gather(*(ask_again(user) for user in range(users)))
    return [answer for part in answers for answer in part]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values is."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(service: RunningService, users: int) -> dict[str, float]:
    """Ask, and print a row of the table."""
    start = time.perf_counter()
    answers = asyncio.run(use(service.port, users, ROUNDS[users]))
    seconds = time.perf_counter() - start
    lost = sum(answer.first != answer.first for answer in answers)
    firsts = [1_000 * answer.first for answer in answers if answer.first == answer.first]
    found = {
        "p50": statistics.median(firsts),
        "p95": percentile(firsts, 0.95),
        "rate": sum(answer.tokens for answer in answers) / seconds,
    }
    print(
        f"| {users} | {len(answers)} | {lost} | {found['p50']:.1f} | {found['p95']:.1f} | "
        f"{1_000 * statistics.median(answer.total for answer in answers):.0f} | "
        f"{found['rate']:,.0f} |"
    )
    return found


def main(folder: Path, *words: str) -> None:
    """Serve the newest run of a project, and measure."""
    with serving(folder, *words, "--serve.log_level", "warning") as service:
        asyncio.run(use(service.port, 1, 5))
        asyncio.run(use(service.port, USERS, 2))
        print("| users | requests | lost | first token p50, ms | p95, ms | whole, ms | tokens/s |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        one, many = measure(service, 1), measure(service, USERS)
        print(f"first token, p50, {USERS} users to one: {many['p50'] / one['p50']:.2f}")
        before = service.megabytes()
        answers = asyncio.run(use(service.port, USERS, MEMORY_REQUESTS // USERS, 8))
        lost = sum(answer.first != answer.first for answer in answers)
        after = service.megabytes()
        print(
            f"{len(answers)} requests more: {lost} lost, {after - before:+.1f} of {before:.0f} MB"
        )


def train_project() -> Path:
    """Render a project and train its default model for a moment."""
    project = make_project("language-model")
    run_in(project, ["-m", "demo", "train", *TRAINING])
    return project


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else train_project(), *sys.argv[2:])
