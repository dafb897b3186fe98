"""The TensorFlow backend: one device, all GPUs of a machine, or several machines."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..config_fields import RuntimeFields
from ..errors import UsageProblem
from ..metrics import MetricSums
from ..train_step import TensorFlowStep
from . import (
    Shard,
    Strategy,
    describe_devices,
    rebuild,
    refuse_ignored_fields,
    select_devices,
    too_few_devices_error,
)
from .cluster import missing_cluster_error, tensorflow_cluster


@dataclass(frozen=True)
class TensorFlowStrategy(Strategy):
    """Devices of a ``tf.distribute`` strategy; ``None`` is one device."""

    distribute: tf.distribute.Strategy | None = None

    def scope(self):
        return self.distribute.scope() if self.distribute else super().scope()

    def compile(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        metrics: MetricSums,
    ) -> "TensorFlowSteps":
        step = TensorFlowStep(network, optimizer, loss, metrics, self.replicas)
        return TensorFlowSteps(self, step)

    def broadcast_bytes(self, message: np.ndarray) -> np.ndarray:
        return _sum_over_workers(self.distribute, tf.constant(message.astype("int32"))).numpy()

    def local_copy(self, network: keras.Model) -> keras.Model:
        return network if self.distribute is None else rebuild(network)


class TensorFlowSteps:
    """``Steps`` of the TensorFlow backend: the loop over several batches is part of the graph."""

    def __init__(self, strategy: TensorFlowStrategy, step: TensorFlowStep) -> None:
        self.distribute = strategy.distribute
        self.has_workers = strategy.processes > 1
        self.metrics = step.metrics
        if self.distribute:
            # Gradients are summed over the replicas before they are clipped and checked; Keras
            # would clip those of each replica, and then sum.
            inner = getattr(step.optimizer, "inner_optimizer", step.optimizer)
            inner._all_reduce_sum_gradients = lambda grads_and_variables: grads_and_variables
        self.set_sums(step.metrics.zeros())
        self._train = tf.function(self._loop(step.train), reduce_retracing=True)
        self._evaluate = tf.function(self._loop(step.evaluate), reduce_retracing=True)

    def feed(self, batches: tf.data.Dataset) -> Iterable[Any]:
        if self.distribute is None:
            return batches
        return self.distribute.distribute_datasets_from_function(lambda context: batches)

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
        stops, self._sums = steps(batches, tf.constant(count), tf.constant(float(stop)), self._sums)
        return bool(stops > 0.0) if self.has_workers else stop

    def _loop(self, step: Callable) -> Callable:
        def steps(batches: Iterator[Any], count: tf.Tensor, stop: tf.Tensor, sums: list[tf.Tensor]):
            stops = tf.constant(0.0)
            for _ in tf.range(count):
                batch_sums = self._run_on_replicas(step, next(batches), stop)
                if self.has_workers:
                    *batch_sums, stops = batch_sums
                sums = self.metrics.add(sums, batch_sums)
            return stops, sums

        return steps

    def _run_on_replicas(self, step: Callable, batch: Any, stop: tf.Tensor) -> list[tf.Tensor]:
        """Return the sums over a global batch and, of several processes, of ``stop``.

        In one process ``stop`` stays outside: a tensor that every pass of a loop hands to several
        virtual CPU devices makes TensorFlow hang.
        """
        if self.distribute is None:
            return step(batch)
        args = (batch, stop) if self.has_workers else (batch,)
        results = self.distribute.run(step, args=args)
        return [self.distribute.experimental_local_results(value)[0] for value in results]


def split_cpu(count: int) -> None:
    """Split the CPU into ``count`` virtual devices and hide all GPUs."""
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def connect(
    runtime: RuntimeFields, sharding_rules: Mapping[str, tuple[str | None, ...]]
) -> Strategy:
    """Select devices as ``strategy.connect`` says; only the JAX backend uses sharding rules.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    keras.config.set_dtype_policy(_choose_precision(runtime.precision))
    requested = runtime.strategy
    cluster = tensorflow_cluster()
    refuse_ignored_fields(runtime, cluster[1] if cluster else 1)
    if requested == "multi_worker" or (requested == "auto" and cluster and cluster[1] > 1):
        return _connect_workers(requested, cluster)
    if cluster and cluster[1] > 1:
        raise UsageProblem(
            f"runtime.strategy: {requested!r} is for one process, and TF_CONFIG names "
            f"{cluster[1]}; use 'multi_worker' or 'auto'."
        )
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    seen = describe_devices(len(names), kind)
    names = select_devices(names, runtime, seen)
    if requested == "mirrored" and len(names) < 2:
        raise too_few_devices_error(
            requested, seen if not runtime.devices else f"{runtime.devices} as configured"
        )
    reason = "as configured" if requested != "auto" else f"because it sees {seen}"
    if requested == "single" or len(names) == 1:
        return TensorFlowStrategy("tensorflow", "single", 1, f"one device, {reason}")
    # Collectives between virtual CPU devices may start in different orders and then fail.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    count = len(names)
    return TensorFlowStrategy(
        "tensorflow",
        "mirrored",
        count,
        f"{count} replicas, {reason}",
        shard=Shard(num_shards=count, count=count, multiple=count),
        distribute=tf.distribute.MirroredStrategy(names, reduction),
    )


def _connect_workers(requested: str, cluster: tuple[int, int] | None) -> Strategy:
    if cluster is None or cluster[1] < 2:
        raise missing_cluster_error("tensorflow")
    index, processes = cluster
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    here = replicas // processes
    reason = "as configured" if requested != "auto" else "because TF_CONFIG names them"
    return TensorFlowStrategy(
        "tensorflow",
        "multi_worker",
        replicas,
        f"worker {index} of {processes} with {here} replica{'s' * (here > 1)}, {reason}",
        shard=Shard(replicas, first=index * here, count=here, multiple=replicas),
        process=index,
        processes=processes,
        distribute=strategy,
    )


def _sum_over_workers(strategy: tf.distribute.Strategy, numbers: tf.Tensor) -> tf.Tensor:
    @tf.function
    def add() -> tf.Tensor:
        def contribute() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # Of a worker's replicas only the first one contributes.
            first = context.replica_id_in_sync_group % here == 0
            own = tf.where(first, numbers, tf.zeros_like(numbers))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return strategy.experimental_local_results(strategy.run(contribute))[0]

    here = len(strategy.extended.worker_devices)
    return add()


def _choose_precision(requested: str) -> str:
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
