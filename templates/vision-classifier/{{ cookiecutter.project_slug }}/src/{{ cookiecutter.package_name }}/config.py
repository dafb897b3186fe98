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
    """Source of the images, and how they are split, resized and augmented."""

    source: Annotated[str, NameIn(SOURCES)] = Field(
        next(iter(SOURCES)), description="a name of SOURCES in registry.py"
    )
    path_column: str = Field("path", description="csv: column of image paths")
    label_column: str = Field("label", description="csv: column of labels")
    group_column: str | None = Field(
        None,
        description="csv: column (patient, camera, …) whose groups stay in one split each",
    )
    split_column: str | None = Field(
        None, description="csv: column with train, validation or test; unset: none"
    )
    image_size: int | None = Field(
        None,
        ge=4,
        le=2048,
        description="height and width in pixels; unset: the images' own size if they share one of "
        "at most 96, else what suits the model",
    )
    channels: Literal["auto", "1", "3"] = Field(
        "auto", description="grey or colour; auto: grey if all training images are"
    )
    resize: Literal["stretch", "crop", "pad"] = Field(
        "stretch", description="how to fit an image of another aspect ratio"
    )
    batch_size: int = Field(32, ge=1, description="global batch, in examples on all devices")
    augment_shift: float = Field(0.1, ge=0, lt=1, description="largest shift, fraction of the size")
    augment_rotation: float = Field(10.0, ge=0, le=180, description="largest rotation, degrees")
    augment_zoom: float = Field(0.1, ge=0, lt=1, description="largest zoom in or out, fraction")
    augment_flip: bool = Field(False, description="flip left and right (harms digits and text)")
    augment_color: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="largest change of brightness, contrast and saturation, as a fraction",
    )


class ModelConfig(ModelFields):
    """The model and its hyperparameters."""

    name: Annotated[str, NameIn(MODELS)] = Field(
        next(iter(MODELS)), description="a name of MODELS in registry.py"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate before the last layer")
    weights: str = Field(
        "imagenet", description="pretrained models: imagenet, a .weights.h5 file, or none"
    )
    fine_tune_epochs: int = Field(
        5, ge=0, description="pretrained models: epochs with the backbone unfrozen, at the end"
    )
    fine_tune_learning_rate: float = Field(
        1e-5, gt=0, le=1, description="pretrained models: learning rate of these epochs"
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
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each target spread over all classes"
    )
    epochs: int = Field(60, ge=1, description="passes over the training split")
    learning_rate: float = Field(3e-3, gt=0, le=10, description="peak learning rate, per step")


class Config(BaseConfig):
    """Everything that decides what a run does."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


# Words of the command line, with ``base=FILE`` for a file below them -> ``Config``.
load_config = partial(config_loader.load, Config)
