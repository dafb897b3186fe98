"""The project's command: ``my-app train``, which is ``python -m PACKAGE train``, and the others."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .engine.commands import COMMANDS, Command, Program, Project
from .engine.extensions import find_commands
from .engine.lookup import find_optional
from .registry import COMMANDS as OWN_COMMANDS

if TYPE_CHECKING:
    from .engine.interfaces import Task

own = {name: Command(*parts) for name, parts in OWN_COMMANDS.items()}
commands = COMMANDS | find_commands() | own


def load_project() -> Project:
    """Import what reads the command line, without TensorFlow."""
    from .config import Config, load_config
    from .prediction import add_arguments

    exports = find_optional("exports.formats:FORMATS") or {}
    return Project(Config, load_config, add_arguments, load_task, load_train, commands, exports)


def load_task() -> "Task":
    """Import the task, and with it TensorFlow."""
    from .task import task

    return task


def load_train() -> Callable[..., Any]:
    """Import ``train.py``; the backend must have been chosen by then."""
    from .train import train

    return train


program = Program(commands, load_project)
main = program.main
# Scripts of their own:
train, evaluate, predict = map(program.script, ("train", "evaluate", "predict"))

if __name__ == "__main__":
    sys.exit(main())
