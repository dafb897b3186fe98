"""The command of this feature; see ``engine/extensions.py``."""

from ..commands import Command

COMMANDS = {
    "tune": Command("engine.tune.command", "Models", "search for better settings of training"),
}
