"""The commands of this feature."""

from ..commands import Command

COMMANDS = {
    "serve": Command("engine.serving.command", "Service", "answer requests over HTTP"),
}
