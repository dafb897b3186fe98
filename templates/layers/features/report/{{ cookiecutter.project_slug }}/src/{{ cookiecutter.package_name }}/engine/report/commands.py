"""The commands of this feature."""

from ..commands import Command

COMMANDS = {
    "promote": Command("engine.report.promote", "Models", "make a model the registry's champion"),
}
