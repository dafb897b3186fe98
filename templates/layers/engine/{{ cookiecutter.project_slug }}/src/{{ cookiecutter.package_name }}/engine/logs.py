"""The project's log: plain lines on standard output, and everything in a run's ``train.log``."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import PACKAGE

log = logging.getLogger(PACKAGE)


@contextmanager
def log_to_console() -> Iterator[None]:
    """Print messages from INFO on to standard output, without decoration."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(logging.INFO)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    with _use_handler(handler):
        yield


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Write all messages, and the traceback of an error, to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.DEBUG)
    with _use_handler(handler):
        try:
            yield
        except BaseException as error:
            # Below the console's level: there it is one line, which ``command`` prints.
            log.debug("stopped", exc_info=error)
            raise


@contextmanager
def _use_handler(handler: logging.Handler) -> Iterator[None]:
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            handler.close()
