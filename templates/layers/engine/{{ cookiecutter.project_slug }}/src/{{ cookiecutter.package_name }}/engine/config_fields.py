"""Sections of the configuration with the fields of every project; ``config.py`` adds to them.

Each field has a type, a default, bounds, and a description with its unit: ``train --help`` prints
them. This module is imported before TensorFlow and must stay light.
"""

import fnmatch
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from .errors import unknown


class Section(BaseModel):
    """A group of fields. Unknown fields are refused, values are validated, instances are frozen."""

    # Validators are built when first used: `train --help` does without them.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True, protected_namespaces=()
    )


@dataclass(frozen=True)
class NameIn:
    """Annotates a field whose value must be a name in a table of ``registry.py``.

    Args:
        table: names, or patterns such as ``tfds:*``; read anew for each value, so that names may be
            added while the program runs.
    """

    table: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source, handler):
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def _validate(self, value: str) -> str:
        if any(fnmatch.fnmatchcase(value, name) for name in self.table):
            return value
        text = str(unknown("", value, self.table)).removeprefix(": ").rstrip(".")
        raise PydanticCustomError("unknown_name", "{text}", {"text": text})


class DataFields(Section):
    """Where the examples come from and how they are fed."""

    source: str = Field(description="a name of SOURCES in registry.py")
    path: str | None = Field(None, description="file or folder that the source reads")
    limit: int | None = Field(
        None, ge=1, description="use at most this many examples, to try things quickly"
    )
    batch_size: int = Field(128, ge=1, description="global batch, in examples on all devices")
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto", description="where prepared examples are kept; auto: memory up to 1 GiB, else disk"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="share for validation, where the source has no such split"
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=0.5, description="share for the test, where the source has no such split"
    )
    split_seed: int = Field(
        0, ge=0, description="seed of the split; the same for all runs that are to be compared"
    )
    slice_columns: str = Field(
        "", description="columns of the source, separated by commas, that evaluation slices by"
    )
    max_unreadable: float = Field(
        0.05, ge=0, le=1, description="largest tolerated share of unreadable files"
    )


class ModelFields(Section):
    """Which model is built."""

    name: str = Field(description="a name of MODELS in registry.py")


class TrainFields(Section):
    """How the model is trained."""

    loss: str = Field(description="a name of LOSSES in registry.py")
    epochs: int = Field(20, ge=1, description="passes over the training split")
    max_steps: int | None = Field(None, ge=1, description="stop after this many batches")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of weights, order and augmentation")
    deterministic: bool | None = Field(
        None, description="exactly repeatable operations; unset: yes, except on GPUs"
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw", description="AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum"
    )
    learning_rate: float = Field(1e-3, gt=0, le=10, description="peak learning rate, per step")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="decoupled decay, per step and rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    schedule: Literal["constant", "cosine", "step"] = Field(
        "cosine",
        description="decay after the warm-up; step: a tenth at 1/2 and at 3/4 of the steps",
    )
    warmup_fraction: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the rate rises from zero"
    )
    gradient_clip_norm: float | None = Field(
        1.0, gt=0, description="largest global norm of the gradient"
    )
    accumulate_steps: int = Field(
        1,
        ge=1,
        description="parts of each batch that are worked on one after the other: as one, with less "
        "memory",
    )
    recompute: bool = Field(
        False,
        description="compute what layers hold again when gradients need it: less memory, a third "
        "more work",
    )
    master_weights: bool = Field(
        True,
        description="runtime.precision bfloat16: the optimizer keeps float32 copies of the weights",
    )
    early_stopping_patience: int = Field(
        10, ge=0, description="epochs without a better validation loss before it stops; 0: never"
    )
    init_from: str | None = Field(
        None, description="start from the weights of a run (latest, an id) or an MLflow model URI"
    )
    log_every_steps: int = Field(50, ge=1, description="batches between two lines of metrics.jsonl")
    checkpoint_every_steps: int | None = Field(
        None, ge=1, description="batches between two checkpoints; unset: by time"
    )
    checkpoint_every_minutes: float = Field(
        0.5,
        gt=0,
        description="longest time between two checkpoints; earlier where an epoch ends and it "
        "costs little",
    )
    keep_checkpoints: int = Field(3, ge=1, description="newest checkpoints of a run that stay")
    steps_per_execution: int | None = Field(
        None, ge=1, description="batches in one call; unset: about a tenth of a second's"
    )
    tensorboard: bool = Field(
        False, description="write scalars and the graph for TensorBoard to the run's folder"
    )
    profile_steps: str | None = Field(
        None,
        pattern=r"^[1-9]\d*:[1-9]\d*$",
        description="calls (see steps_per_execution) that TensorBoard traces, such as 100:110; on "
        "jax from Python 3.12 on",
    )


