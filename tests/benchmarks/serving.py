"""A service beside a plain FastAPI handler and MLflow's own server, in one run.

    python -m tests.benchmarks.serving

An image classifier is trained and registered. Each server then answers the same images of digits,
as PNG, to one client and to 32. Further: what the model alone takes, memory over 20,000 requests,
seconds from start to ready, and requests that are lost by a shutdown and by a new model under load.
"""

import asyncio
import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.benchmarks.report import run_in
from tests.environments import REPOSITORY, project_python
from tests.generated.servers import free_port, wait_for

HOST, CLIENTS, SECONDS = "127.0.0.1", 32, 8.0
MEMORY_REQUESTS, SHUTDOWN_REQUESTS = 20_000, 800

PLAIN = """
import sys
import keras, numpy as np, tensorflow as tf, uvicorn
from fastapi import FastAPI, Request
from demo.config import load_config
from demo.task import task
from demo.engine.trained_models import find_artifact

model, _ = find_artifact("latest", task, load_config([]))
classes, shape = model.preprocessing.classes, model.preprocessing.input_shape
app = FastAPI()

@app.post("/predict")
async def predict(request: Request):
    pixels = tf.io.decode_png(await request.body(), channels=shape[-1])
    outputs = model.network.predict(tf.cast(pixels, tf.float32)[None] / 255.0, verbose=0)
    scores = tf.nn.softmax(outputs[0]).numpy()
    named = dict(zip(classes, map(float, scores)))
    return {"prediction": classes[int(scores.argmax())], "scores": named}

@app.get("/readyz")
def readyz():
    return "ready"

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""

# From the bytes of a file to logits, as one program, with as many threads as the service has.
SIGNATURE = """
import os, statistics, time
from pathlib import Path
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
import tensorflow as tf
from demo.config import load_config
from demo.task import task
from demo.engine.trained_models import find_artifact

model, _ = find_artifact("latest", task, load_config([]))

@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def run(files):
    return model.network(model.preprocessing(files), training=False)

image, seconds = tf.constant([Path("digit.png").read_bytes()]), []
for _ in range(3_000):
    start = time.perf_counter()
    run(image).numpy()
    seconds.append(time.perf_counter() - start)
print(1_000 * statistics.median(seconds[1_000:]))
"""

WRITE_IMAGE = """
from sklearn.datasets import load_digits
import tensorflow as tf
pixels = (load_digits().images[3] * 255 / 16).astype("uint8")[..., None]
tf.io.write_file("digit.png", tf.io.encode_png(pixels))
"""


@dataclass
class Result:
    """What clients have seen."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    duration: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.duration

    @property
    def p50(self) -> float:
        return 1_000 * statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return 1_000 * sorted(self.seconds)[int(0.99 * len(self.seconds))]

    @property
    def lost(self) -> int:
        return sum(n for outcome, n in self.outcomes.items() if outcome != "200")


class Client(asyncio.Protocol):
    """Sends the same request again and again over one connection; cheaper than any library."""

    def __init__(self, request: bytes, result: Result, may_go_on: Callable[[], bool]) -> None:
        self.request, self.result, self.may_go_on = request, result, may_go_on
        self.done = asyncio.get_running_loop().create_future()
        self.received = b""
        self.is_waiting = self.is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._send()

    def _send(self) -> None:
        if not self.may_go_on():
            self.is_closing = True
            self.transport.close()
            return
        self.is_waiting, self.start = True, time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        head = self.received[:end].lower()
        if end < 0:
            return
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        if len(self.received) < end + 4 + length:
            return
        self.result.seconds.append(time.perf_counter() - self.start)
        self.result.outcomes[self.received[9:12].decode()] += 1
        self.received, self.is_waiting = b"", False
        if b"connection: close" in head:
            self.transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.is_waiting:
            self.result.outcomes["lost"] += 1
        if not self.done.done():
            self.done.set_result(None)


