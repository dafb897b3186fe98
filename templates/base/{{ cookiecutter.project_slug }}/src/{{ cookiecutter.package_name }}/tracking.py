"""MLflow: the one module that knows it.

Without configuration, runs are recorded in ``mlflow.db`` and ``mlartifacts/`` in the project;
``tracking.uri`` or ``MLFLOW_TRACKING_URI`` names a server instead.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# A server that is down must not hold a run up for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import mlflow.pyfunc
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from . import inputs
from .config import Config, fields, without_password
from .contract import Data
from .errors import Interrupted, ProjectError
from .files import project_root
from .runs import Run

log = logging.getLogger(__package__)

OWN_REGISTRY = os.environ.get("MLFLOW_REGISTRY_URI")
PACKAGE_DIR = Path(__file__).parent
# What loading and serving the model needs; MLflow would take ten seconds to find out.
MODEL_REQUIREMENTS = ("tensorflow", "keras", "numpy", "mlflow", "pandas", "pydantic", "pyyaml")
# Alembic and MLflow print dozens of lines about a new database and a logged model.
for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
    logging.getLogger(name).setLevel(logging.WARNING)
# An environment without pip (uv's) is no reason to worry.
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)


def tracking_uri(config: Config) -> str:
    """Where this run is recorded: the field, the environment, or the project's own store."""
    own = f"sqlite:///{project_root() / 'mlflow.db'}"
    return config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or own


def experiment_name(config: Config) -> str:
    return config.tracking.experiment or __package__


def registry_name(config: Config) -> str:
    """The experiment's name with what a registry does not allow replaced."""
    return re.sub(r"[/:.%\"']", "-", experiment_name(config))


class Tracker:
    """One MLflow run."""

    def __init__(self, config: Config, run: Run) -> None:
        self.config, self.run = config, run
        self.uri = tracking_uri(config)
        self.run_id: str = ""

    @property
    def shown_uri(self) -> str:
        """The store's address without a user's name and password."""
        return without_password(self.uri)

    def log_configuration(self, devices: dict[str, Any]) -> None:
        """All fields as flat parameters; the environment as tags and a file."""
        sections = self.config.shown()
        flat = {name: sections[name.split(".")[0]][name.split(".")[1]] for name, _ in fields()}
        mlflow.log_params(flat | devices)
        mlflow.set_tags(_environment_tags())
        mlflow.log_text(_installed(), "environment.txt")
        mlflow.log_artifact(str(self.run.config_file))

    def log_data(self, data: Data) -> None:
        """Name, size and digest of the data."""
        for name, split in data.splits.items():
            profile = {"num_rows": len(split), "duplicates_in_all": data.duplicates}
            # MLflow takes one dataset of a name and digest; each split is one of its own.
            digest = hashlib.sha256(f"{data.digest}/{name}".encode()).hexdigest()[:32]
            dataset = RunDataset(data.source, digest, profile)
            mlflow.log_input(dataset, context=name)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        mlflow.log_metrics(metrics, step=step)

    def log_report(self) -> None:
        """The figures and tables of ``report/``."""
        if self.run.report_dir.is_dir():
            mlflow.log_artifacts(str(self.run.report_dir), "report")

    def log_model(self, data: Data, preprocessing: Any) -> dict[str, Any]:
        """Log the saved model with signature and example, and register it.

        Returns:
            ``model_uri`` and ``registered_version`` (None where registering is off).
        """
        with tempfile.TemporaryDirectory() as folder:
            model_dir = Path(folder) / "model"
            model_dir.mkdir()
            for file in (self.run.model_file, self.run.config_file):
                (model_dir / file.name).write_bytes(file.read_bytes())
            name = registry_name(self.config) if self.config.tracking.register else None
            # What MLflow has to say about a new version goes to stderr, past its log levels.
            with contextlib.redirect_stderr(io.StringIO()):
                info = mlflow.pyfunc.log_model(
                    name="model",
                    loader_module=f"{__package__}.mlflow_model",
                    data_path=str(model_dir),
                    code_paths=[str(_clean_copy(PACKAGE_DIR, Path(folder) / "code"))],
                    signature=inputs.signature(preprocessing),
                    input_example=inputs.example(data, preprocessing),
                    pip_requirements=[f"{n}=={metadata.version(n)}" for n in MODEL_REQUIREMENTS],
                    registered_model_name=name,
                )
        version = info.registered_model_version
        return {
            "model_uri": info.model_uri,
            "registered_version": None if version is None else int(version),
        }


