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


def split_commas(text: str | None) -> set[str]:
    """Split a comma-separated list of names, such as ``data.allow``; empty names are dropped."""
    return {name.strip() for name in (text or "").split(",")} - {""}


class DataConfig(DataFields):
    """Source of the patients' data, and its splits."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    query: str | None = Field(None, description="sql: the query whose result is the table")
    schema_file: str | None = Field(
        None, description="csv, parquet, sql: the reviewed schema; inspect proposes one"
    )
    allow: str | None = Field(
        None,
        description="comma-separated columns that are used although they look as if they identify "
        "patients",
    )
    split: Literal["patient", "site", "time", "external"] = Field(
        "patient",
        description="the test split: patient: random patients; site: all rows of test_sites; time: "
        "the latest patients; external: all rows, to evaluate a model on data from elsewhere",
    )
    test_sites: str | None = Field(
        None, description="split site: comma-separated sites to hold out"
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="split patient: number of folds, one of which is the test split",
    )
    fold: int = Field(0, ge=0, description="the fold that is the test split, from 0")
    batch_size: int = Field(32, ge=1, description="rows a step, on all devices together")


class ModelConfig(ModelFields):
    """The model, its recalibration and its operating point."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    width: int = Field(64, ge=1, le=4096, description="units of the first dense layer")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of hidden units dropped in training")
    bins: int = Field(
        8, ge=2, le=256, description="pieces of the curve that wide_deep fits to each number"
    )
    members: int = Field(
        5, ge=1, le=50, description="ensemble: number of networks, each with its own seed"
    )
    recalibration: Literal["auto", "platt", "isotonic", "none"] = Field(
        "auto",
        description="calibration method, fitted on the validation split; auto: isotonic with at "
        "least 200 rows of either outcome, else platt",
    )
    min_sensitivity: float = Field(
        0.9,
        gt=0,
        le=1,
        description="sensitivity of the operating point on the validation split, with as few false "
        "alarms as possible",
    )
    cost_ratio: float | None = Field(
        None,
        gt=0,
        description="cost of a missed patient in false alarms; if set, the operating point has the "
        "lowest cost on the validation split instead",
    )


class TrainConfig(TrainFields):
    """Loss, class imbalance and schedule of training."""

    loss: Annotated[str, NameIn(LOSSES)] = Field(
        "cross_entropy", description="loss function; a name of LOSSES in registry.py"
    )
    imbalance: Literal["none", "class_weights", "oversample"] = Field(
        "none",
        description="balance the outcomes in training: class_weights weights the rows, oversample "
        "repeats rows of the rarer outcome",
    )
    epochs: int = Field(60, ge=1, description="passes over the training split")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="peak learning rate, per step")
    # Strong decay: clinical data sets are small, and training starts from a fitted regression.
    weight_decay: float = Field(
        5.0,
        ge=0,
        le=20,
        description="decoupled decay, per step and learning rate; beyond 1,000 training rows it "
        "falls in proportion",
    )


class RuntimeConfig(RuntimeFields):
    """Devices and threads."""

    threads_per_operation: int | None = Field(
        1,
        ge=1,
        description="tensorflow: CPU threads for one operation; with rows this small, more threads "
        "cost more than they gain",
    )


class Config(BaseConfig):
    """The complete configuration of a run."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)


# Parse command-line words into a ``Config``; ``base=FILE`` is a YAML file with lower precedence.
load_config = partial(config_loader.load, Config)
