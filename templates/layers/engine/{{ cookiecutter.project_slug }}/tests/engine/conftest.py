"""The engine is tested with a tiny task in the place of the project's."""

from collections.abc import Callable
from typing import Any

import pytest

from {{ cookiecutter.package_name }} import task as task_module
from {{ cookiecutter.package_name }} import train as training
from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.engine.interfaces import Task

from .tiny import make_task


@pytest.fixture
def use_task(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """Replace parts of the task: ``use_task(phases=…)``."""

    def replace_parts(**parts: Any) -> Task:
        task = make_task(Config().train.loss, **parts)
        for module in (training, task_module):
            monkeypatch.setattr(module, "task", task)
        return task

    return replace_parts


@pytest.fixture(autouse=True)
def tiny_task(use_task: Callable[..., Task]) -> Task:
    """The task that commands and ``train`` get."""
    return use_task()
