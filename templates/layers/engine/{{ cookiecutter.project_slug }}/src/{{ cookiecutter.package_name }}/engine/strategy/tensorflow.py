"""The TensorFlow backend on one device."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..config_fields import RuntimeFields
from ..metrics import MetricSums
from ..train_step import TensorFlowStep
from . import Strategy


@dataclass(frozen=True)
class OneDevice(Strategy):
    """The device that TensorFlow takes by itself: the first GPU, else the CPU."""

    def compile(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        metrics: MetricSums,
        parts: int = 1,
        use_xla: bool = False,
    ) -> "TensorFlowSteps":
        step = TensorFlowStep(network, optimizer, loss, metrics, parts=parts)
        return TensorFlowSteps(step, use_xla)


class TensorFlowSteps:
    """``Steps`` of the TensorFlow backend: the loop over several batches is part of the graph.

    Args:
        step: what to do with a batch.
        use_xla: compile the step, not the loop, which reads batches.
    """

    def __init__(self, step: TensorFlowStep, use_xla: bool = False) -> None:
        self.metrics = step.metrics
        self.set_sums(step.metrics.zeros())
        parts: list[Callable] = [step.train, step.evaluate]
        if use_xla:
            parts = [tf.function(part, jit_compile=True, reduce_retracing=True) for part in parts]
        self._train, self._evaluate = (
            tf.function(self._loop(part), reduce_retracing=True) for part in parts
        )

    def feed(self, batches: tf.data.Dataset) -> Iterable[Any]:
        return batches

    def train(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        return self._call(self._train, batches, count, stop)

    def evaluate(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        return self._call(self._evaluate, batches, count, stop)

    def read_sums(self) -> list[np.ndarray]:
        return [value.numpy() for value in self._sums]

    def set_sums(self, values: list[np.ndarray]) -> None:
        with tf.device("CPU:0"):
            self._sums = [tf.constant(value) for value in values]

    def _call(self, steps: Callable, batches: Iterator[Any], count: int, stop: bool) -> bool:
        self._sums = steps(batches, tf.constant(count), self._sums)
        return stop

    def _loop(self, step: Callable) -> Callable:
        def steps(batches: Iterator[Any], count: tf.Tensor, sums: list[tf.Tensor]):
            for _ in tf.range(count):
                sums = self.metrics.add(sums, self._run(step, next(batches)))
            return sums

        return steps

    def _run(self, step: Callable, batch: Any) -> list[tf.Tensor]:
        """Return the sums over a global batch."""
        return step(batch)


def connect_one_device(runtime: RuntimeFields) -> OneDevice:
    """Set the precision and return the strategy of one device."""
    keras.config.set_dtype_policy(choose_precision(runtime.precision))
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    seen = describe_devices(len(tf.config.list_logical_devices(kind)), kind)
    return make_one_device(runtime.strategy, seen)


def make_one_device(requested: str, seen: str) -> OneDevice:
    """Return the strategy of one device.

    Args:
        requested: ``runtime.strategy``.
        seen: the devices in words.
    """
    reason = explain_choice(requested, f"it sees {seen}")
    return OneDevice("tensorflow", "single", 1, f"one device, {reason}")


def explain_choice(requested: str, finding: str) -> str:
    """Return why a run has its strategy: the user named it, or something was found.

    Args:
        requested: ``runtime.strategy``.
        finding: that decides for ``auto``.
    """
    return "as configured" if requested != "auto" else f"because {finding}"


def count_processes() -> int:
    """Return the number of processes in ``TF_CONFIG``; 1 if it is not set."""
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
    return sum(cluster.num_tasks(job) for job in cluster.jobs) or 1


def describe_devices(count: int, kind: str) -> str:
    """Return a number of devices in words: ``1 CPU device``, ``4 GPUs``.

    Args:
        count: of the devices.
        kind: ``CPU``, ``GPU`` or ``TPU``.
    """
    if kind == "CPU":
        return f"{count} CPU device{'s' * (count != 1)}"
    return f"{count} {kind}{'s' * (count != 1)}"


def choose_precision(requested: str) -> str:
    """Return the policy for ``runtime.precision``; ``auto`` depends on the GPUs."""
    if requested != "auto":
        return requested
    details = [
        tf.config.experimental.get_device_details(device)
        for device in tf.config.list_physical_devices("GPU")
    ]
    capabilities = [detail.get("compute_capability", (0, 0)) for detail in details]
    if not capabilities or min(capabilities) < (7, 0):
        return "float32"
    # bfloat16 needs no loss scaling, but runs fast only from Ampere (8.0) on.
    return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "mixed_float16"
