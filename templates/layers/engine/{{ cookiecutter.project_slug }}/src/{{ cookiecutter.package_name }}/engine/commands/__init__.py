"""The project's command: ``my-app train``, ``my-app evaluate`` and so on.

A command is a module of this folder with a function ``run(project, words)`` and a line in
``COMMANDS``. Modules are imported when their command is called, and TensorFlow only once the
arguments are known to be right: ``--help`` is instant.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import PACKAGE, PROGRAM
from ..errors import run_command, unknown

if TYPE_CHECKING:
    import argparse

    from ..config_fields import BaseConfig
    from ..interfaces import Task


@dataclass(frozen=True)
class Command:
    """One of the project's commands.

    Attributes:
        module: its place below the project's package.
        group: the heading that the help lists it under.
        summary: one line of help.
    """

    module: str
    group: str
    summary: str


COMMANDS: dict[str, Command] = {
    "train": Command("engine.commands.train", "Models", "train a model, or resume a run"),
    "evaluate": Command("engine.commands.evaluate", "Models", "measure a trained model on a split"),
    "predict": Command("engine.commands.predict", "Models", "predict with a trained model"),
    "config": Command("engine.commands.config", "Runs", "print the resolved configuration"),
    "runs": Command("engine.commands.runs", "Runs", "list, compare and prune runs"),
    "replay": Command("engine.commands.replay", "Runs", "send to MLflow what is missing of a run"),
    "completion": Command("engine.commands.completion", "Shell", "print a completion script"),
}


@dataclass(frozen=True)
class Project:
    """What the commands need to know of the project.

    Attributes:
        config: the class of the configuration.
        load_config: words, ``base=FILE`` -> the configuration.
        add_prediction_arguments: adds to the parser of ``predict`` what the domain asks for.
        load_task: imports ``task.py``, and with it TensorFlow.
        load_train: imports ``train.py``; returns ``train(config, resume, fresh, measure)``.
        commands: all commands by name, in the order of the help.
        exports: formats of ``export`` that the project brings, by name, instead of the engine's.
    """

    config: "type[BaseConfig]"
    load_config: Callable[..., Any]
    add_prediction_arguments: "Callable[[argparse.ArgumentParser], None]"
    load_task: "Callable[[], Task]"
    load_train: Callable[[], Callable[..., Any]]
    commands: Mapping[str, Command]
    exports: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """The project's command.

    Attributes:
        commands: all subcommands by name, in the order of the help.
        load_project: imports the configuration; not called for the help.
    """

    commands: Mapping[str, Command]
    load_project: Callable[[], Project]

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the command that the words name and return its exit code."""
        words = list(sys.argv[1:] if argv is None else argv)
        if not words or words[0] in ("-h", "--help"):
            print(self.help())
            return 0 if words else 2
        return run_command(self._run, words)

    def script(self, name: str) -> Callable[..., int]:
        """Return the ``main(argv=None) -> exit code`` of one command."""
        return lambda argv=None: self.main([name, *(sys.argv[1:] if argv is None else argv)])

    def help(self) -> str:
        """Return the help: commands in groups, a line each."""
        lines = [f"usage: {PROGRAM} COMMAND …", ""]
        for group in dict.fromkeys(command.group for command in self.commands.values()):
            lines.append(f"{group}:")
            lines += [
                f"  {name:<16} {command.summary}"
                for name, command in self.commands.items()
                if command.group == group
            ]
        return "\n".join([*lines, "", f"{PROGRAM} COMMAND --help says more of each."])

    def _run(self, words: list[str]) -> None:
        name, *rest = words
        if name not in self.commands:
            raise unknown("command", name, self.commands)
        import_module(f"{PACKAGE}.{self.commands[name].module}").run(self.load_project(), rest)
