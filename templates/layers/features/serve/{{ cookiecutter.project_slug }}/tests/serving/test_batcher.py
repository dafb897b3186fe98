"""Batches: greedy, bounded, in order, and each request fails alone."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.engine.serving.batcher import Batcher
from {{ cookiecutter.package_name }}.engine.serving.problems import NotReady, Overloaded


class Work:
    """Answers rows with themselves, once it may go on; rows below 0 are errors."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, rows: list[int]) -> list[dict[str, Any]]:
        self.may_go_on.wait(10)
        self.batches.append(rows)
        if min(rows) < 0:
            raise ValueError("negative")
        return [{"prediction": row} for row in rows]


def run(test: Callable[[Batcher, Work], Any], max_batch: int = 4, queue: int = 8) -> Work:
    """Call an asynchronous test with a batcher."""
    work = Work()

    async def main() -> None:
        batcher = Batcher(work, max_batch, queue)
        await test(batcher, work)
        work.may_go_on.set()
        await batcher.close()

    asyncio.run(main())
    return work


async def begin(batcher: Batcher, *requests: list[int]) -> list[asyncio.Task]:
    """Submit requests, the first of which is being worked on when the others come."""
    tasks = [asyncio.create_task(batcher.submit(requests[0]))]
    await asyncio.sleep(0.05)
    tasks += [asyncio.create_task(batcher.submit(rows)) for rows in requests[1:]]
    await asyncio.sleep(0)
    return tasks


def test_what_waits_is_the_next_batch() -> None:
    async def test(batcher: Batcher, work: Work) -> None:
        tasks = await begin(batcher, [0], [1], [2, 3], [4], [5])
        work.may_go_on.set()
        answers = [[row["prediction"] for row in await task] for task in tasks]
        assert answers == [[0], [1], [2, 3], [4], [5]]

    assert run(test).batches == [[0], [1, 2, 3, 4], [5]]


def test_a_large_request_is_divided() -> None:
    async def test(batcher: Batcher, work: Work) -> None:
        work.may_go_on.set()
        answers = await batcher.submit(list(range(7)))
        assert [row["prediction"] for row in answers] == list(range(7))

    assert [len(batch) for batch in run(test).batches] == [4, 3]


def test_a_full_queue_refuses_at_once() -> None:
    async def test(batcher: Batcher, work: Work) -> None:
        tasks = await begin(batcher, [0], [1, 2, 3, 4], [5, 6, 7])
        with pytest.raises(Overloaded) as refusal:
            await batcher.submit([8, 9])
        assert refusal.value.headers["Retry-After"] == "1"
        work.may_go_on.set()
        assert len(await tasks[2]) == 3

    run(test)


def test_an_error_is_that_of_one_request() -> None:
    async def test(batcher: Batcher, work: Work) -> None:
        tasks = await begin(batcher, [0], [1], [-1], [2])
        work.may_go_on.set()
        assert (await tasks[1])[0]["prediction"] == 1
        assert (await tasks[3])[0]["prediction"] == 2
        with pytest.raises(ValueError, match="negative"):
            await tasks[2]

    run(test)


def test_what_nobody_waits_for_is_left_out() -> None:
    async def test(batcher: Batcher, work: Work) -> None:
        tasks = await begin(batcher, [0], [1], [2])
        tasks[1].cancel()
        await asyncio.sleep(0)
        work.may_go_on.set()
        await tasks[2]

    assert run(test).batches == [[0], [2]]


def test_closing_answers_what_waits() -> None:
    async def test(batcher: Batcher, work: Work) -> None:
        tasks = await begin(batcher, [0], [1], [2])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await batcher.submit([3])
        work.may_go_on.set()
        await closing
        assert [len(await task) for task in tasks] == [1, 1, 1]

    run(test)
