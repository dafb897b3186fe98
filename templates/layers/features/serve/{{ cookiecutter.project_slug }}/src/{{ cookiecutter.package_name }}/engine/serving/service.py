"""The models that are served, and the way from rows to answers.

``app.py`` and the routers of other modules use ``Service.models`` and ``Service.answer`` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from ..extensions import find_hooks
from . import request_log
from .batcher import Answer, Batcher
from .metrics import Metrics
from .notes import Notes
from .problems import (
    NotReady,
    Refused,
    TimedOut,
    TooManyRows,
    UnknownModel,
    json_response,
)
from .row_checks import check_rows
from .sections import ServeFields

if TYPE_CHECKING:
    from .models import LoadedModel

EXPLAINED_ROWS = 8  # at a time: an explanation takes hundreds of predictions
NOTED_BATCHES = 8  # of the largest size whose rows may wait for hooks


class Lane(Protocol):
    """A queue for a model that a feature adds, see ``Service.add_lane``."""

    async def close(self) -> None:
        """Answer what waits, and take no more."""


# See ``Service.add_lane``.
MakeLane = Callable[["LoadedModel"], Lane | None]
# A refusal -> the body of the answer, for paths whose clients expect another one.
WriteRefusal = Callable[[Refused], dict[str, Any]]


@dataclass(frozen=True)
class Lanes:
    """A model and its queues: explanations do not make predictions wait.

    Attributes:
        repeats: of rows that were answered before, which nobody counts or notes again.
        more: those of features, by name.
    """

    model: LoadedModel
    predictions: Batcher
    explanations: Batcher
    repeats: Batcher
    more: dict[str, Lane] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Rows in all of them."""
        return sum(batcher.waiting for batcher in self._batchers)

    async def close(self) -> None:
        """Answer what waits, and take no more."""
        lanes: tuple[Lane, ...] = (*self._batchers, *self.more.values())
        await asyncio.gather(*(lane.close() for lane in lanes))

    @property
    def _batchers(self) -> tuple[Batcher, ...]:
        return self.predictions, self.explanations, self.repeats


class Service:
    """What a process serves; lives in its event loop.

    Attributes:
        models: loaded ones by name; the first one answers where no name is given.
        problem: why it is not ready, for people; '' once all models are loaded.
        is_draining: it is about to stop.
        answer_s: seconds that an answer may take, of any route.
    """

    def __init__(self, config: Any, names: Sequence[str] = ()) -> None:
        self.config, self.metrics = config, Metrics()
        self.fields: ServeFields = config.serve
        self.names = list(names)  # of all models that are to be loaded, in their order
        self.problem = "The model is being loaded."
        self.is_draining = False
        self.body_bytes = 0  # of requests that are being read or answered
        self.answer_s = self.fields.timeout_s
        self._refusals: dict[str, WriteRefusal] = {}  # by the beginning of the path
        self._makers: dict[str, MakeLane] = {}  # by name
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
            _make_lanes(self._makers, model),
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

    def add_lane(self, name: str, make: MakeLane) -> None:
        """Have a further queue for each model, now and later.

        Args:
            name: for ``find_lane``.
            make: a model -> its queue, which is closed when another model takes the place of this
                one; None where it needs none.
        """
        self._makers[name] = make
        for lanes in self._lanes.values():
            lanes.more.update(_make_lanes({name: make}, lanes.model))

    def find_lane(self, model: str | None, name: str) -> Any:
        """Return the queue of a model that a feature has added, or None if it has none.

        Args:
            model: its name; None: the first.
            name: of the queue.

        Raises:
            UnknownModel: there is no model of this name.
            NotReady: it is not loaded yet.
        """
        return self._find(model).more.get(name)

    def add_refusal(self, start: str, write: WriteRefusal) -> None:
        """Write refusals otherwise for some paths.

        Args:
            start: with which the paths begin.
            write: a refusal -> the body of the answer.
        """
        self._refusals[start] = write

    def refuse(self, path: str, refusal: Refused) -> Response:
        """Return the answer to a request that is refused, as clients of its path expect it."""
        found = (write for start, write in self._refusals.items() if path.startswith(start))
        write = next(found, Refused.content)
        return json_response(write(refusal), refusal.status, refusal.headers)

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


def _make_lanes(makers: Mapping[str, MakeLane], model: LoadedModel) -> dict[str, Lane]:
    made = {name: make(model) for name, make in makers.items()}
    return {name: lane for name, lane in made.items() if lane is not None}
