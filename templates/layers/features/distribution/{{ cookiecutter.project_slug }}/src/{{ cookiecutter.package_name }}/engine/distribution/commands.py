"""The command of this feature; see ``engine/extensions.py``."""

from ..commands import Command

COMMANDS = {
    "launch": Command("engine.distribution.launch", "Machines", "train in several processes here"),
}
