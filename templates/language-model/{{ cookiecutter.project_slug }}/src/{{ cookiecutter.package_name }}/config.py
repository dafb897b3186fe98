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
    text_column: str = Field("text", description="rows: column of texts")
    id_column: str | None = Field(None, description="rows: column of row ids; unset: row numbers")
    group_column: str | None = Field(
        None, description="rows: column (author, thread, …) whose groups stay in one split each"
    )
    split_column: str | None = Field(
        None, description="rows: column with train, validation or test; unset: none"
    )
    format: Literal["auto", "text", "chat", "alpaca", "preference"] = Field(
        "auto",
        description="rows: a text; a chat in OpenAI's or ShareGPT's form; instruction, input and "
        "output; a prompt with a chosen and a rejected answer; auto: by their columns",
    )
    encoding: str = Field(
        "utf-8", description="of text and jsonl files, by its name in Python (gb18030, …)"
    )
    tokens: Annotated[str, NameIn(TOKENIZERS)] = Field(
        "auto",
        description="a name of TOKENIZERS in registry.py; auto: the preset's, else subwords",
    )
    vocabulary_size: int | None = Field(
        None,
        ge=8,
        le=1_000_000,
        description="largest number of tokens in the vocabulary; unset: by the size of the "
        "training texts",
    )
    chat_template: str | None = Field(
        None,
        description="file with a chat template in Jinja; unset: the preset's, else our own",
    )
    packing: bool | None = Field(
        None,
        description="put several short texts into a row, none of which sees the others; unset: "
        "yes, except for presets, whose rows are sorted by length",
    )
    test_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="share for the test, where the source has no such split"
    )
    near_duplicates: float = Field(
        0.8,
        gt=0,
        le=1,
        description="share of common word groups from which on two texts stay in one split",
    )
    batch_size: int = Field(16, ge=1, description="global batch, in rows on all devices")


class ModelConfig(ModelFields):
    """The model and its hyperparameters."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    context: int | None = Field(
        None,
        ge=4,
        le=1_000_000,
        description="tokens that the model sees at once; unset: 128; presets: 512, or what they "
        "take if that is less",
    )
    layers: int = Field(4, ge=1, le=200, description="transformer blocks of gpt and gpt2")
    heads: int = Field(4, ge=1, le=256, description="attention heads; divides embedding_dim")
    embedding_dim: int = Field(
        160, ge=4, le=16_384, description="size of token embeddings and of the blocks"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout rate; unset: gpt 0.2, gpt2 0.1, presets none"
    )
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="gpt: rotary (Su et al. 2021) or learned positions"
    )
    preset: str | None = Field(
        None,
        description="model preset: a folder in Hugging Face's or KerasHub's form, hf://…, "
        "kaggle://…, modelscope://… or a name that KerasHub knows",
    )
    tuning: Literal["full", "lora", "qlora"] = Field(
        "full",
        description="presets: train all weights, low-rank adapters, or adapters of a quantised "
        "network",
    )
    lora_rank: int = Field(8, ge=1, le=1024, description="lora, qlora: rank of the adapters")
    lora_alpha: float | None = Field(
        None, gt=0, description="lora, qlora: scale of the adapters times their rank; unset: rank"
    )
    lora_targets: str = Field(
        "query,value",
        description="lora, qlora: layers with adapters, separated by commas: query, key, value, "
        "output, feedforward; all",
    )
    quantization: Literal["int8", "int4"] = Field(
        "int8", description="qlora: type of the frozen weights"
    )


class TrainConfig(TrainFields):
    """Training of the model."""

    loss: Annotated[str, NameIn(LOSSES)] = Field(
        "next_token",
        description="loss that training minimises: next_token (of chats, the answers), or dpo "
        "(Rafailov et al. 2023) on preference pairs",
    )
    dpo_beta: float = Field(
        0.1, gt=0, le=10, description="dpo: how much straying from the reference costs"
    )
    epochs: int | None = Field(  # type: ignore[assignment]
        None, ge=1, description="passes over the training split; unset: 14; presets: 3"
    )
    learning_rate: float | None = Field(  # type: ignore[assignment]
        None,
        gt=0,
        le=10,
        description="peak learning rate, per step; unset: 2e-3; presets: full 2e-5, lora 2e-4; dpo "
        "a tenth of that",
    )
    weight_decay: float | None = Field(  # type: ignore[assignment]
        None, ge=0, le=10, description="decoupled decay, per step and rate; unset: 1; presets: 0.01"
    )


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


# Words of the command line, with ``base=FILE`` for a file below them -> ``Config``.
load_config = partial(config_loader.load, Config)
