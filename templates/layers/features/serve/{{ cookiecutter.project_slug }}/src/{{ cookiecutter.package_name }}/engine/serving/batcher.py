"""Greedy batches: whatever waits when the model is free is predicted next, without a wait.

A full queue refuses at once: whoever is accepted waits for a bounded time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .problems import NotReady, Overloaded

Answer = dict[str, Any]
Answers = list[Answer]


@dataclass(frozen=True, eq=False)
class Job:
    """Rows of one request, at most a batch of them, and where their answers go."""

    rows: Sequence[Any]
    answers: "asyncio.Future[Answers]"


class Batcher:
    """Rows that wait, and the thread that works on them. Made and called inside the event loop.

    Args:
        work: rows -> an answer for each; runs in the thread.
        max_batch: most rows of a call.
        queue: rows that may wait.
        name: of the thread.
        observe: called with the number of rows of each batch.
    """

    def __init__(
        self,
        work: Callable[[list[Any]], Answers],
        max_batch: int,
        queue: int,
        name: str = "model",
        observe: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self.waiting = 0  # rows
        self._work, self._max_batch, self._queue, self._observe = work, max_batch, queue, observe
        self._jobs: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._task = asyncio.create_task(self._run())

    async def submit(self, rows: Sequence[Any]) -> Answers:
        """Return an answer for each row, in their order.

        Raises:
            Overloaded: so many rows have no place in the queue.
            NotReady: the batcher is closed.
        """
        if self._is_closing:
            raise NotReady("The service is shutting down.")
        if self.waiting + len(rows) > self._queue:
            raise Overloaded
        new_future = asyncio.get_running_loop().create_future
        starts = range(0, len(rows), self._max_batch)
        jobs = [Job(rows[start : start + self._max_batch], new_future()) for start in starts]
        self._jobs.extend(jobs)
        self.waiting += len(rows)
        self._wake.set()
        if len(jobs) == 1:
            return await jobs[0].answers
        parts = await asyncio.gather(*(job.answers for job in jobs))
        return [answer for part in parts for answer in part]

    async def close(self) -> None:
        """Take no more rows, and return once those that wait are answered."""
        self._is_closing = True
        self._wake.set()
        await self._task
        self._thread.shutdown()  # it is idle; its last call holds the model until it has ended

    async def _run(self) -> None:
        while True:
            if batch := self._take():
                await self._answer(batch)
            elif self._is_closing:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[Job]:
        """Return the oldest jobs that fit into a batch, without those that nobody waits for."""
        batch, size = list[Job](), 0
        while self._jobs and size + len(self._jobs[0].rows) <= self._max_batch:
            job = self._jobs.popleft()
            self.waiting -= len(job.rows)
            if not job.answers.done():
                batch.append(job)
                size += len(job.rows)
        return batch

    async def _answer(self, batch: list[Job]) -> None:
        rows = [row for job in batch for row in job.rows]
        self._observe(len(rows))
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._work, rows)
        except Exception as error:
            if len(batch) > 1:  # a request must not fail because of its neighbours
                for job in batch:
                    await self._answer([job])
            elif not batch[0].answers.done():
                batch[0].answers.set_exception(error)
            return
        start = 0
        for job in batch:
            if not job.answers.done():
                job.answers.set_result(answers[start : start + len(job.rows)])
            start += len(job.rows)
