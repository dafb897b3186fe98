"""A project in which the commands of its documents are typed.

``.venv/bin`` of the project has what ``make setup`` would put there, as small scripts that use the
environment of all tests. Commands of the project run in forks of one warm Python; those on JAX,
which need another one, and the processes that commands start, run as usual.
"""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.environments import project_python
from tests.generated.documents import Command, compare_output
from tests.generated.servers import free_port, wait_for

HERE = Path(__file__).parent
PROGRAM = "demo"
SCRIPTS = ("train", "evaluate", "predict")
PRELOADED = ("tensorflow", "mlflow", "sklearn.linear_model", "matplotlib.pyplot", "pandas")
SECONDS = 900  # for a command, on a busy machine
# Everything is tried, and nothing is learnt.
SHORT = {
    "APP__TRAIN__MAX_STEPS": "5",
    "APP__TRACKING__ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "NONE",
    "MLFLOW_WORKERS": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_SERVER = re.compile(
    rf"(?:\S*/)?{PROGRAM} serve(?! keys)|make (?:serve|ui)\b|(?:\S*/)?mlflow ui|tensorboard"
)


@contextmanager
def warm_python() -> Iterator[Path]:
    """Start the warm Python; yields its socket."""
    folder = Path(tempfile.mkdtemp(prefix="aistart-warm-"))
    path = folder / "socket"
    own = {**os.environ, **SHORT, "HOME": str(folder), "MPLBACKEND": "agg"}
    command = [str(project_python()), str(HERE / "warm_python.py"), str(path), *PRELOADED]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=own, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(lambda: path.exists() or process.poll() is not None, "a warm Python", SECONDS)
        assert process.poll() is None, (folder / "log").read_text()
        yield path
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def warm_command(socket: Path) -> list[str]:
    """Return what runs a module, before its name and words: a fork of the warm Python if it can."""
    client = [sys.executable, "-S", "-E", str(HERE / "warm_client.py")]
    return [*client, str(socket), str(project_python())]


@cache
def find_features(template: str) -> tuple[str, ...]:
    """Names of a template's optional features that are off by default."""
    shown = _aistart("show", template, "--json").stdout
    return tuple(f["name"] for f in json.loads(shown)["features"] if not f["default"])


def render(template: str, folder: Path) -> Path:
    """Make a project with all features, whose package is ``demo``, and return its folder."""
    features = [word for name in find_features(template) for word in ("--with", name)]
    _aistart("new", template, PROGRAM, "-y", "-q", "-o", str(folder), *features)
    return folder / PROGRAM


def _aistart(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aistart", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **SHORT})
    assert done.returncode == 0, done.stderr
    return done


class TypedProject:
    """Runs commands as if they were typed in a project.

    Args:
        project: its folder; ``.venv/bin`` is made there.
        socket: of the warm Python.
    """

    def __init__(self, project: Path, socket: Path) -> None:
        self.project, self.folder, self.port = project, project, free_port()
        self._socket = socket
        self._server: subprocess.Popen[bytes] | None = None
        self._log = project.parent / "server.log"
        self.seconds: list[tuple[float, str]] = []
        self.answers: dict[tuple[str, ...], str] = {}  # of commands that checks ask again and again
        self._make_scripts()

    @property
    def has_server(self) -> bool:
        """Whether a server runs that a command has started."""
        return self._server is not None

    def run(self, text: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one command until it ends; its output and errors are together."""
        start = time.monotonic()
        command = ["bash", "-c", self._use_free_port(text)]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            output = f"{process.communicate()[0]}\nnot done within {SECONDS} s"
        self.seconds.append((round(time.monotonic() - start, 1), text))
        return subprocess.CompletedProcess(command, process.returncode, output)

    def type(self, command: Command, text: str | None = None, **more: str) -> str | None:
        """Run a command of a document, and return what went wrong with it.

        Args:
            command: of the document.
            text: what is typed in its place.
            **more: variables of the environment.
        """
        text = command.text if text is None else text
        if command.kind == "diff":
            return self._apply(command)
        if match := re.fullmatch(r"cd (\S+)", text.strip()):
            self.folder = self.folder / match[1]
            return None if self.folder.is_dir() else f"{command}: there is no such folder"
        if is_server(text):
            return self._start_server(command, text, more)
        done = self.run(text, **more)
        if done.returncode:
            return f"{command}: exit {done.returncode}: {done.stdout[-3000:]}"
        difference = command.output and compare_output(command.output, done.stdout)
        return f"{command}: {difference}" if difference else None

    def stop_server(self) -> str | None:
        """Send SIGTERM to the server that runs, if one does; return what went wrong with it."""
        if self._server is None:
            return None
        server, self._server = self._server, None
        server.send_signal(signal.SIGTERM)
        try:
            code = server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            return "did not end within 60 s of SIGTERM"
        # MLflow's and TensorBoard's servers do not say that they were asked to end.
        is_ours = PROGRAM in str(server.args)
        return f"exit {code} after SIGTERM: {self._read_log()}" if code and is_ours else None

    def _start_server(self, command: Command, text: str, more: Mapping[str, str]) -> str | None:
        if problem := self.stop_server():
            return f"{command}: the server before it: {problem}"
        if text.startswith("make "):  # make itself does not pass SIGTERM on
            plan = self.run(f"make --no-print-directory -n {text.removeprefix('make ')}")
            if plan.returncode:
                return f"{command}: exit {plan.returncode}: {plan.stdout}"
            text = plan.stdout.splitlines()[-1]
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {self._use_free_port(text)}"],
                cwd=self.folder,
                env=self._environment(more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                return f"{command}: the server does not answer: {self._read_log()}"
            time.sleep(0.2)
        return None

    def _answers(self) -> bool:
        path = "readyz" if PROGRAM in str(self._server.args) else ""
        try:
            return urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10).status == 200
        except (URLError, OSError):
            return False

    def _read_log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _apply(self, command: Command) -> str | None:
        done = subprocess.run(
            ["git", "apply", "-"],
            cwd=self.folder,
            input=command.text,
            text=True,
            capture_output=True,
        )
        return f"{command}: it does not fit the files: {done.stderr}" if done.returncode else None

    def _use_free_port(self, text: str) -> str:
        return re.sub(r"(127\.0\.0\.1|localhost):(?:8000|5000)\b", rf"\1:{self.port}", text)

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {n: v for n, v in os.environ.items() if not n.startswith(("APP__", "MLFLOW_"))}
        programs = f"{self.project / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
        ports = {"APP__SERVE__PORT": str(self.port), "MLFLOW_PORT": str(self.port)}
        home = self.project.parent / "home"
        home.mkdir(exist_ok=True)
        (home / ".gitconfig").write_text("[user]\nname = A Reader\nemail = reader@example.com\n")
        (home / ".curlrc").write_text("fail-with-body\n")  # curl succeeds with any answer else
        places = {"PATH": programs, "HOME": str(home), "PYTHONPATH": str(self.project / "src")}
        # Python's own way to tell a window's width; without it lines break elsewhere.
        return {**own, **SHORT, **places, **ports, "COLUMNS": "120", **more}

    def _make_scripts(self) -> None:
        folder, python = self.project / ".venv/bin", project_python()
        folder.mkdir(parents=True)
        warm = f"{' '.join(warm_command(self._socket))} {PROGRAM}"
        names = {PROGRAM: "", **{name: name for name in SCRIPTS}}
        scripts = {name: f'exec {warm} {first} "$@"' for name, first in names.items()}
        for name in ("mlflow", "ruff", "mypy", "pytest", "tensorboard"):
            scripts[name] = f'exec {python.with_name(name)} "$@"'
        scripts["python"] = f'exec {python} "$@"'
        scripts["aistart"] = f'exec env -u PYTHONPATH {sys.executable} -m aistart "$@"'
        for name, content in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{content}\n")
            (folder / name).chmod(0o755)
        (folder / "activate").write_text("# PATH has this folder already.\n")


def is_server(text: str) -> bool:
    """Return whether a command runs until it is told to end."""
    return bool(_SERVER.match(text))


def write_png(path: Path, shade: int) -> None:
    """Write a picture of 32 by 32 points in a shade of grey, with some pattern."""
    rows = [
        b"\0" + bytes((shade + 7 * x * y) % 256 if x % 5 else shade for x in range(32))
        for y in range(32)
    ]

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))
