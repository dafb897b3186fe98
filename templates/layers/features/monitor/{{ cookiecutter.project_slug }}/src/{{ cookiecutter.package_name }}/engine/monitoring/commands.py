"""The commands of this feature."""

from ..commands import Command

COMMANDS = {
    "monitor": Command("engine.monitoring.monitor", "Models", "compare new inputs with training"),
    "retrain": Command("engine.monitoring.retrain", "Models", "train from the champion, promote"),
}
