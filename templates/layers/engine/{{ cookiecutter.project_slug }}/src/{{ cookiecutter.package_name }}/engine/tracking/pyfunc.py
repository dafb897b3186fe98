"""How MLflow loads and serves a model of this project (``mlflow models serve -m …``)."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..artifact import Artifact, load
from ..interfaces import Task


class ServedModel:
    """Answers a table of requests, whose columns are those of the model's signature."""

    def __init__(self, model: Artifact) -> None:
        self.model = model

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row with the columns of the answer for each row of the request."""
        task, preprocessing = self.model.task, self.model.preprocessing
        outputs = self.model.predict_batch(task.from_frame(frame, preprocessing))
        return pd.DataFrame(task.decode_predictions(outputs, preprocessing))


def load_model(task: Task, folder: str) -> ServedModel:
    """Load the model that MLflow has put into a folder, to be served."""
    return ServedModel(load(Path(folder) / "model.keras", task))
