"""Services of generated projects that tests start, ask, load and stop."""

import asyncio
import atexit
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.environments import project_python
from tests.generated.servers import free_port, wait_for

HOST = "127.0.0.1"
QUICK = ("--train.max_steps", "40", "--fresh")
START_SECONDS = 300  # on a busy machine


@cache
def make_project(template: str, *features: str) -> Path:
    """Render a project whose package is ``demo``; all tests of a session share it."""
    folder = Path(tempfile.mkdtemp(prefix="aistart-service-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    words = ["new", template, "demo", "-y", "--no-git", "-q", "-o", str(folder), *features]
    own = {**os.environ, "HOME": str(folder)}
    subprocess.run([sys.executable, "-m", "aistart", *words], env=own, check=True)
    return folder / "demo"


@cache
def make_trained(template: str) -> Path:
    """Render a project and train it shortly, unless another test has trained it."""
    project = make_project(template)
    if not (project / "runs").exists():
        done = call(project, "train", *QUICK, "--tracking.enabled", "false")
        assert done.returncode == 0, done.stderr
    return project


def environment(project: Path, **more: str) -> dict[str, str]:
    """The environment of a process of a project."""
    own = {n: v for n, v in os.environ.items() if not n.startswith(("APP__", "MLFLOW_", "KERAS_"))}
    return {**own, "PYTHONPATH": str(project / "src"), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def call(project: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the project's command until it ends."""
    command = [str(project_python()), "-m", "demo", *words]
    own = environment(project, **more)
    return subprocess.run(command, cwd=project, env=own, capture_output=True, text=True)


def newest_run(project: Path) -> Path:
    """The folder of the newest run."""
    return sorted((project / "runs").iterdir())[-1]


@dataclass(frozen=True)
class Answer:
    """What a service has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class RunningService:
    """``serve`` of a project, in a process of its own.

    Args:
        project: its folder.
        words: further words of the command line.
    """

    def __init__(self, project: Path, *words: str, **more: str) -> None:
        self.project, self.port = project, free_port()
        self.log_file = Path(tempfile.mkstemp(suffix=".log", dir=project)[1])
        command = [str(project_python()), "-m", "demo", "serve"]
        command += ["--serve.port", str(self.port), *words]
        self.started = time.monotonic()
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=project, env=environment(project, **more), stdout=log, stderr=log
            )

    def wait_until_ready(self) -> float:
        """Wait, and return the seconds since the start."""
        wait_for(self.is_ready, f"serve ({self.log()[-3000:]})", START_SECONDS)
        return time.monotonic() - self.started

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        assert self.process.poll() is None, self.log()[-5000:]
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return False

    def is_alive(self) -> bool:
        """Whether ``/healthz`` says so."""
        assert self.process.poll() is None, self.log()[-5000:]
        try:
            return self.ask("GET", "/healthz").status == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; underscores of header names are written as dashes."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, content: Any, path: str = "/predict", **headers: str) -> Answer:
        """Send JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, Content_Type="application/json", **headers)

    def log(self) -> str:
        """Everything it has written."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of its log about an event."""
        lines = [line for line in self.log().splitlines() if line.startswith("{")]
        return [event for line in lines if (event := json.loads(line))["event"] == name]

    def megabytes(self) -> float:
        """Memory that the process has now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(project: Path, *words: str, **more: str) -> Iterator[RunningService]:
    """A service that is ready; it must end well."""
    service = RunningService(project, *words, **more)
    try:
        service.wait_until_ready()
        yield service
        assert service.stop() == 0, service.log()[-3000:]
    finally:
        service.process.kill()
        service.process.wait()


@dataclass
class Load:
    """Clients that send the same request again and again, each over a connection of its own.

    Args:
        port: of the service.
        path: of the request.
        content_type: of the body.
        body: of each request.
        clients: how many at once.
    """

    port: int
    path: str
    content_type: str
    body: bytes
    clients: int = 32
    limit: int | None = None  # requests in all
    outcomes: Counter[str] = field(default_factory=Counter)  # status, or what went wrong
    models: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._is_stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for all answers."""
        self._is_stopping = True
        self._thread.join()

    def wait(self) -> None:
        """Wait until ``limit`` requests are answered."""
        self._thread.join()

    @property
    def num_answers(self) -> int:
        return sum(self.outcomes.values())

    async def _run(self) -> None:
        self._left = self.limit if self.limit is not None else sys.maxsize
        await asyncio.gather(*(self._send() for _ in range(self.clients)))

    async def _send(self) -> None:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        request, streams = head.encode() + self.body, None
        while not self._is_stopping and self._left > 0:
            self._left -= 1
            start = time.perf_counter()
            try:
                streams = streams or await asyncio.open_connection(HOST, self.port)
            except OSError:
                self.outcomes["refused"] += 1
                continue
            try:
                streams[1].write(request)
                answer = (await streams[0].readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(line.split(": ", 1) for line in answer.splitlines()[1:] if line)
                await streams[0].readexactly(int(headers["content-length"]))
            except (OSError, asyncio.IncompleteReadError) as error:
                self.outcomes[type(error).__name__] += 1
                streams = None
                continue
            self.seconds.append(time.perf_counter() - start)
            self.outcomes[answer[9:12]] += 1
            self.models[headers.get("x-model", "")] += 1
            if headers.get("connection") == "close":
                streams[1].close()
                streams = None
        if streams:
            streams[1].close()
