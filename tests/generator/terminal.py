"""The tool on a pseudo-terminal, as a person sees it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

import pyte

LINES = 40
UP, DOWN, SHIFT_TAB, CTRL_C, CTRL_U = "\x1b[A", "\x1b[B", "\x1b[Z", "\x03", "\x15"
QUIET = 0.4  # seconds without output after which a prompt is taken to wait
PATIENCE = 5  # seconds after which a person presses Ctrl-C again
LIMIT = 300  # seconds of a whole run, on a busy machine


def run_on_terminal(answers: list[str], *words: str, columns: int = 80) -> str:
    """Run the tool, type an answer whenever it waits, and return the text that it showed."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", _output(answers, *words, columns=columns))


def run_command_on_terminal(
    answers: list[str], command: list[str], prompt: str, columns: int = 80
) -> str:
    """Run a command, type an answer whenever it shows the prompt, and return its text."""
    return _run(answers, command, columns, prompt)


def capture_screen(answers: list[str], *words: str, columns: int = 80) -> list[str]:
    """The lines that stand on the screen after these answers and Ctrl-C."""
    screen = pyte.Screen(columns, LINES)
    pyte.Stream(screen).feed(_output([*answers, CTRL_C], *words, columns=columns))
    return [line.rstrip() for line in screen.display if line.strip()]


def _output(answers: list[str], *words: str, columns: int) -> str:
    return _run(answers, [sys.executable, "-m", "aistart", *words], columns)


def _run(answers: list[str], command: list[str], columns: int, prompt: str = "") -> str:
    process, terminal = pty.fork()
    if process == 0:  # the child: the terminal is its own, so that Ctrl-C reaches it
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
        # Not execv: readline may have set COLUMNS in this process, behind Python's back.
        environment = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}
        os.execve(command[0], command, environment)
    shown, waiting, fresh, answer = "", list(answers), False, ""
    answered_at = 0.0
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], QUIET)[0]:
            try:
                shown += os.read(terminal, 4096).decode(errors="replace")
            except OSError:  # the other end is closed
                break
            fresh = True
        elif waiting and fresh and shown.endswith(prompt):
            answer, answered_at, fresh = waiting.pop(0), time.monotonic(), False
            os.write(terminal, answer.encode())
        elif answer == CTRL_C and time.monotonic() > answered_at + PATIENCE:
            # Python's readline sleeps through a signal that comes just before it waits for a key.
            answered_at = time.monotonic()
            os.write(terminal, answer.encode())
    else:
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(terminal)
    return shown
