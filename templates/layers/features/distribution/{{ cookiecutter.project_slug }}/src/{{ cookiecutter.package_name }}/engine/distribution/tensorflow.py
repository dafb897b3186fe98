"""The TensorFlow backend on all GPUs of a machine, or on several machines."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..config_fields import RuntimeFields
from ..errors import UsageProblem
from ..metrics import MetricSums
from ..strategy import Shard, Strategy
from ..strategy.tensorflow import (
    TensorFlowSteps,
    choose_precision,
    describe_devices,
    explain_choice,
    make_one_device,
)
from ..train_step import TensorFlowStep
from .cluster import missing_cluster_error, tensorflow_cluster
from .devices import rebuild, refuse_ignored_fields, select_devices, too_few_devices_error
from .processes import SeveralProcesses


@dataclass(frozen=True, kw_only=True)
class Replicas(SeveralProcesses):
    """Devices of a ``tf.distribute`` strategy."""

    distribute: tf.distribute.Strategy

    def scope(self):
        return self.distribute.scope()

    def compile(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        metrics: MetricSums,
        parts: int = 1,
        use_xla: bool = False,
    ) -> "ReplicaSteps":
        step = TensorFlowStep(network, optimizer, loss, metrics, self.replicas, parts)
        steps = ReplicaSteps if self.processes == 1 else WorkerSteps
        return steps(step, self.distribute)

    def broadcast_bytes(self, message: np.ndarray) -> np.ndarray:
        return _sum_over_workers(self.distribute, tf.constant(message.astype("int32"))).numpy()

    def local_copy(self, network: keras.Model) -> keras.Model:
        return rebuild(network)


class ReplicaSteps(TensorFlowSteps):
    """Steps on all replicas of one process.

    ``stop`` stays outside of the graph: a tensor that every pass of a loop hands to several virtual
    CPU devices makes TensorFlow hang.
    """

    def __init__(self, step: TensorFlowStep, distribute: tf.distribute.Strategy) -> None:
        self.distribute = distribute
        # Gradients are summed over the replicas before they are clipped and checked; Keras would
        # clip those of each replica, and then sum.
        inner = getattr(step.optimizer, "inner_optimizer", step.optimizer)
        inner._all_reduce_sum_gradients = lambda grads_and_variables: grads_and_variables
        super().__init__(step)

    def feed(self, batches: tf.data.Dataset) -> Iterable[Any]:
        return self.distribute.distribute_datasets_from_function(lambda context: batches)

    def _run(self, step: Callable, *batch_and_stop: Any) -> list[tf.Tensor]:
        results = self.distribute.run(step, args=batch_and_stop)
        return [self.distribute.experimental_local_results(value)[0] for value in results]


class WorkerSteps(ReplicaSteps):
    """Steps on the replicas of several processes, which sum up whether one of them is to stop."""

    def _call(self, steps: Callable, batches: Iterator[Any], count: int, stop: bool) -> bool:
        stops, self._sums = steps(batches, tf.constant(count), tf.constant(float(stop)), self._sums)
        return bool(stops > 0.0)

    def _loop(self, step: Callable) -> Callable:
        def steps(batches: Iterator[Any], count: tf.Tensor, stop: tf.Tensor, sums: list[tf.Tensor]):
            stops = tf.constant(0.0)
            for _ in tf.range(count):
                *batch_sums, stops = self._run(step, next(batches), stop)
                sums = self.metrics.add(sums, batch_sums)
            return stops, sums

        return steps


def split_cpu(count: int) -> None:
    """Split the CPU into ``count`` virtual devices and hide all GPUs."""
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def connect(runtime: RuntimeFields) -> Strategy:
    """Select devices, find the other workers, and set the precision.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    keras.config.set_dtype_policy(choose_precision(runtime.precision))
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
    if requested == "single" or len(names) == 1:
        return make_one_device(requested, seen)
    # Collectives between virtual CPU devices may start in different orders and then fail.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    count = len(names)
    return Replicas(
        "tensorflow",
        "mirrored",
        count,
        f"{count} replicas, {explain_choice(requested, f'it sees {seen}')}",
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
    reason = explain_choice(requested, "TF_CONFIG names them")
    return Replicas(
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
