"""Commands as a person types them."""

import os
import shlex
import subprocess


def quoted(*words: str, windows: bool = os.name == "nt") -> str:
    """Words as a command line of this system's shell."""
    return subprocess.list2cmdline(words) if windows else " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if "\n" not in word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{escaped}'"  # on one line, as bash, zsh and POSIX of 2024 read it
