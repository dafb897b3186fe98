"""Checks of the place where runs are recorded: an MLflow server, or a store without one."""

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
from aistart.doctor.machine import is_port_free, next_free_port
from aistart.doctor.projects import VENV, Project, script_word
from aistart.shell import join_command
from aistart.versions import parse_release

LIMIT = 3.0  # seconds for an answer of a server
UI_PORT = 5000  # the port of `make ui`
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
RECORDING_FALLBACK = "until then runs are recorded in their folders alone"


@dataclass(frozen=True)
class Store:
    """A place where runs are recorded.

    Attributes:
        uri: its address, perhaps with a password: never print it.
        variable: the environment variable that sets it, if one does.
        gets_credentials: whether the user's credentials are sent there; to a server that somebody
            else named and the user has not signed off, they are not.
    """

    uri: str
    variable: str | None = None
    gets_credentials: bool = True

    @property
    def safe_uri(self) -> str:
        """The address without user, password and options, even if it is malformed."""
        scheme, separator, rest = self.uri.partition("://")
        return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


def find_store(project: Project | None, plan: Plan | None) -> Store | None:
    """Return where a run would be recorded, if anywhere.

    Args:
        project: its own store is the default; None: there is no project.
        plan: what the project's configuration says; None: it is not known.
    """
    if plan and plan.tracking_uri:
        is_variable = os.environ.get("APP__TRACKING__URI") == plan.tracking_uri
        return Store(plan.tracking_uri, "APP__TRACKING__URI" if is_variable else None)
    for variable in ("APP__TRACKING__URI", "MLFLOW_TRACKING_URI"):
        if uri := os.environ.get(variable):
            return Store(uri, variable)
    return Store("sqlite:///mlflow.db") if project else None


def check_tracking(
    store: Store, project: Project | None, environment: Environment | None
) -> Finding:
    """Check whether runs can be recorded.

    Args:
        store: where.
        project: gives the version of MLflow that was tested, and the folder of its own store.
        environment: the project's, if it works.
    """
    plan = environment.probe.plan if environment else None
    if plan and not plan.tracking:
        return ok("tracking", "off, as tracking.enabled is false")
    try:
        parts = urlsplit(store.uri)
        scheme = parts.scheme.partition("+")[0]
        _ = parts.port  # raises ValueError here, not above
    except ValueError:  # its message may hold a part of a password
        hint = "write /, ? and @ in a password as %2F, %3F and %40"
        message = f"{store.safe_uri} is not an address; {hint}"
        return problem("tracking", message, _unset_command(store))
    if scheme in ("http", "https"):
        return _check_server(store, project, environment)
    if scheme == "sqlite":
        return _check_sqlite(store, project)
    if scheme in DATABASE_PORTS:
        return _check_database(store, DATABASE_PORTS[scheme])
    if scheme in ("", "file"):
        message = f"{store.safe_uri}: MLflow no longer records to plain folders"
        return problem("tracking", message, _unset_command(store))
    return warning("tracking", f"{store.safe_uri}: not a kind of store that can be tried here")


def _unset_command(store: Store) -> str | None:
    """Return the command that unsets the variable of a store, if it has one."""
    if store.variable is None:
        return None
    return f"set {store.variable}=" if os.name == "nt" else f"unset {store.variable}"


# === Servers ===


def _check_server(
    store: Store, project: Project | None, environment: Environment | None
) -> Finding:
    try:
        _fetch(store, "health")
    except ServerError as error:
        fix = _unset_command(store)
        if error.status in (401, 403):
            fix = "export MLFLOW_TRACKING_USERNAME=YOU MLFLOW_TRACKING_PASSWORD=YOURS"
        elif error.status is None:
            fix = _start_command(store, environment) or fix
        return problem("tracking", f"{store.safe_uri}: {error}; {RECORDING_FALLBACK}", fix)
    version = _fetch_version(store)
    if version is None:
        return warning(
            "tracking", f"{store.safe_uri}: it answers, but does not say that it is MLflow"
        )
    return _compare_versions(store, version, project)


def _fetch_version(store: Store) -> str | None:
    try:
        text = _fetch(store, "version").decode(errors="replace").strip()
    except ServerError:
        return None
    return text if re.fullmatch(r"\d+\.\d+[\w.]*", text) else None


def _compare_versions(store: Store, version: str, project: Project | None) -> Finding:
    tested = min(project.pins.get("mlflow", ({""}, True))[0]) if project else ""
    message = f"{store.safe_uri}: MLflow {version} answers"
    if tested and parse_release(version)[:2] < parse_release(tested)[:2]:
        message += f"; the project was tested with {tested}. On the server's machine:"
        return warning(
            "tracking", message, f"pip install --upgrade {join_command(f'mlflow=={tested}')}"
        )
    return ok("tracking", message)


