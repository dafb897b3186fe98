"""Shell command lines that a person can copy."""

import os
import shlex
import subprocess


def join_command(*words: str, windows: bool = os.name == "nt") -> str:
    """Join words into one command line, quoted for the shell.

    Args:
        words: the program and its arguments.
        windows: whether to quote for cmd.exe instead of a POSIX shell; default: as on this system.
    """
    return subprocess.list2cmdline(words) if windows else " ".join(map(_quote_word, words))


def _quote_word(word: str) -> str:
    if "\n" not in word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{escaped}'"  # keeps it on one line; understood by bash, zsh and POSIX 2024
