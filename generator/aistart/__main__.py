"""The program, as ``aistart`` and as ``python -m aistart``."""

import gc


def main() -> None:
    """Run the command that was typed."""
    # A command is over before its garbage matters; looking for it is a twentieth of `aistart new`.
    gc.disable()
    from aistart.cli import main as command

    command()


if __name__ == "__main__":
    main()
