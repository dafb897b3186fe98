"""This project's configuration fields; those of every project: ``engine/config_fields.py``."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from .engine import config_loader
from .engine.config_fields import (
    BaseConfig,
    DataFields,
    ModelFields,
    NameIn,
    RuntimeFields,
    TrainFields,
)
from .registry import LOSSES, MODELS, SOURCES


class DataConfig(DataFields):
    """Where the patients' data comes from, and how it is divided."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    query: str | None = Field(None, description="sql: a query that gives the table")
    schema_file: str | None = Field(
        None, description="tables: what their columns hold; inspect_data writes it"
    )
    allow: str | None = Field(
        None,
        description="columns, with commas between them, that may be used although they look as if "
        "they told who a patient is",
    )
    split: Literal["patient", "site", "time", "external"] = Field(
        "patient",
        description="test: patient: patients drawn at random; site: all of test_sites; time: "
        "patients who came last; external: everybody, to evaluate a model elsewhere",
    )
    test_sites: str | None = Field(
        None, description="split site: sites, with commas between them, that are held out"
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="split patient: divide into so many, of which one is the test",
    )
    fold: int = Field(0, ge=0, description="which of the folds is the test, from 0 on")
    batch_size: int = Field(32, ge=1, description="global batch, in rows on all devices")


class ModelConfig(ModelFields):
    """Which model is built, and how its risks are read."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    width: int = Field(64, ge=1, le=4096, description="mlp, wide_deep: units of the first layer")
    dropout: float = Field(0.3, ge=0, lt=1, description="share dropped in training")
    bins: int = Field(8, ge=2, le=256, description="wide_deep: pieces of each number's curve")
    members: int = Field(5, ge=1, le=50, description="ensemble: networks, each with its own seed")
    recalibration: Literal["auto", "platt", "isotonic", "none"] = Field(
        "auto",
        description="how risks are set right on the validation split; auto: isotonic where it has "
        "many events, else platt",
    )
    min_sensitivity: float = Field(
        0.9,
        gt=0,
        le=1,
        description="the operating point reaches it in validation, with the fewest false alarms",
    )
    cost_ratio: float | None = Field(
        None,
        gt=0,
        description="how many false alarms a missed patient is worth; if set, the operating point "
        "has the least cost in validation instead",
    )


class TrainConfig(TrainFields):
    """How the model is trained."""

    loss: Annotated[str, NameIn(LOSSES)] = Field(
        "cross_entropy", description="what training minimises"
    )
    imbalance: Literal["none", "weights", "resample"] = Field(
        "none",
        description="rare outcomes: weights: both count the same; resample: drawn more often, in "
        "training alone",
    )
    epochs: int = Field(60, ge=1, description="passes over the training split")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="peak learning rate, per step")
    # Much decay: clinical sets are small, and training begins at a regression that is fitted.
    weight_decay: float = Field(
        5.0,
        ge=0,
        le=20,
        description="decoupled decay, per step and rate; with more than 1,000 training rows less, "
        "in proportion",
    )


class RuntimeConfig(RuntimeFields):
    """What it runs on."""

    threads_per_operation: int | None = Field(
        1,
        ge=1,
        description="tensorflow: CPU threads that one operation is divided among; rows are so "
        "small that dividing costs more than it gains",
    )


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)


# Words of the command line, with ``base=FILE`` for a file below them -> ``Config``.
load_config = partial(config_loader.load, Config)