def _start_command(store: Store, environment: Environment | None) -> str | None:
    """Return the command that starts a server at the store's address, if that is this machine."""
    parts = urlsplit(store.uri)
    if parts.hostname not in ("127.0.0.1", "localhost") or environment is None:
        return None
    return environment.project.command(
        f"{script_word(environment.folder, 'mlflow')} server --port {parts.port or 80} "
        "--backend-store-uri sqlite:///mlflow.db"
    )


class ServerError(Exception):
    """A server does not answer, or answers with an HTTP error, which is then its ``status``."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the credentials are for the configured server only."""

    def redirect_request(self, *words: Any) -> None:
        return None


def _fetch(store: Store, page: str) -> bytes:
    """Fetch the first bytes of a page.

    Args:
        store: the server.
        page: path below it.

    Raises:
        ServerError: the server does not answer, or not with the page.
    """
    parts = urlsplit(store.uri)
    headers = _credentials(store.uri) if store.gets_credentials else {}
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/{page}"
    try:
        request = urllib.request.Request(address, headers=headers)
        with _build_opener(parts.scheme).open(request, timeout=LIMIT) as answer:
            return bytes(answer.read(100))
    except urllib.error.HTTPError as error:
        meaning = http.client.responses.get(error.code, "")
        raise ServerError(f"it answers {error.code} {meaning}".rstrip(), error.code) from None
    except urllib.error.URLError as error:
        raise ServerError(_format_reason(error.reason)) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ServerError(_format_reason(error)) from None


def _format_reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT:g} s"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def _credentials(uri: str) -> dict[str, str]:
    """Return the header with the credentials that MLflow's own client would send."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    parts = urlsplit(uri)
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or unquote(parts.username or "")
    if not user:
        return {}
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or unquote(parts.password or "")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _build_opener(scheme: str) -> urllib.request.OpenerDirector:
    if scheme == "http":
        return urllib.request.build_opener(_NoRedirects)
    return urllib.request.build_opener(
        _NoRedirects, urllib.request.HTTPSHandler(context=_build_ssl_context())
    )


def _build_ssl_context() -> ssl.SSLContext:
    """Build the TLS settings from the variables that MLflow's own client reads."""
    names = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE")
    path = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if path and Path(path).is_dir():
        context = ssl.create_default_context(capath=path)
    else:
        context = ssl.create_default_context(cafile=path)
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# === Stores without a server ===


def _check_sqlite(store: Store, project: Project | None) -> Finding:
    folder = project.folder if project else Path()
    path = folder / store.uri.partition(":///")[2].partition("?")[0]
    name = path.name if path.parent == folder else str(path)
    if not path.parent.is_dir():
        fix, failure = join_command("mkdir", "-p", str(path.parent)), "its folder does not exist"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        target = name if path.exists() else str(path.parent)
        fix, failure = join_command("chmod", "u+w", target), "it is not writable"
    elif path.exists() and not path.is_file():
        fix, failure = join_command("mv", name, f"{name}.old"), "it is not a file"
    elif path.exists():
        return ok("tracking", f"{name}, {path.stat().st_size / 1e6:.1f} MB")
    else:
        return ok("tracking", f"{name}, made by the first run")
    return problem("tracking", f"{name}: {failure}", project.command(fix) if project else fix)


def _check_database(store: Store, port: int) -> Finding:
    try:
        parts = urlsplit(store.uri)
        if parts.hostname is None:
            return ok("tracking", f"{store.safe_uri}: a socket of this machine, not tried")
        socket.create_connection((parts.hostname, parts.port or port), LIMIT).close()
    except (OSError, ValueError) as error:
        message = f"{store.safe_uri}: {_format_reason(error)}; {RECORDING_FALLBACK}"
        return problem("tracking", message, _unset_command(store))
    return ok("tracking", f"{store.safe_uri}: something listens there; no login was tried")


# === The port of MLflow's pages ===


def check_port(project: Project, environment: Environment | None) -> Finding:
    """Check whether ``make ui`` can start MLflow's pages.

    Args:
        project: the project.
        environment: the project's, if it works.
    """
    check = f"port {UI_PORT}"
    if is_port_free(UI_PORT):
        return ok(check, "free, for `make ui`")
    if version := _fetch_version(Store(f"http://127.0.0.1:{UI_PORT}")):
        return ok(check, f"MLflow {version} is open there already")
    command = f"ui --backend-store-uri sqlite:///mlflow.db --port {next_free_port(UI_PORT)}"
    return warning(
        check,
        "in use by another program, so that `make ui` fails; instead:",
        project.command(
            f"{script_word(environment.folder if environment else VENV, 'mlflow')} {command}"
        ),
    )
