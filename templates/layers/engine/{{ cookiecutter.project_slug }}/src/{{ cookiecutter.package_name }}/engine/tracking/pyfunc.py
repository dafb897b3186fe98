"""How MLflow loads and serves a model of this project (``mlflow models serve -m …``)."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..artifact import Artifact, load
from ..interfaces import Task
from ..requests import check_requests, read_frame

BATCH_ROWS = 1_024  # that are predicted at a time


class ServedModel:
    """Answers a table of requests, whose columns are those of the model's signature."""

    def __init__(self, model: Artifact) -> None:
        self.model = model

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row with the columns of the answer for each row of the request.

        Args:
            frame: the requests.
            params: part of MLflow's interface.

        Raises:
            DataProblem: a row is wrong.
        """
        task, preprocessing = self.model.task, self.model.preprocessing
        requests = check_requests(task.read_requests(read_frame(frame), preprocessing, None))
        return pd.DataFrame(self.model.answer(requests, None, BATCH_ROWS))


def load_model(task: Task, folder: str) -> ServedModel:
    """Load the model that MLflow has put into a folder, to be served."""
    return ServedModel(load(Path(folder) / "model.keras", task))
