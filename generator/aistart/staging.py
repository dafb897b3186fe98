"""Folders for what is not finished, which are gone afterwards however the program ends."""

import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# SIGHUP, where there is one, comes when the terminal is closed.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def staged(folder: Path | None = None) -> Iterator[Path]:
    """A new folder that is gone afterwards, also after Ctrl-C or SIGTERM at any moment.

    Args:
        folder: to make it in; None: among the temporary files.
    """
    stage = (folder or Path(tempfile.gettempdir())) / f".aistart-{secrets.token_hex(8)}"
    before = {number: _on_signal(number, _leave) for number in _ENDING}
    try:
        try:
            stage.mkdir()
            yield stage
        finally:
            _removed(stage)
    finally:
        # A signal that fell into the line above has ended it; the second one is complete.
        _removed(stage)
        for number, handler in before.items():
            _on_signal(number, handler)


def _removed(stage: Path) -> None:
    before = {number: _on_signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_ENDING)}
    shutil.rmtree(stage, ignore_errors=True)
    for number, handler in before.items():
        _on_signal(number, handler)


def _on_signal(number: signal.Signals, handler: Any) -> Any:
    """Set what a signal does and return what it did, or None if nothing was set: only the main
    thread can, and a signal that is ignored, as by nohup, stays so."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    if handler is _leave and signal.getsignal(number) is signal.SIG_IGN:
        return None
    return signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)
