"""Where runs would be recorded: an MLflow server that answers, or a store that can be written."""

import base64
import http.client
import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from aistart.doctor.environment import Environment, Plan
from aistart.doctor.findings import Finding, ok, problem, warning
from aistart.doctor.machine import next_free, port_is_free
from aistart.doctor.projects import VENV, Project, release, script
from aistart.shell import quoted

LIMIT = 3.0  # seconds that a server may take for an answer
UI_PORT = 5000  # of `make ui`
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
UNTIL_THEN = "until then runs are recorded in their folders alone"


@dataclass(frozen=True)
class Store:
    """Where runs would be recorded.

    Attributes:
        uri: with a password, if it has one: never shown.
        variable: the environment variable that names it, if one does.
    """

    uri: str
    variable: str | None = None

    @property
    def shown(self) -> str:
        """The address without users, passwords and options, even if it is not well formed."""
        scheme, separator, rest = self.uri.partition("://")
        return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


def find_store(project: Project | None, plan: Plan | None) -> Store | None:
    """Where a run would be recorded: the field, the environment, or the project's own store."""
    if plan and plan.tracking_uri:
        named = os.environ.get("APP__TRACKING__URI") == plan.tracking_uri
        return Store(plan.tracking_uri, "APP__TRACKING__URI" if named else None)
    for variable in ("APP__TRACKING__URI", "MLFLOW_TRACKING_URI"):
        if uri := os.environ.get(variable):
            return Store(uri, variable)
    return Store("sqlite:///mlflow.db") if project else None


def check_tracking(
    store: Store, project: Project | None, environment: Environment | None
) -> Finding:
    """Whether the store takes runs."""
    plan = environment.answer.plan if environment else None
    if plan and not plan.tracking:
        return ok("tracking", "off, as tracking.enabled is false")
    try:
        parts = urlsplit(store.uri)
        scheme = parts.scheme.partition("+")[0]
        _ = parts.port  # which is read only now
    except ValueError:  # whose words may hold a part of a password
        message = (
            f"{store.shown} is not an address; a password's /, ? and @ are written %2F %3F %40"
        )
        return problem("tracking", message, _forget(store))
    if scheme in ("http", "https"):
        return _server(store, project, environment)
    if scheme == "sqlite":
        return _file(store, project)
    if scheme in DATABASE_PORTS:
        return _database(store, DATABASE_PORTS[scheme])
    if scheme in ("", "file"):
        message = f"{store.shown}: MLflow no longer records in plain folders"
        return problem("tracking", message, _forget(store))
    return warning("tracking", f"{store.shown}: not a kind of store that can be tried here")


def _forget(store: Store) -> str | None:
    if store.variable is None:
        return None
    return f"set {store.variable}=" if os.name == "nt" else f"unset {store.variable}"


# === Servers ===


def _server(store: Store, project: Project | None, environment: Environment | None) -> Finding:
    try:
        _get(store.uri, "health")
    except NoAnswer as error:
        fix = _forget(store)
        if error.status in (401, 403):
            fix = "export MLFLOW_TRACKING_USERNAME=YOU MLFLOW_TRACKING_PASSWORD=YOURS"
        elif error.status is None:
            fix = _start(store, environment) or fix
        return problem("tracking", f"{store.shown}: {error}; {UNTIL_THEN}", fix)
    version = _mlflow_version(store.uri)
    if version is None:
        return warning("tracking", f"{store.shown}: it answers, but does not say that it is MLflow")
    return _compared(store, version, project)


def _mlflow_version(uri: str) -> str | None:
    try:
        text = _get(uri, "version").decode(errors="replace").strip()
    except NoAnswer:
        return None
    return text if re.fullmatch(r"\d+\.\d+[\w.]*", text) else None


def _compared(store: Store, version: str, project: Project | None) -> Finding:
    tested = min(project.pins.get("mlflow", ({""}, True))[0]) if project else ""
    message = f"{store.shown}: MLflow {version} answers"
    if tested and release(version)[:2] < release(tested)[:2]:
        message += f"; the project was tested with {tested}. On the server's machine:"
        return warning("tracking", message, f"pip install --upgrade {quoted(f'mlflow=={tested}')}")
    return ok("tracking", message)


