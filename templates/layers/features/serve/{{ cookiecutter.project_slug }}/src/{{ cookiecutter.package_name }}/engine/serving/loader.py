"""Loading models beside those that answer, at the start and whenever a source names another one."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import strategy
from ..commands import Project
from ..errors import DataProblem, ProjectError
from ..extensions import call_hooks
from .request_log import describe, events
from .service import Service
from .sources import Source, find_version, open_files

if TYPE_CHECKING:
    from .models import LoadedModel


class Loader:
    """Keeps the models of a service what their sources name.

    Args:
        project: loads configurations and the task.
        config: of the service.
        sources: what is served.
        service: gets the models.
    """

    def __init__(
        self, project: Project, config: Any, sources: Sequence[Source], service: Service
    ) -> None:
        self.project, self.config, self.service = project, config, service
        self.sources = list(sources)
        self._refused: dict[str, str] = {}  # name -> version that does not load
        self._problems: dict[str, str] = {}  # name -> what was logged last
        self.is_busy = False

    async def run(self) -> None:
        """Load all models; then return, or look for others again and again."""
        fields = self.config.serve
        while True:
            for source in self.sources:
                await self._update(source)
            is_complete = len(self.service.models) == len(self.sources)
            if is_complete:
                self.service.problem = ""
            may_change = fields.follow and any(source.moves for source in self.sources)
            if is_complete and not may_change:
                return
            await asyncio.sleep(fields.follow_seconds)

    async def _update(self, source: Source) -> None:
        """Load what a source names now, if it is not what is served."""
        name = source.name
        current = self.service.models.get(name)
        if current and not (source.moves and self.config.serve.follow):
            return
        version = None
        try:
            self.is_busy = True
            version = await in_thread(find_version, source, self.config)
            if version in (current and current.version, self._refused.get(name)):
                return
            model = await in_thread(self._load, source, version)
        except Exception as error:
            self._report(source, version, error)
            return
        finally:
            self.is_busy = False
        self.service.put(model)
        self._problems.pop(name, None)
        self.service.metrics.reloads.labels(name, "loaded").inc()
        facts = {"model": name, "version": version, "before": current.version if current else None}
        events.info("model loaded", extra={"facts": facts})
        del current, model
        await self.service.wait_for_replaced()  # they would be kept for ever otherwise
        await in_thread(settle_memory)

    def _load(self, source: Source, version: str) -> "LoadedModel":
        prepare_tensorflow(self.config)
        task = self.project.load_task()
        from .models import load_model

        with open_files(source, version, self.config) as files:
            config = self.project.load_config(base=files.config_file)
            model = load_model(source.name, files, task, config, self.config.serve.max_batch)
        call_hooks("after_loading", self.config, model)
        return model

    def _report(self, source: Source, version: str | None, error: Exception) -> None:
        """Log once that a model does not load; the one before it stays."""
        name, is_file_wrong = source.name, isinstance(error, DataProblem)
        if is_file_wrong and version:
            self._refused[name] = version  # not again and again
        reason = str(error) if isinstance(error, ProjectError) else describe(error)
        if name not in self.service.models:
            state = "is refused" if is_file_wrong else "cannot be loaded"
            self.service.problem = f"The model {name} {state}; the service's log says why."
            # Without it nothing is answered: look again, the file may be put back.
            self._refused.pop(name, None)
        if self._problems.get(name) == reason:
            return
        self._problems[name] = reason
        self.service.metrics.reloads.labels(name, "failed").inc()
        kept = self.service.models.get(name)
        facts = {
            "model": name,
            "version": version,
            "kept": kept.version if kept else None,
            "reason": " ".join(reason.split())[:500],
        }
        events.error("model not loaded", extra={"facts": facts})


def prepare_tensorflow(config: Any) -> None:
    """Choose TensorFlow as backend, and its threads, before the first tensor.

    A model of any backend runs on TensorFlow. One batch is predicted at a time, while another core
    reads and writes requests: all cores for one operation would slow both down.

    Args:
        config: of the service.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = config.serve.threads or max(1, (cores or 2) // 2)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))
    runtime = config.runtime.model_copy(
        update={"backend": "tensorflow", "strategy": "auto", "virtual_devices": None}
    )
    strategy.prepare(runtime, environment={})


def settle_memory() -> None:
    """Forget the model before, and keep the new one out of later collections.

    With TensorFlow imported, a full collection takes a quarter of a second in which nothing is
    answered.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns that takes long.

    Its thread does not keep the process alive, as those of ``asyncio.to_thread`` do.

    Args:
        function: called in a thread of its own.
        arguments: passed on.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(set_value: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_value(value)

    def call() -> None:
        try:
            value, set_value = function(*arguments), future.set_result
        except BaseException as error:
            value, set_value = error, future.set_exception
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, set_value, value)

    threading.Thread(target=call, daemon=True, name="loader").start()
    return await future
