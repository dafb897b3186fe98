"""The run in MLflow that the runs of all trials are children of."""

import logging
from pathlib import Path
from typing import Any

import mlflow

from ..config_fields import TrackingFields, without_password
from ..tracking import tracking_uri
from ..tracking.sender import PROBLEMS, connect, describe_problem, exclusive, open_experiment

log = logging.getLogger(__name__)

SUFFIXES = (".svg", ".png", ".csv", ".html")  # of files that show what a study came to


def begin(tracking: TrackingFields, name: str, facts: dict[str, Any]) -> str | None:
    """Create the parent run and return its id; None if the store does not answer.

    Args:
        tracking: names store and experiment.
        name: of the study.
        facts: recorded as parameters.
    """
    uri = tracking_uri(tracking)
    try:
        open_experiment(tracking, uri)
        tags = {"tune.study": name}
        with mlflow.start_run(run_name=f"study {name}", tags=tags) as active:
            mlflow.log_params(facts)
        return active.info.run_id
    except PROBLEMS as error:
        log.warning(
            "MLflow: %s: %s. The runs of this study have no parent there.",
            without_password(uri),
            describe_problem(error, uri),
        )
        return None


def end(
    tracking: TrackingFields,
    run_id: str,
    metrics: dict[str, float],
    best: dict[str, Any],
    folder: Path,
) -> None:
    """Record what the study came to.

    Args:
        tracking: names store and experiment.
        run_id: of the parent run.
        metrics: of the study.
        best: the best settings.
        folder: of the study; its figures, tables and pages are recorded, and no log of a trial.
    """
    uri = tracking_uri(tracking)
    try:
        connect(uri)
        with exclusive(uri), mlflow.start_run(run_id=run_id):
            mlflow.log_metrics(metrics)
            mlflow.set_tags({f"best.{name}": str(value) for name, value in best.items()})
            for file in sorted(folder.iterdir()):
                if file.suffix in SUFFIXES:
                    mlflow.log_artifact(str(file))
    except PROBLEMS as error:
        log.warning("MLflow: %s: %s", without_password(uri), describe_problem(error, uri))
