"""Commands as a person types them."""

import os
import shlex
import subprocess


def quoted(*words: str, windows: bool = os.name == "nt") -> str:
    """Words as a command line of this system's shell."""
    return subprocess.list2cmdline(words) if windows else shlex.join(words)
