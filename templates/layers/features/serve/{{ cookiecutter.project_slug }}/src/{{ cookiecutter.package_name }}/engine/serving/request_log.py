"""The service's log: a JSON object a line on standard output, without payloads, paths or values.

Of an error only its type and the line of code are written: its message may hold what was sent.
"""

import logging
import re
import sys
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from .. import PACKAGE

FOLDERS = re.compile(r"(?<![:\w/])/(?:[^/'\s]+/)+")  # of paths in messages, which are left out

requests = logging.getLogger(f"{PACKAGE}.requests")
events = logging.getLogger(f"{PACKAGE}.service")


@dataclass
class Facts:
    """What is logged of a request once it is answered.

    Attributes:
        more: numbers and names that its route adds.
    """

    rows: int = 0
    model: str = ""
    key: str = ""
    more: dict[str, Any] = field(default_factory=dict)


current: ContextVar[Facts] = ContextVar("current")  # of the request that a task answers


class JsonFormatter(logging.Formatter):
    """Formats records as JSON; ``extra={"facts": {…}}`` adds to them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        facts = getattr(record, "facts", {})
        if "reason" in facts:
            facts = facts | {"reason": FOLDERS.sub("", facts["reason"])}
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": FOLDERS.sub("", record.getMessage()),
            **facts,
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = describe(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def start(level: str) -> None:
    """Log to standard output.

    Args:
        level: ``info`` or ``warning``.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    for name in (PACKAGE, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name == PACKAGE else logging.WARNING)
    requests.setLevel(level.upper())


def describe(error: BaseException) -> str:
    """Return type and place of an error, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