def _start(store: Store, environment: Environment | None) -> str | None:
    """The command that starts a server at an address of this machine."""
    parts = urlsplit(store.uri)
    if parts.hostname not in ("127.0.0.1", "localhost") or environment is None:
        return None
    return environment.project.command(
        f"{script(environment.folder, 'mlflow')} server --port {parts.port or 80} "
        "--backend-store-uri sqlite:///mlflow.db"
    )


class NoAnswer(Exception):
    """Why a server gives no answer, and the status that it gives instead, if it does."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: credentials are for the server that is named."""

    def redirect_request(self, *words: Any) -> None:
        return None


def _get(uri: str, page: str) -> bytes:
    """The beginning of a server's page.

    Raises:
        NoAnswer: the server does not give it.
    """
    parts = urlsplit(uri)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/{page}"
    try:
        request = urllib.request.Request(address, headers=_credentials(uri))
        with _opener(parts.scheme).open(request, timeout=LIMIT) as answer:
            return bytes(answer.read(100))
    except urllib.error.HTTPError as error:
        meaning = http.client.responses.get(error.code, "")
        raise NoAnswer(f"it answers {error.code} {meaning}".rstrip(), error.code) from None
    except urllib.error.URLError as error:
        raise NoAnswer(_reason(error.reason)) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(_reason(error)) from None


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT:g} s"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def _credentials(uri: str) -> dict[str, str]:
    """The header that MLflow's own client would send."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    parts = urlsplit(uri)
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or unquote(parts.username or "")
    if not user:
        return {}
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or unquote(parts.password or "")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _opener(scheme: str) -> urllib.request.OpenerDirector:
    if scheme == "http":
        return urllib.request.build_opener(_Staying)
    return urllib.request.build_opener(
        _Staying, urllib.request.HTTPSHandler(context=_certificates())
    )


def _certificates() -> ssl.SSLContext:
    """Whom to trust, as MLflow's own client is told."""
    names = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE")
    own = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if own and Path(own).is_dir():
        context = ssl.create_default_context(capath=own)
    else:
        context = ssl.create_default_context(cafile=own)
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# === Stores without a server ===


def _file(store: Store, project: Project | None) -> Finding:
    folder = project.folder if project else Path()
    path = folder / store.uri.partition(":///")[2].partition("?")[0]
    name = path.name if path.parent == folder else str(path)
    if not path.parent.is_dir():
        fix, trouble = quoted("mkdir", "-p", str(path.parent)), "its folder is not there"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        target = name if path.exists() else str(path.parent)
        fix, trouble = quoted("chmod", "u+w", target), "it cannot be written"
    elif path.exists() and not path.is_file():
        fix, trouble = quoted("mv", name, f"{name}.old"), "it is not a file"
    elif path.exists():
        return ok("tracking", f"{name}, {path.stat().st_size / 1e6:.1f} MB")
    else:
        return ok("tracking", f"{name}, made by the first run")
    return problem("tracking", f"{name}: {trouble}", project.command(fix) if project else fix)


def _database(store: Store, port: int) -> Finding:
    try:
        parts = urlsplit(store.uri)
        if parts.hostname is None:
            return ok("tracking", f"{store.shown}: a socket of this machine, not tried")
        socket.create_connection((parts.hostname, parts.port or port), LIMIT).close()
    except (OSError, ValueError) as error:
        message = f"{store.shown}: {_reason(error)}; {UNTIL_THEN}"
        return problem("tracking", message, _forget(store))
    return ok("tracking", f"{store.shown}: something listens there; no login was tried")


# === The port of MLflow's pages ===


def check_port(project: Project, environment: Environment | None) -> Finding:
    """Whether ``make ui`` could open MLflow's pages."""
    check = f"port {UI_PORT}"
    if port_is_free(UI_PORT):
        return ok(check, "free, for `make ui`")
    if version := _mlflow_version(f"http://127.0.0.1:{UI_PORT}"):
        return ok(check, f"MLflow {version} is open there already")
    command = f"ui --backend-store-uri sqlite:///mlflow.db --port {next_free(UI_PORT)}"
    return warning(
        check,
        "in use by another program, so that `make ui` fails; instead:",
        project.command(
            f"{script(environment.folder if environment else VENV, 'mlflow')} {command}"
        ),
    )