class RuntimeFields(Section):
    """What it runs on."""

    backend: Literal["tensorflow", "jax"] | None = Field(
        None, description="Keras backend; unset: KERAS_BACKEND, else tensorflow"
    )
    strategy: Literal[
        "auto",
        "single",
        "mirrored",
        "multi_worker",
        "data_parallel",
        "model_parallel",
        "fsdp",
        "tpu",
    ] = Field(
        "auto",
        description="one device, all of this machine (mirrored on tensorflow; data_parallel, "
        "model_parallel and fsdp on jax, which divide batches, large layers, or batches and all "
        "weights), or several machines",
    )
    devices: int | None = Field(
        None, ge=1, description="use so many of this machine's devices; unset: all"
    )
    model_devices: int | None = Field(
        None, ge=2, description="model_parallel: devices that a large layer is divided among"
    )
    virtual_devices: int | None = Field(
        None, ge=1, le=64, description="split the CPU into this many devices, to rehearse"
    )
    threads_per_operation: int | None = Field(
        None,
        ge=1,
        description="tensorflow: CPU threads that one operation is divided among; unset: "
        "TF_NUM_INTRAOP_THREADS, else all",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16", "bfloat16"] = Field(
        "auto",
        description="compute type; bfloat16: of the weights too; auto: float32 on CPUs, a mixed "
        "one on GPUs that gain",
    )


# ``register`` is a method of every class of Python's ABCs too, which nobody calls on a section.
warnings.filterwarnings("ignore", 'Field name "register"')


class TrackingFields(Section):
    """Where runs are recorded."""

    enabled: bool = Field(True, description="record in MLflow; false: in the run's folder alone")
    uri: str | None = Field(
        None, description="MLflow server or store; unset: MLFLOW_TRACKING_URI, else ./mlflow.db"
    )
    experiment: str | None = Field(None, description="MLflow experiment; unset: the package's name")
    register: bool = Field(True, description="register the model under the experiment's name")


class BaseConfig(Section):
    """Everything that decides what a run does; ``Config`` in ``config.py`` has its own sections."""

    data: DataFields
    model: ModelFields
    train: TrainFields
    runtime: RuntimeFields = Field(default_factory=RuntimeFields)
    tracking: TrackingFields = Field(default_factory=TrackingFields)

    def without_secrets(self) -> dict[str, dict[str, Any]]:
        """Return the fields of all sections as they may be recorded.

        Fields of the type ``pydantic.SecretStr`` are left out; URLs lose user and password.
        """
        return {
            section: {
                name: without_password(value) if isinstance(value, str) else value
                for name, value in getattr(self, section).model_dump(mode="json").items()
                if not isinstance(getattr(getattr(self, section), name), SecretStr)
            }
            for section in type(self).model_fields
        }

    def to_yaml(self) -> str:
        """Return the recorded form of all fields, which ``--config`` reads."""
        import yaml

        return yaml.safe_dump(self.without_secrets(), sort_keys=False, allow_unicode=True)


def without_password(uri: str) -> str:
    """Return a URI without user and password, and without passwords among its query options.

    SQLite has none of them, but the path of its file may hold an ``@``.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "sqlite":
        return uri
    public = f"{scheme}://{rest.rpartition('@')[2]}"
    return re.sub(r"([?&](?:password|passwd|odbc_connect)=)[^&]*", r"\1", public)
