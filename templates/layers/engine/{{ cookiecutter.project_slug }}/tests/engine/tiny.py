"""A task that trains in a moment: two classes of points that a small network can tell apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.engine.errors import DataProblem
from {{ cookiecutter.package_name }}.engine.interfaces import (
    DatasetSplits,
    Phase,
    Requests,
    Split,
    Task,
)
from {{ cookiecutter.package_name }}.engine.requests import check_fields, read_each

FEATURES = 8


@dataclass(frozen=True)
class Preprocessing:
    """Subtract the mean of the training split."""

    mean: tuple[float, ...] = ()
    lengths = max_length = None

    @classmethod
    def fit(cls, train: Split, config: Config) -> "Preprocessing":
        points = train.fetch(tf.range(len(train), dtype=tf.int64)).numpy()
        return cls(tuple(map(float, points.mean(axis=0))))

    def prepare(self, raw: tf.Tensor) -> tf.Tensor:
        return raw

    def finish(self, prepared: tf.Tensor) -> tf.Tensor:
        return prepared - tf.constant(self.mean, tf.float32)

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        return self.finish(self.prepare(tf.convert_to_tensor(raw)))

    def encode_targets(self, targets: np.ndarray) -> np.ndarray:
        return targets.astype("int32")

    def to_config(self) -> dict[str, Any]:
        return {"mean": list(self.mean)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        return cls(tuple(config["mean"]))

    def notes(self) -> dict[str, Any]:
        return {}


def load(config: Config, preprocessing: Any) -> DatasetSplits:
    """Return 140, 20 and 40 points (size, 8) float32 and whether their sum is positive."""
    points = np.random.default_rng(0).normal(size=(200, FEATURES)).astype("float32")
    labels = (points.sum(axis=1) > 0).astype("int32")

    def part(start: int, end: int) -> Split:
        with tf.device("CPU:0"):
            own = tf.constant(points[start:end])
        ids = np.array([str(i) for i in range(start, end)])
        return Split(ids, labels[start:end], lambda at: tf.gather(own, at), in_memory=True)

    digest = f"tiny-{config.data.split_seed}"
    return DatasetSplits("tiny", digest, part(0, 140), part(140, 160), part(160, 200))


def build_model(config: Config, preprocessing: Preprocessing) -> keras.Model:
    """Return a network with all that a step must keep: dropout, statistics, a penalty."""
    point = keras.Input((FEATURES,))
    x = keras.layers.Dense(16, activation="relu", kernel_regularizer="l2", name="hidden")(point)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(config.model.dropout or 0.1)(x)
    return keras.Model(point, keras.layers.Dense(2, dtype="float32", name="logits")(x))


def measure(split: Split, outputs: np.ndarray, preprocessing: Preprocessing) -> dict[str, float]:
    return {"accuracy": float(np.mean(outputs.argmax(axis=-1) == split.targets))}


def measure_baselines(data: DatasetSplits, preprocessing: Any, config: Config) -> list[dict]:
    share = max(data.test.targets.mean(), 1 - data.test.targets.mean())
    return [{"name": "majority class", "metrics": {"test/accuracy": float(share)}}]


def decode_predictions(outputs: np.ndarray, preprocessing: Any) -> list[dict[str, Any]]:
    return [{"prediction": str(row.argmax()), "scores": {"1": float(row[1])}} for row in outputs]


def example(data: DatasetSplits, preprocessing: Any) -> pd.DataFrame:
    return pd.DataFrame({"point": [",".join(["0.5"] * FEATURES)]})


def request_schema(preprocessing: Any) -> dict[str, Any]:
    point = {"type": "string", "title": "Point"}
    return {
        "type": "object",
        "title": "Point",
        "properties": {"point": point},
        "required": ["point"],
        "additionalProperties": False,
        "examples": [{"point": ",".join(["0.5"] * FEATURES)}],
    }


def read_requests(
    rows: Sequence[Mapping[str, Any]], preprocessing: Any, config: Config | None
) -> Requests:
    def read(row: Mapping[str, Any]) -> np.ndarray:
        check_fields(row, ("point",), required=("point",))
        try:
            return np.array(row["point"].split(","), "float32").reshape(FEATURES)
        except (AttributeError, ValueError):
            raise DataProblem(f"point: it needs {FEATURES} numbers.") from None

    def make_split(ids: np.ndarray, points: list[np.ndarray]) -> Split:
        own = np.reshape(np.array(points, "float32"), (-1, FEATURES))
        return Split(ids, np.array([]), lambda at: tf.convert_to_tensor(own[np.asarray(at)]))

    return read_each(rows, read, make_split)


def signature(preprocessing: Any) -> dict[str, Any]:
    column = {"type": "string", "required": True}
    return {
        "inputs": [{"name": "point", **column}],
        "outputs": [
            {"name": "prediction", **column},
            {"name": "scores", "type": "map", "values": {"type": "double"}, "required": True},
        ],
    }


def make_loss(config: Config, preprocessing: Any) -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_accuracy(config: Config, preprocessing: Any) -> keras.metrics.Metric:
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def train_in_one_phase(config: Config) -> list[Phase]:
    """Return one phase, also where the project's own defaults depend on its model."""
    train = config.train
    return [Phase("all", train.epochs or 20, train.learning_rate or 1e-3)]


def make_task(loss: str, **parts: Any) -> Task:
    """Return the task.

    Args:
        loss: the name that the project's configuration has for its default loss.
        parts: parts to add or to replace.
    """
    usual: dict[str, Any] = {
        "name": "tiny",
        "load": load,
        "preprocessing": Preprocessing,
        "build_model": build_model,
        "losses": {loss: make_loss},
        "metrics": {"accuracy": make_accuracy},
        "phases": train_in_one_phase,
        "measure": measure,
        "measure_baselines": measure_baselines,
        "decode_predictions": decode_predictions,
        "predict": lambda model, arguments, config: iter(()),
        "format_predictions": lambda rows: iter(()),
        "signature": signature,
        "example": example,
        "request_schema": request_schema,
        "read_requests": read_requests,
    }
    return Task(**(usual | parts))