async def send(
    port: int,
    path: str,
    kind: str,
    body: bytes,
    clients: int,
    may_go_on: Callable[[], bool],
    result: Result | None = None,
) -> Result:
    """Let clients send the same request until they may not go on."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    result = result or Result()
    loop, start = asyncio.get_running_loop(), time.perf_counter()

    async def go_on() -> None:
        while may_go_on():
            try:
                _, client = await loop.create_connection(
                    lambda: Client(request, result, may_go_on), HOST, port
                )
            except OSError:
                result.outcomes["refused"] += 1
                return
            await client.done

    await asyncio.gather(*(go_on() for _ in range(clients)))
    result.duration = time.perf_counter() - start
    return result


def measure(port: int, path: str, kind: str, body: bytes, clients: int) -> Result:
    """Measure for some seconds, after a moment to warm up."""
    for seconds in (1.0, SECONDS):
        end = time.perf_counter() + seconds

        def may_go_on(end: float = end) -> bool:
            return time.perf_counter() < end

        result = asyncio.run(send(port, path, kind, body, clients, may_go_on))
    return result


@contextmanager
def running(
    project: Path, words: Sequence[str], port: int, path: str
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Start a server; yield it and the seconds until it was ready."""
    own = {n: v for n, v in os.environ.items() if not n.startswith("APP__")}
    own |= {"PYTHONPATH": str(project / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    own["PATH"] = f"{project_python().parent}{os.pathsep}{own['PATH']}"
    start = time.monotonic()
    with (project / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(project_python()), *words],
            cwd=project,
            env=own,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: is_ready(port, path), str(words), 300)
        yield server, time.monotonic() - start
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def is_ready(port: int, path: str) -> bool:
    """Whether a path answers with 200."""
    try:
        with urlopen(f"http://{HOST}:{port}{path}", timeout=10) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False
    except OSError:
        return False


def read_megabytes(process: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def make_project(folder: Path) -> Path:
    """Generate, train and register an image classifier."""
    aistart = [sys.executable, "-m", "aistart", "new", "vision-classifier", "demo", "-y"]
    subprocess.run([*aistart, "--no-git", "-q", "-o", str(folder)], check=True, cwd=REPOSITORY)
    project = folder / "demo"
    run_in(project, ["-m", "demo", "train", "--train.max_steps", "200"])
    run_in(project, ["-c", WRITE_IMAGE])
    return project


def report(name: str, result: Result, single: Result) -> None:
    """Print a line of the table."""
    print(
        f"{name:<28} {single.p50:8.2f} {single.p99:8.2f} {result.rate:10.0f} {result.p50:8.1f} "
        f"{result.p99:8.1f}   {dict(result.outcomes)}",
        flush=True,
    )


def measure_server(
    name: str, project: Path, words: Sequence[str], port: int, paths: tuple[str, str], body: bytes
) -> tuple[Result, Result]:
    """Start a server, and measure it with one client and with many."""
    kind = "application/json" if body[:1] == b"{" else "image/png"
    with running(project, words, port, paths[1]):
        single = measure(port, paths[0], kind, body, 1)
        result = measure(port, paths[0], kind, body, CLIENTS)
    report(name, result, single)
    return result, single


def measure_service(project: Path, png: bytes) -> tuple[Result, Result]:
    """Measure the service: speed, start, memory, a new model and a shutdown under load."""
    port = free_port()
    words = ["-m", "demo", "serve", "--serve.port", str(port), "--serve.follow", "true"]
    words += ["--serve.follow_seconds", "1"]
    request = (port, "/predict", "image/png", png)
    with running(project, words, port, "/readyz") as (server, seconds):
        single = measure(*request, 1)
        result = measure(*request, CLIENTS)
        report("serve", result, single)
        print(f"start to ready: {seconds:.1f} s")
        before, left = read_megabytes(server.pid), [MEMORY_REQUESTS]

        def is_left() -> bool:
            left[0] -= 1
            return left[0] >= 0

        asyncio.run(send(*request, CLIENTS, is_left))
        more = read_megabytes(server.pid) - before
        print(f"memory: {before:.0f} MB, {more:+.1f} MB after {MEMORY_REQUESTS:,} requests")
        asyncio.run(measure_reload(project, request, port))
        asyncio.run(measure_shutdown(request, port, server))
        print(f"exit code {server.wait(60)}", flush=True)
    return result, single


async def measure_reload(project: Path, request: tuple[int, str, str, bytes], port: int) -> None:
    """Put a newer run beside the one that is served, under load."""
    newest = sorted((project / "runs").iterdir())[-1]
    is_stopping = False
    load = asyncio.create_task(send(*request, CLIENTS, lambda: not is_stopping))
    await asyncio.sleep(1)
    start = time.monotonic()
    await asyncio.to_thread(
        subprocess.run, ["cp", "-r", newest, newest.with_name("20990101-000000-new0")], check=True
    )

    def is_new() -> bool:
        with urlopen(f"http://{HOST}:{port}/readyz", timeout=10) as answer:
            return b"20990101" in answer.read()

    await asyncio.to_thread(wait_for, is_new, "the new model")
    seconds = time.monotonic() - start
    await asyncio.sleep(1)
    is_stopping = True
    result = await load
    print(
        f"reload under load: {len(result.seconds):,} requests, {result.lost} lost, {seconds:.1f} s"
    )


async def measure_shutdown(
    request: tuple[int, str, str, bytes], port: int, server: subprocess.Popen[bytes]
) -> None:
    """Send SIGTERM under load; the clients stop when the service is not ready."""
    is_stopping = False
    seen = Result()
    load = asyncio.create_task(send(*request, CLIENTS, lambda: not is_stopping, seen))
    while len(seen.seconds) < SHUTDOWN_REQUESTS:
        await asyncio.sleep(0.05)
    server.send_signal(signal.SIGTERM)

    def is_not_ready() -> bool:
        return not is_ready(port, "/readyz")

    await asyncio.to_thread(wait_for, is_not_ready, "not ready", 5)
    await asyncio.sleep(0.5)
    is_stopping = True
    result = await load
    print(f"SIGTERM under load: {len(result.seconds):,} requests, {result.lost} lost")


def main() -> None:
    """Print a table, and what the goals are."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        png = (project / "digit.png").read_bytes()
        print(f"load of this machine before: {os.getloadavg()[0]:.1f}")
        print("server                       p50 of 1  p99 of 1  requests/s  p50 of 32  p99 of 32")
        ours, single = measure_service(project, png)
        port = free_port()
        plain, _ = measure_server(
            "FastAPI + model.predict",
            project,
            ["-c", PLAIN, str(port)],
            port,
            ("/predict", "/readyz"),
            png,
        )
        port = free_port()
        words = ["-m", "mlflow", "models", "serve", "-m", "models:/demo/1"]
        words += ["--env-manager", "local", "--port", str(port)]
        body = json.dumps(
            {
                "dataframe_split": {
                    "columns": ["image"],
                    "data": [[base64.b64encode(png).decode()]],
                }
            }
        ).encode()
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{project / 'mlflow.db'}"
        pyfunc, _ = measure_server(
            "mlflow models serve", project, words, port, ("/invocations", "/ping"), body
        )
        signature = float(run_in(project, ["-c", SIGNATURE]).splitlines()[-1])
        print(f"signature at batch 1: {signature:.2f} ms")
        print(f"times FastAPI: {ours.rate / plain.rate:.1f} (goal 20)")
        print(f"times mlflow: {ours.rate / pyfunc.rate:.1f} (goal 4)")
        print(f"p50 of one client: {single.p50:.2f} ms (goal {3 * signature + 2:.2f})")
        print(f"load of this machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
