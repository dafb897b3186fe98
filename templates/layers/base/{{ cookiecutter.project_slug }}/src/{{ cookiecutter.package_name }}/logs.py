"""The project's log: plain lines on standard output, and everything in a run's ``train.log``."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__package__)


@contextmanager
def on_console() -> Iterator[None]:
    """Show what is of interest to a person, without decoration."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(logging.INFO)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    with _added(handler):
        yield


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Write everything, and the traceback of an error, to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.DEBUG)
    with _added(handler):
        try:
            yield
        except BaseException as error:
            # Below the console's level: there it is one line, which ``command`` prints.
            log.debug("stopped", exc_info=error)
            raise


@contextmanager
def _added(handler: logging.Handler) -> Iterator[None]:
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            handler.close()
