"""Entry point of ``aistart`` and of ``python -m aistart``."""

import gc
import io
import os
import sys


def main() -> None:
    """Run the command line; an error of standard output is a message of one line, too."""
    # Commands are too short for garbage collection to pay: it took 5 % of `aistart new`.
    gc.disable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a project's name may hold any character
    from aistart.cli import main as command
    from aistart.errors import AistartError

    try:
        command()
    except OSError as error:  # commands convert errors of named files; this is standard output
        problem = AistartError(f"{error.filename or 'standard output'}: {error.strerror}.")
        problem.__cause__ = error
        problem.show()
        # Python would flush it again at exit, and print a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(problem.exit_code)


if __name__ == "__main__":
    main()
