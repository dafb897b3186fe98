"""The watched model and its profile. Must not import TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..attachments import read_attachments
from ..config_fields import BaseConfig, TrackingFields
from ..runs import Run, find_run, is_model_uri, read_registered
from ..tracking.model_versions import find_model_version


@dataclass(frozen=True)
class WatchedModel:
    """The files of a model, and what it is called.

    Attributes:
        title: for people.
        versions: by which samples may call it, see ``name_version``.
    """

    title: str
    model_file: Path
    config_file: Path
    versions: Sequence[str]

    @property
    def attachments(self) -> dict[str, Any]:
        """Return what features have added to the file."""
        return read_attachments(self.model_file)


def name_version(version: str, registered_name: str) -> str:
    """Return what samples call a model: ``ID`` of its run, or ``NAME/NUMBER`` of the registry.

    Args:
        version: as a service calls it.
        registered_name: in the registry; '' for a run.
    """
    return f"{registered_name}/{version}" if registered_name else version


def find_model(name: str, config: BaseConfig) -> WatchedModel:
    """Return a trained model.

    Args:
        name: id of a run, ``latest``, or an MLflow model URI.
        config: says where MLflow is.

    Raises:
        UsageProblem: there is no such run.
        ProjectError: there is no such model, or the store cannot be reached.
    """
    if not is_model_uri(name):
        run = find_run(name)
        number = (run.read("tracking") or {}).get("registered_version")
        versions = [run.id]
        if number is not None:
            versions.append(name_version(str(number), _find_registered_name(run)))
        return WatchedModel(run.id, run.model_file, run.config_file, versions)
    from ..tracking.sender import fetch_model  # MLflow takes a second to import

    folder = fetch_model(name, config, "--run")
    model = read_registered(name)
    version = find_model_version(name, config.tracking)
    versions = [name_version(version, model.name if model else "")]
    return WatchedModel(name, folder / "model.keras", folder / "config.yaml", versions)


def _find_registered_name(run: Run) -> str:
    import yaml

    from ..tracking.sender import registry_name  # MLflow takes a second to import

    fields = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))["tracking"]
    return registry_name(TrackingFields(**fields))
