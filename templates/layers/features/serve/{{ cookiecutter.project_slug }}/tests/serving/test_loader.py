"""Following a source: a new model beside the old one, and back if it does not load."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.engine.errors import (
    DataProblem,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.serving import loader as loading
from {{ cookiecutter.package_name }}.engine.serving import request_log
from {{ cookiecutter.package_name }}.engine.serving import service as serving
from {{ cookiecutter.package_name }}.engine.serving.command import find_sources
from {{ cookiecutter.package_name }}.engine.serving.sections import ServeFields
from {{ cookiecutter.package_name }}.engine.serving.service import Service
from {{ cookiecutter.package_name }}.engine.serving.sources import Source

from .client import EchoModel, until


class Registry:
    """A source of versions; those in ``problems`` do not load."""

    def __init__(self) -> None:
        self.version = "1"
        self.problems: dict[str, Exception] = {}
        self.loads: list[str] = []

    def find_version(self, source: Source, config: Any) -> str:
        if self.version in ("down",):
            raise ProjectError("registry: no answer")
        return self.version

    def load(self, source: Source, version: str) -> EchoModel:
        self.loads.append(version)
        if version in self.problems:
            raise self.problems[version]
        return EchoModel(source.name, version)


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``follow(test)``: call an asynchronous test with a loader that looks every 20 ms."""

    def run(test: Callable[..., Any], **fields: Any) -> None:
        registry = Registry()
        monkeypatch.setattr(loading, "find_version", registry.find_version)
        monkeypatch.setattr(loading, "settle_memory", lambda: None)
        monkeypatch.setattr(
            loading.Loader, "_load", lambda self, source, version: registry.load(source, version)
        )
        serve = ServeFields(**({"follow": True, "follow_seconds": 0.02} | fields))

        async def main() -> None:
            config = SimpleNamespace(serve=serve)
            service = Service(config, ["echo"])
            sources = [Source("echo", "models:/echo@champion")]
            loader = loading.Loader(None, config, sources, service)  # type: ignore[arg-type]
            task = asyncio.create_task(loader.run())
            await test(registry, service)
            task.cancel()
            await service.close()

        asyncio.run(main())

    return run


def count(service: Service, result: str) -> float:
    """How many reloads had this result."""
    return service.metrics.reloads.labels("echo", result)._value.get()


def test_it_takes_the_new_version_and_keeps_the_old_one_if_that_does_not_load(
    follow: Callable[..., None],
) -> None:
    async def test(registry: Registry, service: Service) -> None:
        await until(lambda: service.is_ready)
        registry.version = "2"
        await until(lambda: service.models["echo"].version == "2")
        registry.problems["3"] = DataProblem("model file: '/secret/place/model.keras' is refused.")
        registry.version = "3"
        await until(lambda: count(service, "failed") == 1)
        await asyncio.sleep(0.1)
        assert registry.loads == ["1", "2", "3"], "a refused file is not read again and again"
        assert service.models["echo"].version == "2"
        assert service.is_ready
        registry.version = "down"
        await until(lambda: count(service, "failed") == 2)
        registry.version = "4"
        await until(lambda: service.models["echo"].version == "4")
        assert count(service, "loaded") == 3

    follow(test)


def test_the_old_model_is_gone_before_the_new_one_is_kept_out_of_collections(
    follow: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    olds = list[weakref.ref[EchoModel]]()
    are_there = list[bool]()
    is_called, is_replaced = threading.Event(), threading.Event()

    def work(rows: Sequence[Any]) -> None:
        is_called.set()
        is_replaced.wait()

    def settle() -> None:
        gc.collect()
        are_there.extend(old() is not None for old in olds)

    async def test(registry: Registry, service: Service) -> None:
        monkeypatch.setattr(loading, "settle_memory", settle)
        await until(lambda: service.is_ready)
        service.put(EchoModel(version="1", work=work))
        olds.append(weakref.ref(service.models["echo"]))
        answer = asyncio.create_task(service.answer("echo", [{"number": 1}]))
        await until(is_called.is_set)
        registry.version = "2"
        await until(lambda: service.models["echo"].version == "2")
        is_replaced.set()
        await until(lambda: are_there)
        assert are_there == [False]
        assert (await answer)[0]["prediction"] == "1"

    hooks = [lambda *arguments: time.sleep(0.3)]  # with the model that has answered
    monkeypatch.setattr(serving, "find_hooks", lambda name: hooks)
    follow(test)


def test_without_a_model_it_is_not_ready_and_looks_again(follow: Callable[..., None]) -> None:
    async def test(registry: Registry, service: Service) -> None:
        registry.problems["1"] = DataProblem("model file: 'model.keras' is damaged.")
        await until(lambda: len(registry.loads) >= 2)
        assert not service.is_ready
        assert service.problem == "The model echo is refused; the service's log says why."
        del registry.problems["1"]
        await until(lambda: service.is_ready)

    follow(test, follow=False)


def test_paths_are_left_out_of_messages() -> None:
    text = "model file: '/home/me/runs/1/model.keras' is refused: sqlite:////x/y.db"
    assert "/home/me" not in request_log.FOLDERS.sub("", text)


def test_sources() -> None:
    assert [s.run for s in find_sources(None, [])] == ["latest"]
    assert [s.name for s in find_sources(None, ["a=latest", "b=models:/x/1"])] == ["a", "b"]
    assert len(find_sources("latest", ["a=latest"])) == 2
    for words in (["a"], ["a="], ["../a=latest"], ["a=latest", "a=latest"]):
        with pytest.raises(UsageProblem, match="--model"):
            find_sources(None, words)
