"""This project's configuration fields; those of every project: ``engine/config_fields.py``."""

from functools import partial
from typing import Annotated

from pydantic import Field

from .engine import config_loader
from .engine.config_fields import BaseConfig, DataFields, ModelFields, NameIn, TrainFields
from .registry import LOSSES, MODELS, SOURCES


class DataConfig(DataFields):
    """Where the series come from, and how they are cut into windows."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    series_column: str = Field("series", description="csv: column of the names of the series")
    date_column: str = Field("date", description="csv: column of the days, as 2026-01-31")
    value_column: str = Field("value", description="csv: column of the values, 0 or more")
    context: int = Field(
        56, ge=7, le=1_000, description="days that a forecast is made from; a season at least"
    )
    horizon: int = Field(14, ge=1, le=366, description="days that are forecast")
    season: int = Field(7, ge=1, le=366, description="days after which a series resembles itself")
    stride: int = Field(2, ge=1, description="days between two windows of the training split")


class ModelConfig(ModelFields):
    """Which model to build."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    width: int = Field(128, ge=1, le=8192, description="units of each hidden layer")
    depth: int = Field(2, ge=1, le=32, description="hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate")


class TrainConfig(TrainFields):
    """How to train the model."""

    loss: Annotated[str, NameIn(LOSSES)] = Field(
        "absolute", description="a name of LOSSES in registry.py"
    )
    epochs: int = Field(30, ge=1, description="passes over the training split")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="peak learning rate, per step")


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


# Words of the command line, with ``base=FILE`` for a file below them -> ``Config``.
load_config = partial(config_loader.load, Config)
