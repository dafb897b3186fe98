"""How MLflow loads and serves a model of this project (``mlflow models serve -m …``)."""

from pathlib import Path
from typing import Any

import pandas as pd

from . import artifact, inputs, objective


class ServedModel:
    """Answers a table of requests; the columns are those of the model's signature."""

    def __init__(self, loaded: artifact.Artifact) -> None:
        self.loaded = loaded

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        preprocessing = self.loaded.preprocessing
        outputs = self.loaded.reduced(inputs.from_frame(frame, preprocessing))
        return pd.DataFrame(objective.answers(outputs, preprocessing))


def _load_pyfunc(data_path: str) -> ServedModel:
    return ServedModel(artifact.load(Path(data_path) / "model.keras"))
