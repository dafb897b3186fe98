"""The models that are served, and the way from rows to answers.

``app.py`` and the routers of other modules use ``Service.models`` and ``Service.answer`` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..extensions import find_hooks
from . import request_log
from .batcher import Answer, Batcher
from .metrics import Metrics
from .notes import Notes
from .problems import NotReady, Refused, TimedOut, TooManyRows, UnknownModel
from .row_checks import check_rows
from .sections import ServeFields

if TYPE_CHECKING:
    from .models import LoadedModel

EXPLAINED_ROWS = 8  # at a time: an explanation takes hundreds of predictions
NOTED_BATCHES = 8  # of the largest size whose rows may wait for hooks


@dataclass(frozen=True)
class Lanes:
    """A model and its queues: explanations do not make predictions wait.

    Attributes:
        repeats: of rows that were answered before, which nobody counts or notes again.
    """

    model: LoadedModel
    predictions: Batcher
    explanations: Batcher
    repeats: Batcher

    @property
    def waiting(self) -> int:
        """Rows in all of them."""
        return sum(batcher.waiting for batcher in self._batchers)

    async def close(self) -> None:
        """Answer what waits, and take no more."""
        await asyncio.gather(*(batcher.close() for batcher in self._batchers))

    @property
    def _batchers(self) -> tuple[Batcher, ...]:
        return self.predictions, self.explanations, self.repeats


class Service:
    """What a process serves; lives in its event loop.

    Attributes:
        models: loaded ones by name; the first one answers where no name is given.
        problem: why it is not ready, for people; '' once all models are loaded.
        is_draining: it is about to stop.
    """

    def __init__(self, config: Any, names: Sequence[str] = ()) -> None:
        self.config, self.metrics = config, Metrics()
        self.fields: ServeFields = config.serve
        self.names = list(names)  # of all models that are to be loaded, in their order
        self.problem = "The model is being loaded."
        self.is_draining = False
        self.body_bytes = 0  # of requests that are being read or answered
        self._lanes: dict[str, Lanes] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._hooks = find_hooks("after_answers")
        self._notes: dict[str, Notes] = {}  # by model

    @property
    def models(self) -> dict[str, LoadedModel]:
        names = [*self.names, *(name for name in self._lanes if name not in self.names)]
        return {name: self._lanes[name].model for name in names if name in self._lanes}

    @property
    def is_ready(self) -> bool:
        return not self.is_draining and not self.problem and bool(self._lanes)

    def find(self, name: str | None) -> LoadedModel:
        """Return a model by name; None is the first.

        Raises:
            UnknownModel: there is none of this name.
            NotReady: it is not loaded yet.
        """
        return self._find(name).model

    def put(self, model: LoadedModel) -> None:
        """Serve a model; the one of the same name before it answers what it has accepted."""
        fields, metrics = self.fields, self.metrics
        label = model.name
        before = self._lanes.get(label)
        gauge = metrics.queue_rows.labels(label)
        lanes = Lanes(
            model,
            Batcher(
                partial(self._work, model, False),
                fields.max_batch,
                fields.queue,
                f"predict-{label}",
                metrics.batch_rows.labels(label).observe,
            ),
            Batcher(
                partial(self._work, model, True), EXPLAINED_ROWS, fields.queue, f"explain-{label}"
            ),
            Batcher(
                partial(self._work, model, False, is_repeat=True),
                fields.max_batch,
                fields.queue,
                f"repeat-{label}",
            ),
        )
        if label not in self._notes:
            count_dropped = metrics.dropped_rows.labels(label).inc
            self._notes[label] = Notes(self._hooks, NOTED_BATCHES * fields.max_batch, count_dropped)
        self._lanes[label] = lanes
        gauge.set_function(lambda: lanes.waiting)
        metrics.set_version(label, before.model.version if before else None, model.version)
        if before:
            task = asyncio.create_task(before.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def wait_for_replaced(self) -> None:
        """Return once nothing here holds the models that others have replaced.

        They have answered what they accepted, and hooks were called with their answers.
        """
        while self._closing:
            await asyncio.wait(set(self._closing))
        await asyncio.gather(*(notes.flush() for notes in self._notes.values()))

    async def answer(
        self,
        name: str | None,
        rows: Sequence[Mapping[str, Any]],
        explain: bool = False,
        is_repeat: bool = False,
    ) -> list[Answer]:
        """Return an answer or ``{"error": …}`` for each row.

        Args:
            name: of the model; None: the first.
            rows: as JSON gives them; binary fields in base64 or as bytes.
            explain: add ``explanation`` to each answer.
            is_repeat: they were answered before: no metric and no hook counts them again.

        Raises:
            Refused: no such model, too many rows, a full queue, or no answer in time.
        """
        lanes = self._find(name)
        limit = self.fields.max_rows
        if len(rows) > limit:
            raise TooManyRows(limit)
        if explain and not lanes.model.explains:
            raise Refused(422, "This model explains nothing.")
        if facts := request_log.current.get(None):
            facts.rows += len(rows)
            facts.model = lanes.model.header
        checked = check_rows(rows, lanes.model.schema)
        lane = lanes.explanations if explain else lanes.predictions
        lane = lanes.repeats if is_repeat else lane
        try:
            async with asyncio.timeout(self.fields.timeout_s):
                return await lane.submit(checked)
        except TimeoutError:
            raise TimedOut from None

    async def close(self) -> None:
        """Answer what was accepted, and take no more."""
        await asyncio.gather(*(lanes.close() for lanes in self._lanes.values()), *self._closing)

    def _find(self, name: str | None) -> Lanes:
        known = self.names or list(self._lanes)
        name = known[0] if name is None and known else name
        if name in self._lanes:
            return self._lanes[name]
        if name in known:
            raise NotReady(self.problem or "The model is not loaded.")
        raise UnknownModel

    def _work(
        self, model: LoadedModel, explain: bool, rows: list[Any], is_repeat: bool = False
    ) -> list[Answer]:
        requests, answers, merged = model.answer(rows, explain)
        if not is_repeat:
            self.metrics.count_answers(model.name, merged)
            # Also where no row was right: hooks count those that were refused.
            self._notes[model.name].put(len(rows), self.config, model, requests, answers)
        return merged
