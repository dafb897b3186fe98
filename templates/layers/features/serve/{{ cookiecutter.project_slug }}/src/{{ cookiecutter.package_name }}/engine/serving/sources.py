"""Where models come from: runs on disk, and MLflow. Must not import TensorFlow."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..config_fields import BaseConfig
from ..runs import find_run, is_model_uri, read_registered
from ..tracking.model_versions import find_model_version
from .names import check_name


@dataclass(frozen=True)
class Source:
    """A model that is to be served.

    Attributes:
        name: by which requests name it.
        run: ``latest``, a run's id or an MLflow model URI.
    """

    name: str
    run: str

    def __post_init__(self) -> None:
        check_name(self.name, "--model")

    @property
    def moves(self) -> bool:
        """Whether it may name another model later."""
        return self.run == "latest" or "@" in self.run


@dataclass(frozen=True)
class Files:
    """Files of a model.

    Attributes:
        version: id of the run or version in the registry.
        weights_sha256: of the weights as the run wrote them; None: unknown.
        registered_name: in the registry; '' for a run.
    """

    version: str
    model_file: Path
    config_file: Path
    weights_sha256: str | None = None
    registered_name: str = ""


def find_version(source: Source, config: BaseConfig) -> str:
    """Return the version that a source names now.

    Args:
        source: any source.
        config: says where MLflow is.

    Raises:
        UsageProblem: there is no such run.
        ProjectError: the registry does not answer.
    """
    if is_model_uri(source.run):
        return find_model_version(source.run, config.tracking)
    return find_run(source.run).id


@contextmanager
def open_files(source: Source, version: str, config: BaseConfig) -> Iterator[Files]:
    """Yield the files of a version, which may be gone afterwards.

    Args:
        source: any source.
        version: that ``find_version`` has returned.
        config: says where MLflow is.

    Raises:
        ProjectError: the files cannot be fetched.
    """
    if not is_model_uri(source.run):
        run = find_run(version)
        weights = run.summary["weights_sha256"] if run.summary else None
        yield Files(version, run.model_file, run.config_file, weights)
        return
    model = read_registered(source.run)
    if model is None:
        from ..tracking.sender import fetch_model

        folder = fetch_model(source.run, config, "--run")
        yield Files(version, folder / "model.keras", folder / "config.yaml")
        return
    from ..tracking.registry import Registry, Version

    registry = Registry(model.name, config.tracking)
    with tempfile.TemporaryDirectory() as temporary:
        stored = registry.fetch(Version(int(version), None, {}), Path(temporary))
        yield Files(version, stored.model_file, stored.config_file, registered_name=model.name)
