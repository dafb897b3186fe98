"""The user's configuration of aistart: where its files are, and whether there are any."""

import os
from pathlib import Path

PROFILE, TEAM_RECORD = "profile.toml", "team.json"
PROFILE_VARIABLE = "AISTART_PROFILE"


def config_path(name: str) -> Path:
    """Return the path of a file or folder, which need not exist."""
    from platformdirs import user_config_path

    return user_config_path("aistart", appauthor=False) / name


def has_profile() -> bool:
    """Whether a profile is in force that no option names; quick, as most users have none."""
    if os.environ.get(PROFILE_VARIABLE):
        return True
    return config_path(PROFILE).exists() or config_path(TEAM_RECORD).exists()
