"""The process that renders chat templates of others; its program is ``chat_renderer.py``."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..engine.errors import DataProblem

DEADLINE_S = 10.0  # for rendering one chat


class RenderProcess:
    """The process that renders foreign templates; made when it is needed, and again when it dies.

    It is ended when a chat takes longer than ``DEADLINE_S``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def render(self, source: str, requests: list[dict[str, Any]]) -> list[str]:
        """Return the texts of a template for several sets of variables.

        Raises:
            DataProblem: the template fails or takes too long.
        """
        line = json.dumps({"source": source, "variables": requests}) + "\n"
        with self._lock:
            reply = self._ask(line)
        if not reply:
            raise DataProblem(
                f"chat template: it was stopped: it needs more than {DEADLINE_S:g} s or too much "
                "memory."
            )
        answer = json.loads(reply)
        if "error" in answer:
            raise DataProblem(f"chat template: {str(answer['error']).rstrip('.')}.")
        return list(answer["texts"])

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.communicate()

    def _ask(self, line: str) -> str:
        """Return the process's answer to a line; '' if it was stopped."""
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            reply = process.stdout.readline()
        except (BrokenPipeError, OSError):
            reply = ""
        finally:
            timer.cancel()
        if not reply:
            self.close()
        return reply


def _start() -> subprocess.Popen[str]:
    import jinja2

    file = Path(__file__).with_name("chat_renderer.py")
    # Nothing of this process's environment, which may hold secrets; the packages by their folder.
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TZ") if name in os.environ}
    packages = str(Path(jinja2.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-S", "-P", "-B", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**kept, "PYTHONPATH": packages, "PYTHONUTF8": "1"},
    )


@lru_cache(maxsize=1)
def _make_process(process_id: int) -> RenderProcess:
    process = RenderProcess()
    atexit.register(process.close)
    return process


def find_process() -> RenderProcess:
    """Return the one that renders for this process; a fork must not share its parent's pipe."""
    return _make_process(os.getpid())
