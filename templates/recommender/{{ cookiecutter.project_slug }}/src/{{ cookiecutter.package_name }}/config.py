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
    TrainFields,
)
from .registry import LOSSES, MODELS, SOURCES


class DataConfig(DataFields):
    """Where interactions come from, and which of them are held out."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    user_column: str = Field("user", description="tables: column of user ids")
    item_column: str = Field("item", description="tables: column of item ids")
    timestamp_column: str = Field(
        "timestamp", description="tables: column of timestamps (numbers or dates)"
    )
    rating_column: str | None = Field(
        None,
        description="tables: column of ratings or weights; unset: all interactions count alike",
    )
    min_rating: float | None = Field(
        None,
        description="interactions rated lower stay in the history, but are never a target",
    )
    query: str | None = Field(None, description="sql: a query that returns these columns")
    user_features: str | None = Field(
        None, description="a csv or parquet file with user_column and features of users"
    )
    item_features: str | None = Field(
        None, description="a csv or parquet file with item_column and features of items"
    )
    split: Literal["last", "time"] = Field(
        "last",
        description="last: leave one out, the last interaction of each user for the test and the "
        "one before for validation; time: one cut in time for all users",
    )
    repeats: Literal["drop", "keep"] = Field(
        "drop",
        description="drop: only the first interaction of a user with an item counts, and seen "
        "items are not recommended; keep: all count, and seen items may be recommended",
    )
    min_interactions: int = Field(
        1, ge=1, description="k-core: repeatedly drop users and items with fewer interactions"
    )
    max_history: int = Field(
        50, ge=2, le=10_000, description="newest interactions of a user that a model sees"
    )
    batch_size: int = Field(
        64, ge=1, description="global batch size over all devices, in histories"
    )


class ModelConfig(ModelFields):
    """Which model to build."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    embedding_dim: int = Field(
        64, ge=4, le=4096, description="dimension of the embeddings of users and items"
    )
    num_blocks: int = Field(2, ge=1, le=24, description="sasrec: transformer blocks")
    num_heads: int = Field(2, ge=1, le=64, description="sasrec: attention heads")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate")
    num_negatives: int = Field(
        1024,
        ge=1,
        description="large catalogues: items sampled per training step to compare targets with",
    )


class TrainConfig(TrainFields):
    """How to train the model."""

    loss: Annotated[str, NameIn(LOSSES)] = Field(
        "next_item", description="a name of LOSSES in registry.py"
    )
    epochs: int = Field(30, ge=1, description="passes over the training split")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="peak learning rate, per step")
    # Strong decay: for an item with few interactions, features and popularity are better evidence
    # than its own embedding.
    weight_decay: float = Field(
        1.0, ge=0, le=10, description="decoupled decay per step, times learning rate"
    )
    early_stopping_patience: int = Field(
        8, ge=0, description="stop after so many epochs without a better validation loss; 0: never"
    )


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


# Words of the command line, with ``base=FILE`` for a file below them -> ``Config``.
load_config = partial(config_loader.load, Config)
