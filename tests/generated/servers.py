"""Servers that the tests of tracking start, kill and start again."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.environments import project_python

PASSWORD = "4DkeVtF9correcthorse"


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Until it holds; an error after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


class Postgres:
    """A PostgreSQL cluster of its own; its only user needs ``PASSWORD``."""

    def __init__(self) -> None:
        port = free_port()
        self.uri = f"postgresql://mlflow:{PASSWORD}@127.0.0.1:{port}/postgres"
        # Not below pytest's folder, which is root's alone: the server runs as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="aistart-postgres-"))
        (self.folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, "postgres")
            shutil.chown(self.folder / "password", "postgres")
        own = ["--username=mlflow", "--pwfile=password", "--auth=scram-sha-256"]
        self._run("initdb", "--pgdata=data", *own, "--encoding=UTF8", "--no-locale", "--no-sync")
        options = f"-p {port} -h 127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "start", "--pgdata=data", "--log=log", "--wait", f"--options={options}")

    def create_database(self, name: str) -> str:
        """Make a database of its own, and return its URI."""
        self._run("createdb", f"--maintenance-db={self.uri}", name)
        return f"{self.uri.rpartition('/')[0]}/{name}"

    def dump(self, uri: str | None = None) -> str:
        """Everything in the database, or in another one, as SQL."""
        return self._run("pg_dump", uri or self.uri)

    def remove(self) -> None:
        """Stop it and forget its data."""
        self._run("pg_ctl", "stop", "--pgdata=data", "--mode=immediate", "--wait")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *words: str) -> str:
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*user, _postgres_program(program), *words]
        # Into a file: the server keeps what it inherits open, and a pipe would never end.
        with tempfile.TemporaryFile("w+") as output:
            subprocess.run(command, cwd=self.folder, stdout=output, check=True, timeout=120)
            output.seek(0)
            return output.read()


def _postgres_program(name: str) -> str:
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (packaged and str(packaged[-1]))
    assert found, f"{name}: not found; install PostgreSQL (Debian: apt-get install postgresql)"
    return found


class Server:
    """``mlflow server`` on one port, with a store that outlives it.

    Args:
        store: URI of the database.
        folder: for the artifacts that it serves, and its log.
    """

    def __init__(self, store: str, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process:
            return
        command = [str(project_python()), "-m", "mlflow", "server", "--workers", "1"]
        command += ["--backend-store-uri", self.store, "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--artifacts-destination", str(self.folder / "files")]
        own = {n: value for n, value in os.environ.items() if not n.startswith("MLFLOW_")}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**own, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._is_healthy, f"MLflow's server ({self.folder / 'server.log'})", 300)

    def kill(self) -> None:
        """End it and its workers without a warning."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def get(self, path: str, /, **query: Any) -> dict[str, Any]:
        """The answer of MLflow's REST interface."""
        return self._ask(f"{path}?{urlencode(query)}", None)

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """All runs of an experiment."""
        found = self.get("experiments/get-by-name", experiment_name=experiment)["experiment"]
        body = {"experiment_ids": [found["experiment_id"]]}
        return self._ask("runs/search", json.dumps(body).encode()).get("runs", [])

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Steps and values of a metric, oldest first."""
        answer = self.get("metrics/get-history", run_id=run_id, metric_key=metric)
        return [(int(point["step"]), point["value"]) for point in answer.get("metrics", [])]

    def artifacts(self, run_id: str, folder: str = "") -> set[str]:
        """Names of a run's artifacts."""
        answer = self.get("artifacts/list", run_id=run_id, path=folder)
        return {file["path"] for file in answer.get("files", [])}

    def versions(self, model: str) -> list[dict[str, Any]]:
        """All versions of a registered model."""
        return self.get("model-versions/search", filter=f"name='{model}'").get("model_versions", [])

    def tag_model(self, model: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""
        body = {"name": model, "key": key, "value": value}
        self._ask("registered-models/set-tag", json.dumps(body).encode())

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Give an alias to a version of a registered model."""
        body = {"name": model, "alias": alias, "version": version}
        self._ask("registered-models/alias", json.dumps(body).encode())

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        request = Request(f"{self.uri}/api/2.0/mlflow/{path}", body)
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _is_healthy(self) -> bool:
        assert self._process.poll() is None, (self.folder / "server.log").read_text()[-5000:]
        try:
            return urlopen(f"{self.uri}/health", timeout=10).status == 200
        except (URLError, OSError):
            return False


@contextmanager
def silent() -> Iterator[str]:
    """The URI of a server that takes connections and never answers."""
    # The system takes them; that nobody asks it for them is all it needs.
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[tuple[str, set[str | None]]]:
    """The URI of a server that answers 500, and the ``Authorization`` headers that it got."""
    seen: set[str | None] = set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.add(self.headers["Authorization"])
            self.send_error(500)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
