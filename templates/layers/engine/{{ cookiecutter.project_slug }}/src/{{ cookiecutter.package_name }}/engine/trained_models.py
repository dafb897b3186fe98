"""Finding a trained model by what a user calls it: a run or an MLflow URI."""

from pathlib import Path

from .artifact import Artifact, load
from .config_fields import BaseConfig
from .interfaces import Task
from .runs import find_run, is_model_uri


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
