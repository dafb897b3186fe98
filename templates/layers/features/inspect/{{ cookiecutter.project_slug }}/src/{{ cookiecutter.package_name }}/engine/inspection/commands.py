"""The command of this feature; see ``engine/extensions.py``."""

from ..commands import Command

COMMANDS = {
    "inspect": Command("engine.inspection.command", "Data", "describe your data, write a config"),
}
