"""The command of this feature; see ``engine/extensions.py``."""

from ..commands import Command

COMMANDS = {
    "tour": Command("engine.tour.command", "Onboarding", "go through docs/onboarding.md"),
}
