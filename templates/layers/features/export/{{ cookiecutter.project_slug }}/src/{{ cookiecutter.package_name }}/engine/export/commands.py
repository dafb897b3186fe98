"""The command of this feature; see ``engine/extensions.py``."""

from ..commands import Command

COMMANDS = {
    "export": Command("engine.export.command", "Models", "write a model for other programs"),
}
