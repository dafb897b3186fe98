"""What features add: commands, and hooks that the engine calls.

A feature is a subpackage of the engine that a project has or lacks, such as ``report``. In it

- ``commands.py`` holds ``COMMANDS``, further lines of the table in ``engine/commands``;
- ``sections.py`` holds ``SECTIONS``, further sections of the configuration, and may name in
  ``TRAINING`` and ``SERVING`` those of them that ``train`` and ``serve`` read;
- ``hooks.py`` has functions with names of ``Hooks``;
- ``routes.py`` has ``router(service)``, routes that a service answers before the engine's own;
- ``strategies.py``, which ``engine/strategy`` looks for, makes the strategy of a run on more than
  one device.

All are found by their place, so that nothing refers to a feature that is left out. None of them may
import TensorFlow or Keras, except inside its functions: the help must be instant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import PROGRAM
from .errors import Interrupted, describe

if TYPE_CHECKING:
    import argparse

    from .commands import Command, Project
    from .config_fields import Section
    from .evaluation import Evaluation
    from .findings import Inspection
    from .interfaces import Requests, Task
    from .runs import Run

log = logging.getLogger(__name__)

ENGINE = Path(__file__).parent


class Hooks:
    """The hooks of a feature, each of which ``hooks.py`` may define or leave out."""

    @staticmethod
    def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
        """Add flags to a command.

        Args:
            command: ``evaluate``, ``predict`` or ``runs compare``.
            parser: its parser, before it has read the words.
        """

    @staticmethod
    def adapt_task(task: Task, config: Any) -> Task:
        """Return the task with what a run trains otherwise, such as another loss.

        Args:
            task: of the project, or as another feature has changed it.
            config: of the run, with the sections that ``train`` reads.
        """
        return task

    @staticmethod
    def adapt_retraining(config: Any, say: Callable[[str], None]) -> Any:
        """Return the configuration with which a model is trained again.

        Args:
            config: that the model was trained with; ``train.init_from`` names the model itself, or
                is None if another one takes its place.
            say: tells the user what is changed.
        """
        return config

    @staticmethod
    def after_evaluation(evaluation: Evaluation, arguments: argparse.Namespace | None) -> None:
        """Work with a measured model: at the end of ``train``, and in ``evaluate``.

        Args:
            evaluation: the model, the split and the outputs for it.
            arguments: of ``evaluate``; None in ``train``.
        """

    @staticmethod
    def after_inspection(inspection: Inspection) -> None:
        """Work with what ``inspect`` has found, once its configuration is written.

        Args:
            inspection: the findings, and the configuration that trains on the data.
        """

    @staticmethod
    def after_comparison(
        project: Project, runs: Sequence[Run], arguments: argparse.Namespace
    ) -> None:
        """Work with runs that ``runs compare`` has compared.

        Args:
            project: loads configurations and the task.
            runs: the compared runs.
            arguments: of the command.
        """

    @staticmethod
    def after_answers(
        config: Any, model: Any, requests: Requests, answers: Sequence[Mapping[str, Any]]
    ) -> None:
        """Work with answers that a service has given, which are sent by then.

        Args:
            config: of the service, with the sections in ``SERVING``.
            model: that has answered: with its ``name``, ``version``, ``artifact`` and ``config``.
            requests: the rows that were sent.
            answers: to those of them that were right.
        """

    @staticmethod
    def after_loading(config: Any, model: Any) -> None:
        """Work with a model that a service has loaded, before it answers.

        Args:
            config: of the service, with the sections in ``SERVING``.
            model: with its ``name``, ``version``, ``artifact`` and ``config``.
        """

    @staticmethod
    def after_search(folder: Path, title: str) -> None:
        """Work with what a search for better settings has left.

        Args:
            folder: of the study, with its figures and tables.
            title: what was searched.
        """


def find_commands() -> dict[str, Command]:
    """Return the commands of all features by name."""
    return {
        name: command
        for module in _import_all("commands")
        for name, command in module.COMMANDS.items()
    }


def find_sections() -> dict[str, type[Section]]:
    """Return the sections of the configuration that features add, by name."""
    return {
        name: section
        for module in _import_all("sections")
        for name, section in module.SECTIONS.items()
    }


def find_hooks(name: str) -> list[Callable[..., Any]]:
    """Return the functions of this name of ``Hooks``, in the order of their features' names."""
    assert hasattr(Hooks, name), name
    return [getattr(module, name) for module in _import_all("hooks") if hasattr(module, name)]


def find_routers() -> list[Callable[[Any], Any]]:
    """Return the functions ``router(service)`` of all features, in the order of their names."""
    return [module.router for module in _import_all("routes")]


def find_training_sections() -> list[str]:
    """Return the names of the sections that ``train`` reads."""
    return _find_names_in("TRAINING")


def find_serving_sections() -> list[str]:
    """Return the names of the sections that ``serve`` reads for the hooks of its features."""
    return _find_names_in("SERVING")


def adapt_task(task: Task, config: Any) -> Task:
    """Return the task as the features change it for a run, see ``Hooks.adapt_task``."""
    for module in _import_all("hooks"):
        if function := getattr(module, "adapt_task", None):
            task = function(task, config)
    return task


def adapt_retraining(config: Any, say: Callable[[str], None]) -> Any:
    """Return the configuration as the features change it, see ``Hooks.adapt_retraining``."""
    for module in _import_all("hooks"):
        if function := getattr(module, "adapt_retraining", None):
            config = function(config, say)
    return config


def call_hooks(name: str, *arguments: Any) -> None:
    """Call the functions of this name in the features that have one, in the order of their names.

    Args:
        name: of a function of ``Hooks``.
        arguments: passed on.
    """
    for function in find_hooks(name):
        function(*arguments)


def call_hooks_at_end(name: str, *arguments: Any) -> None:
    """Call hooks whose failure must not cost a run what it has reached: it is logged instead.

    Args:
        name: of a function of ``Hooks``.
        arguments: passed on.
    """
    try:
        call_hooks(name, *arguments)
    except Interrupted:
        raise
    except Exception as error:
        log.warning(
            "The run is complete, but its report is not: %s `%s evaluate --debug` shows more.",
            describe(error)[0],
            PROGRAM,
        )


def _find_names_in(table: str) -> list[str]:
    return [name for module in _import_all("sections") for name in getattr(module, table, ())]


def _import_all(name: str) -> Iterator[ModuleType]:
    for file in sorted(ENGINE.glob(f"*/{name}.py")):
        yield import_module(f"{__package__}.{file.parent.name}.{name}")
