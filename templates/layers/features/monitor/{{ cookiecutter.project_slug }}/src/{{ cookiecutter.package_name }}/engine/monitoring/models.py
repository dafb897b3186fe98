"""The watched model and its profile. Must not import TensorFlow."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..attachments import read_attachments
from ..config_fields import BaseConfig
from ..runs import find_run, is_model_uri

REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>\d+))")


@dataclass(frozen=True)
class WatchedModel:
    """The files of a model, and what it is called.

    Attributes:
        title: for people.
        versions: by which services may call it: the run's id, the number in the registry.
    """

    title: str
    model_file: Path
    config_file: Path
    versions: Sequence[str]

    @property
    def attachments(self) -> dict[str, Any]:
        """Return what features have added to the file."""
        return read_attachments(self.model_file)


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
        versions = [run.id, *([] if number is None else [str(number)])]
        return WatchedModel(run.id, run.model_file, run.config_file, versions)
    from ..tracking.sender import fetch_model  # MLflow takes a second to import

    folder = fetch_model(name, config, "--run")
    found = REGISTERED.fullmatch(name)
    version = name.split(":/", 1)[1].strip("/")
    if found and found["number"]:
        version = found["number"]
    elif found:
        from ..tracking.registry import Registry

        version = str(Registry(found["name"], config.tracking).number_behind(found["alias"]))
    return WatchedModel(name, folder / "model.keras", folder / "config.yaml", [version])
