"""Finding a trained model by what a user calls it: a run or an MLflow URI."""

from pathlib import Path
from typing import Any

from .artifact import Artifact, load
from .config_fields import BaseConfig
from .interfaces import Task
from .runs import find_run, is_model_uri

LATEST = "latest"


def find_artifact(
    name: str, task: Task, config: BaseConfig, field: str = "--run"
) -> tuple[Artifact, Path]:
    """Load a trained model.

    Args:
        name: id of a run, ``latest``, or an MLflow model URI.
        config: says where MLflow is.
        field: what the name was given for, for messages.

    Returns:
        The model and the file of its run's configuration.

    Raises:
        UsageProblem: there is no such run.
        DataProblem: its model file is not readable.
    """
    if is_model_uri(name):
        from .tracking.sender import fetch_model  # MLflow takes a second to import

        folder = fetch_model(name, config, field)
        return load(folder / "model.keras", task), folder / "config.yaml"
    run = find_run(name, field)
    return load(run.model_file, task), run.config_file


def fix_origin(config: Any) -> Any:
    """Return the configuration with the id of the run that ``train.init_from latest`` names now.

    Once this run is finished, ``latest`` is another one.

    Args:
        config: of a run that is about to begin.

    Raises:
        UsageProblem: there is no finished run.
    """
    if config.train.init_from != LATEST:
        return config
    run = find_run(LATEST, "train.init_from")
    train = config.train.model_copy(update={"init_from": run.id})
    return config.model_copy(update={"train": train})