def open_store(config: Config) -> None:
    """Connect to the store and its experiment, making them where they are not there yet.

    Raises:
        ProjectError: the store cannot be reached.
    """
    uri = tracking_uri(config)
    try:
        with _alone(uri):
            _connect(uri)
            _use_experiment(experiment_name(config), uri)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = _reason(error, uri)
        raise ProjectError(f"tracking.uri: {without_password(uri)!r}: {reason}") from None


@contextlib.contextmanager
def tracked(config: Config, run: Run) -> Iterator[Tracker]:
    """Open an MLflow run for a run; it is marked finished, killed or failed at the end."""
    tracker = Tracker(config, run)
    tracker.run_id = mlflow.start_run(run_name=run.id).info.run_id
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except (KeyboardInterrupt, Interrupted):
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def fetch_model(uri: str, config: Config, field: str) -> Path:
    """Download a model (``models:/NAME/1``, ``runs:/ID/model``) and return its data folder.

    Raises:
        ProjectError: there is no such model, or the store cannot be reached.
    """
    store = tracking_uri(config)
    try:
        with _alone(store):
            _connect(store)
            folder = Path(mlflow.artifacts.download_artifacts(uri))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ProjectError(f"{field}: {uri!r} cannot be fetched: {_reason(error, store)}") from None
    found = sorted(folder.rglob("model.keras"))
    if not found:
        raise ProjectError(f"{field}: {uri!r} holds no model of this project.")
    return found[0].parent


def _reason(error: Exception, uri: str) -> str:
    text = " ".join(str(error).split())
    secret = urlsplit(uri).netloc.rpartition("@")[0]
    return (text.replace(f"{secret}@", "") if secret else text)[:200]


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    # Two runs that begin together in a new project would both make the same tables.
    if not uri.startswith("sqlite") or fcntl is None:
        yield
        return
    lock = project_root() / ".cache" / "mlflow.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _connect(uri: str) -> None:
    mlflow.set_tracking_uri(uri)
    # Or MLflow would stay with the registry of a store that was used before.
    mlflow.set_registry_uri(OWN_REGISTRY or uri)


def _use_experiment(name: str, uri: str) -> None:
    if mlflow.get_experiment_by_name(name) is None and uri.startswith("sqlite"):
        # MLflow's default would put artifacts into whatever folder one happens to be in.
        mlflow.create_experiment(name, (project_root() / "mlartifacts").as_uri())
    mlflow.set_experiment(name)
    # MLflow's pages then show training runs, not conversations with language models.
    mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")


def _environment_tags() -> dict[str, str]:
    tags = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "tensorflow": metadata.version("tensorflow"),
        "keras": metadata.version("keras"),
    }
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit:
        tags |= {"git_commit": commit, "git_dirty": str(bool(changed)).lower()}
    return tags


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=project_root(), capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed() -> str:
    lines = {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()}
    return "\n".join([f"# Python {sys.version.split()[0]}", *sorted(lines, key=str.lower), ""])


def _clean_copy(package: Path, into: Path) -> Path:
    copy = into / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


class _Source(DatasetSource):
    """Where the data came from: the name of a source of this project."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def _get_source_type() -> str:
        return "project"

    def load(self) -> None:
        raise ProjectError("this source is read by the project's data module.")

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "_Source":
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, str]:
        return {"name": self.name}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "_Source":
        return cls(source_dict["name"])


class RunDataset(Dataset):
    """A split as MLflow shows it: name, digest and size, without its examples."""

    def __init__(self, name: str, digest: str, profile: dict[str, Any]) -> None:
        self._profile = profile
        super().__init__(_Source(name), name, digest)

    def _compute_digest(self) -> str:
        return self.digest

    def to_dict(self) -> dict[str, str]:
        return {**super().to_dict(), "profile": json.dumps(self._profile), "schema": "{}"}

    @property
    def profile(self) -> dict[str, Any]:
        return self._profile

    @property
    def schema(self) -> None:
        return None
