"""The program, as ``aistart`` and as ``python -m aistart``."""

import gc
import io
import os
import sys


def main() -> None:
    """Run the command that was typed."""
    # A command is over before its garbage matters; looking for it is a twentieth of `aistart new`.
    gc.disable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a project may be any
    from aistart.cli import main as command
    from aistart.errors import AistartError

    try:
        command()
    except OSError as error:  # of what was read or written by no name of ours: standard output
        problem = AistartError(f"{error.filename or 'standard output'}: {error.strerror}.")
        problem.__cause__ = error
        problem.show()
        # What could not be written is not tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(problem.exit_code)


if __name__ == "__main__":
    main()
