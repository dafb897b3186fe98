"""Distillation: a small network learns the outputs of a large one beside the labels.

Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015. In training, teacher and
student are one network, which gives the logits of both, so that the teacher sees the same inputs,
augmented as they are, on any strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ..artifact import Artifact
from ..errors import UsageProblem
from ..interfaces import DatasetSplits, Split, Task
from ..lookup import find
from ..trained_models import find_artifact
from .compatibility import check_inputs, check_preparation

FIELD = "compress.teacher"
STUDENT, TEACHER = "student", "teacher"


class DistillationLoss(keras.losses.Loss):
    """The loss of the labels, blended with the divergence from the teacher's softened outputs.

    Args:
        labels: the loss of the labels.
        columns: outputs of the student; those of the teacher follow them.
        exclusive: whether the outputs are logits of classes that exclude each other; else each of
            them is of its own question.
        weight: of the teacher.
        temperature: that both logits are divided by.
    """

    def __init__(
        self,
        labels: keras.losses.Loss,
        columns: int,
        exclusive: bool,
        weight: float,
        temperature: float,
    ) -> None:
        super().__init__(name="distillation")
        self.labels, self.columns, self.exclusive = labels, columns, exclusive
        self.weight, self.temperature = weight, temperature
        self.divergence = keras.losses.KLDivergence(reduction=None)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        student, teacher = y_pred[:, : self.columns], y_pred[:, self.columns :]
        divergence = self.divergence(self._soften(teacher), self._soften(student))
        if not self.exclusive:
            divergence = ops.mean(divergence, axis=-1)  # (batch, outputs) -> (batch,)
        # Gradients of softened outputs are smaller by the square of the temperature.
        divergence = divergence * self.temperature**2
        labels = self.labels.call(y_true, student)
        return (1 - self.weight) * labels + self.weight * divergence

    def _soften(self, logits: Any) -> Any:
        logits = ops.cast(logits, "float32") / self.temperature
        if self.exclusive:
            return ops.softmax(logits, axis=-1)
        if logits.shape[-1] != self.columns:  # one answer for all members of an ensemble
            logits = ops.repeat(logits, self.columns, axis=-1)
        return ops.stack([ops.sigmoid(logits), ops.sigmoid(-logits)], axis=-1)


class StudentMetric(keras.metrics.Metric):
    """A metric of the student's outputs alone.

    Args:
        metric: that is computed.
        columns: outputs of the student.
    """

    def __init__(self, metric: keras.metrics.Metric, columns: int) -> None:
        super().__init__(name=metric.name)
        self.metric, self.columns = metric, columns

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.metric.update_state(y_true, y_pred[:, : self.columns], sample_weight)

    def result(self) -> Any:
        return self.metric.result()


def add_teacher(task: Task, config: Any) -> Task:
    """Return a task whose network is taught by that of an earlier run.

    Args:
        task: of the project.
        config: of the run, whose ``compress.teacher`` names the earlier one.

    Raises:
        UsageProblem: training is to start from a model, whose weights the teacher would take too.
    """
    if config.train.init_from:
        raise UsageProblem(
            f"{FIELD}: a student begins from scratch; unset train.init_from or {FIELD}."
        )
    compress = config.compress
    found: dict[str, Any] = {}  # what only the built network tells

    def build_model(config: Any, preprocessing: Any) -> keras.Model:
        teacher, _ = find_artifact(compress.teacher, task, config, FIELD)
        student = task.build_model(config, preprocessing)
        check_inputs(FIELD, teacher, student)
        check_preparation(FIELD, teacher, preprocessing, found["train"])
        check_outputs(teacher, student, preprocessing)
        found["columns"] = student.output_shape[-1]
        return join(student, teacher.network)

    def wrap_loss(name: str, config: Any, preprocessing: Any) -> keras.losses.Loss:
        return DistillationLoss(
            find(task.losses, name)(config, preprocessing),
            found["columns"],
            is_exclusive(preprocessing, found["train"]),
            compress.teacher_weight,
            compress.temperature,
        )

    def wrap_metric(name: str, config: Any, preprocessing: Any) -> keras.metrics.Metric:
        return StudentMetric(find(task.metrics, name)(config, preprocessing), found["columns"])

    def load(config: Any, preprocessing: Any) -> DatasetSplits:
        data = task.load(config, preprocessing)
        found["train"] = data.train
        return data

    def finalize(trained: Artifact, data: DatasetSplits, config: Any) -> Artifact:
        student = take_student(trained.network)
        return task.finalize(replace(trained, network=student, task=task), data, config)

    return replace(
        task,
        load=load,
        build_model=build_model,
        losses=_wrap_all(task.losses, wrap_loss),
        metrics=_wrap_all(task.metrics, wrap_metric),
        finalize=finalize,
    )


def check_outputs(teacher: Artifact, student: keras.Model, preprocessing: Any) -> None:
    """Refuse a teacher with other outputs than the student's.

    Args:
        teacher: the earlier model.
        student: built, not trained.
        preprocessing: of the student.

    Raises:
        UsageProblem: their number or their classes differ.
    """
    columns, taught = student.output_shape[-1], teacher.network.output_shape[-1]
    if taught not in (columns, 1):
        raise UsageProblem(f"{FIELD}: it has {taught} outputs, and the student {columns}.")
    before, now = (_classes(part) for part in (teacher.preprocessing, preprocessing))
    if before != now:
        raise UsageProblem(f"{FIELD}: its classes are {before}, and those of the data {now}.")


def join(student: keras.Model, teacher: keras.Model) -> keras.Model:
    """Return a network with the logits of both, of which only the student is trained."""
    teacher.trainable = False
    inputs = student.input
    taught = keras.Model(teacher.input, teacher.output, name=TEACHER, trainable=False)
    own = keras.Model(student.input, student.output, name=STUDENT)
    outputs = layers.Concatenate(dtype="float32", name="logits_of_both")(
        [own(inputs), taught(inputs, training=False)]
    )
    return keras.Model(inputs, outputs, name=student.name)


def take_student(network: keras.Model) -> keras.Model:
    """Undo ``join``."""
    student = network.get_layer(STUDENT)
    return keras.Model(student.input, student.output, name=network.name)


def is_exclusive(preprocessing: Any, examples: Split) -> bool:
    """Return whether the targets are numbers of classes, of which each example has one.

    Args:
        preprocessing: encodes the targets.
        examples: with targets.
    """
    targets = preprocessing.encode_targets(examples.targets[:1])
    return targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)


def _classes(preprocessing: Any) -> Any:
    return getattr(preprocessing, "classes", None)


def _wrap_all(table: Mapping[str, Any], wrap: Callable[..., Any]) -> dict[str, Any]:
    return {name: partial(wrap, name) for name in table}
