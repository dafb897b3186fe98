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
from .registry import LOSSES, MODELS, SOURCES, TOKENIZERS


class DataConfig(DataFields):
    """Source of the texts, and how they are split and tokenised."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    text_column: str = Field("text", description="files and data sets: column of texts")
    label_column: str = Field("label", description="files and data sets: column of labels")
    label_separator: str | None = Field(
        None,
        min_length=1,
        max_length=5,
        description="separator of several labels in a row, such as ;; unset: one label per row",
    )
    id_column: str | None = Field(None, description="files: column of row ids; unset: row numbers")
    group_column: str | None = Field(
        None, description="files: column (author, thread, …) whose groups stay in one split each"
    )
    split_column: str | None = Field(
        None, description="files: column with train, validation or test; unset: none"
    )
    encoding: str = Field(
        "utf-8", description="of csv, tsv, jsonl and txt files, by its name in Python (gb18030, …)"
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="csv: separator of fields")
    tokenizer: Annotated[str, NameIn(TOKENIZERS)] = Field(
        "auto",
        description="a name of TOKENIZERS in registry.py; auto: character for scripts without "
        "spaces between words, else word",
    )
    lowercase: bool = Field(True, description="convert texts to lower case")
    vocabulary_size: int = Field(
        30_000, ge=10, le=1_000_000, description="largest number of tokens in the vocabulary"
    )
    sequence_length: int | None = Field(
        None,
        ge=4,
        le=100_000,
        description="tokens after which a text is truncated; unset: enough for 98 % of the "
        "training texts, at most 512",
    )
    augment_token_dropout: float = Field(
        0.2, ge=0, lt=1, description="share of tokens replaced by the unknown token in training"
    )
    batch_size: int = Field(32, ge=1, description="global batch, in examples on all devices")


class ModelConfig(ModelFields):
    """The model and its hyperparameters."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    preset: str | None = Field(
        None,
        description="pretrained models: a preset of KerasHub (a name, kaggle://…, hf://… or a "
        "folder); unset: the model's own",
    )
    tuning: Literal["full", "frozen", "lora"] = Field(
        "full",
        description="pretrained models: train all weights, only the head, or low-rank adapters",
    )
    lora_rank: int = Field(8, ge=1, le=1024, description="tuning lora: rank of the adapters")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout rate before the last layer")
    embedding_dim: int = Field(
        128, ge=4, le=4096, description="size of token embeddings and of the layers above them"
    )


class TrainConfig(TrainFields):
    """Training of the model."""

    loss: Annotated[str, NameIn(LOSSES)] = Field(
        "cross_entropy", description="loss that training minimises"
    )
    class_weights: Literal["auto", "none", "balanced"] = Field(
        "auto",
        description="give rare classes more weight; auto: balanced if the largest class has over "
        "3 times the examples of the smallest",
    )
    epochs: int | None = Field(  # type: ignore[assignment]
        None,
        ge=1,
        description="passes over the training split; unset: 20; pretrained models with tuning full "
        "or lora: 4",
    )
    learning_rate: float | None = Field(  # type: ignore[assignment]
        None,
        gt=0,
        le=10,
        description="peak learning rate, per step; unset: 2e-3; pretrained models with tuning "
        "full: 5e-5, lora: 5e-4",
    )
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="share of each target spread over all classes"
    )


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


# Words of the command line, with ``base=FILE`` for a file below them -> ``Config``.
load_config = partial(config_loader.load, Config)
