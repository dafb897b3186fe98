"""This project's configuration fields; those of every project: ``engine/config_fields.py``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .engine import config_loader
from .engine.config_fields import (
    BaseConfig,
    DataFields,
    ModelFields,
    NameIn,
    TrainFields,
)
from .registry import LOSSES, MODELS, SOURCES


class DataConfig(DataFields):
    """Where the events come from, and what is held out of them."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    user_column: str = Field("user", description="tables: column of users")
    item_column: str = Field("item", description="tables: column of items")
    timestamp_column: str = Field(
        "timestamp", description="tables: column of times (numbers or dates)"
    )
    rating_column: str | None = Field(
        None, description="tables: column of ratings, or of weights of the events; unset: all alike"
    )
    least_rating: float | None = Field(
        None, description="events with a lower rating are known, but nothing to recommend"
    )
    query: str | None = Field(None, description="sql: a query that gives these columns")
    user_features: str | None = Field(
        None, description="a csv or parquet file with user_column and features of users"
    )
    item_features: str | None = Field(
        None, description="a csv or parquet file with item_column and features of items"
    )
    split: Literal["last", "time"] = Field(
        "last",
        description="held out: last: the last event of each user for the test, the one before for "
        "validation; time: all that is later than most events",
    )
    repeats: Literal["drop", "keep"] = Field(
        "drop",
        description="drop: only the first event of a user with an item counts, and what a user had "
        "is not recommended; keep: all count, and it may be",
    )
    least_events: int = Field(
        1, ge=1, description="leave out users and items with fewer events, again and again (k-core)"
    )
    max_history: int = Field(
        50, ge=2, le=10_000, description="events of a user that a model sees at once"
    )
    batch_size: int = Field(64, ge=1, description="global batch, in histories on all devices")


class ModelConfig(ModelFields):
    """Which model is built."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    width: int = Field(64, ge=4, le=4096, description="numbers that stand for a user or an item")
    blocks: int = Field(2, ge=1, le=24, description="sasrec: attention blocks")
    heads: int = Field(2, ge=1, le=64, description="sasrec: attention heads")
    dropout: float = Field(0.2, ge=0, lt=1, description="share dropped in training")
    negatives: int = Field(
        1024,
        ge=1,
        description="items that a target is compared with in training, of a large catalogue",
    )


class TrainConfig(TrainFields):
    """How the model is trained."""

    loss: Annotated[str, NameIn(LOSSES)] = Field("next_item", description="what training minimises")
    epochs: int = Field(30, ge=1, description="passes over the training split")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="peak learning rate, per step")
    # Much decay: of an item with few events its features and its popularity say more than it does.
    weight_decay: float = Field(1.0, ge=0, le=10, description="decoupled decay, per step and rate")
    early_stopping_patience: int = Field(
        8, ge=0, description="epochs without a better validation loss before it stops; 0: never"
    )


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


def load_config(
    argv: Sequence[str] = (),
    *,
    environment: Mapping[str, str] = os.environ,
    base: Path | None = None,
) -> Config:
    """Read the configuration from its sources, see ``engine/config_loader.py``.

    Args:
        argv: words of the command line: ``--config FILE`` and ``--section.field VALUE``.
        environment: where ``APP__SECTION__FIELD`` is looked up.
        base: a YAML file that ``--config`` overrides, such as that of an earlier run.

    Raises:
        UsageProblem: a field is unknown or its value is not allowed.
    """
    return config_loader.load(Config, argv, environment=environment, base=base)
