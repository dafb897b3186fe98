"""Devices of the TensorFlow backend: one, all GPUs of a machine, or several machines."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .distribution import (
    Devices,
    Share,
    chosen,
    counted,
    needs_two,
    no_cluster,
    rebuilt,
    refuse_ignored_fields,
    tensorflow_cluster,
)
from .errors import UsageProblem
from .meters import Meters
from .sections import RuntimeSection
from .seeds import seed_states

Change = tuple[keras.Variable, tf.Tensor]  # a variable, and the value that it is to have


@dataclass(frozen=True)
class Replicas(Devices):
    """The devices of a ``tf.distribute`` strategy; ``None`` is one device."""

    strategy: tf.distribute.Strategy | None = None

    def scope(self):
        return self.strategy.scope() if self.strategy else super().scope()

    def engine(
        self,
        core: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        meters: Meters,
    ) -> "ReplicatedSteps":
        return ReplicatedSteps(self, core, optimizer, loss, meters)

    def told_by_chief(self, message: np.ndarray) -> np.ndarray:
        return _sum_over_workers(self.strategy, tf.constant(message.astype("int32"))).numpy()

    def local_copy(self, core: keras.Model) -> keras.Model:
        return core if self.strategy is None else rebuilt(core)


class ReplicatedSteps:
    """An ``Engine`` of the TensorFlow backend.

    Several steps are one call: the loop over them is part of the graph.
    """

    def __init__(
        self,
        devices: Replicas,
        core: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        meters: Meters,
    ) -> None:
        self.strategy, self.replicas = devices.strategy, devices.replicas
        self.several_processes = devices.processes > 1
        self.core, self.optimizer, self.loss, self.meters = core, optimizer, loss, meters
        self._seeds = seed_states(core)
        if self.strategy:
            # Gradients are summed over the replicas before they are clipped and checked; Keras
            # would clip those of each replica, and then sum.
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            inner._all_reduce_sum_gradients = lambda grads_and_variables: grads_and_variables
        self.set_sums(meters.zeros())
        self._train = tf.function(self._looped(self._train_part), reduce_retracing=True)
        self._evaluate = tf.function(self._looped(self._evaluate_part), reduce_retracing=True)

    def feed(self, batches: tf.data.Dataset) -> Iterable[Any]:
        if self.strategy is None:
            return batches
        return self.strategy.distribute_datasets_from_function(lambda context: batches)

    def train(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        return self._called(self._train, batches, count, stop)

    def evaluate(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        return self._called(self._evaluate, batches, count, stop)

    def read_sums(self) -> list[np.ndarray]:
        return [value.numpy() for value in self._sums]

    def set_sums(self, values: list[np.ndarray]) -> None:
        with tf.device("CPU:0"):
            self._sums = [tf.constant(value) for value in values]

    def _called(self, steps: Any, batches: Iterator[Any], count: int, stop: bool) -> bool:
        stops, self._sums = steps(batches, tf.constant(count), tf.constant(float(stop)), self._sums)
        return bool(stops > 0.0) if self.several_processes else stop

    def _looped(self, part: Any) -> Any:
        def steps(batches: Iterator[Any], count: tf.Tensor, stop: tf.Tensor, sums: list[tf.Tensor]):
            stops = tf.constant(0.0)
            for _ in tf.range(count):
                batch_sums = self._on_all_parts(part, next(batches), stop)
                if self.several_processes:
                    *batch_sums, stops = batch_sums
                sums = self.meters.added(sums, batch_sums)
            return stops, sums

        return steps

    def _on_all_parts(self, part: Any, batch: Any, stop: tf.Tensor) -> list[tf.Tensor]:
        """Sums over a whole batch, and over the processes that are to stop, if there are several.

        In one process ``stop`` stays outside: a tensor that every pass of a loop hands to several
        virtual CPU devices makes TensorFlow hang.
        """
        if self.strategy is None:
            return part(batch)
        args = (batch, stop) if self.several_processes else (batch,)
        results = self.strategy.run(part, args=args)
        return [self.strategy.experimental_local_results(value)[0] for value in results]

    def _train_part(self, batch: Any, *stop: tf.Tensor) -> list[tf.Tensor]:
        inputs, targets, weights = batch
        variables = self.core.trainable_variables
        with tf.GradientTape() as tape:
            outputs, penalties, changed = self._call_core(inputs)
            # Under a strategy Keras's losses divide their mean by the number of replicas.
            loss = self.loss(targets, outputs, sample_weight=weights)
            penalties = [tf.cast(value, loss.dtype) for value in penalties]
            whole = tf.add_n([loss, *(value / self.replicas for value in penalties)])
            scaled = self.optimizer.scale_loss(whole)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        sums = self.meters.of_part(loss, targets, outputs, weights)
        # Moving averages: each replica has made its own; all go on with the mean.
        averages = [variable for variable, _ in changed if "float" in variable.dtype]
        means = [value / self.replicas for v, value in changed if "float" in v.dtype]
        gradients, rest = self._summed(gradients, [*means, *sums, *stop])
        for variable, mean in zip(averages, rest[: len(means)], strict=True):
            variable.assign(mean)
        for variable, value in changed:
            if "float" not in variable.dtype:  # seeds and counters: the same on all replicas
                variable.assign(value)
        self.optimizer.apply(gradients, variables)
        return rest[len(means) :]

    def _call_core(self, inputs: Any) -> tuple[Any, list[tf.Tensor], list[Change]]:
        """Outputs and penalties of a replica's part in training, and what its call changes.

        Nothing is assigned yet, and what no call changes, such as frozen weights, is not listed: it
        need not be reduced. A replica's number is added to the seeds for as long as the call lasts:
        so each draws its own masks, and between steps the seeds are the same on all of them.
        """
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        shift = tf.cast(tf.stack([number, 0]), "int64")
        seeds = [(seed, seed.value + shift) for seed in self._seeds]
        with keras.StatelessScope(seeds, collect_losses=True) as scope:
            outputs = self.core(inputs, training=True)
            penalties = self.core.losses
        for seed in self._seeds:
            scope.add_update((seed, scope.get_current_value(seed) - shift))
        new = [(variable, scope.get_current_value(variable)) for variable in self.core.variables]
        return outputs, penalties, [(v, value) for v, value in new if value is not None]

    def _evaluate_part(self, batch: Any, *stop: tf.Tensor) -> list[tf.Tensor]:
        inputs, targets, weights = batch
        outputs = self.core(inputs, training=False)
        loss = self.loss(targets, outputs, sample_weight=weights)
        sums = self.meters.of_part(loss, targets, outputs, weights)
        return self._summed([], [*sums, *stop])[1]

    def _summed(self, gradients: list[Any], sums: list[Any]) -> tuple[list[Any], list[Any]]:
        if self.strategy is None:
            return gradients, sums
        present = [gradient for gradient in gradients if gradient is not None]
        # A value that all replicas share, such as a constant, is on no replica's device.
        sums = [tf.identity(value) for value in sums]
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [*present, *sums])
        rest = iter(summed)
        gradients = [None if gradient is None else next(rest) for gradient in gradients]
        return gradients, list(rest)


def split_cpu(count: int) -> None:
    """Make ``count`` virtual devices of the CPU, and use no GPU."""
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def connect(runtime: RuntimeSection, layout: Mapping[str, tuple[str | None, ...]]) -> Devices:
    """As ``distribution.connect``; the layout is of no use here.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    keras.config.set_dtype_policy(_precision(runtime.precision))
    wish = runtime.strategy
    cluster = tensorflow_cluster()
    refuse_ignored_fields(runtime, cluster[1] if cluster else 1)
    if wish == "multi_worker" or (wish == "auto" and cluster and cluster[1] > 1):
        return _workers(wish, cluster)
    if cluster and cluster[1] > 1:
        raise UsageProblem(
            f"runtime.strategy: {wish!r} is for one process, and TF_CONFIG names {cluster[1]}; "
            "use 'multi_worker' or 'auto'."
        )
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    seen = counted(len(names), kind)
    names = chosen(names, runtime, seen)
    if wish == "mirrored" and len(names) < 2:
        raise needs_two(wish, seen if not runtime.devices else f"{runtime.devices} as configured")
    reason = "as configured" if wish != "auto" else f"because it sees {seen}"
    if wish == "single" or len(names) == 1:
        return Replicas("tensorflow", "single", 1, f"one device, {reason}")
    # Collectives between virtual CPU devices may start in different orders and then fail.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    count = len(names)
    return Replicas(
        "tensorflow",
        "mirrored",
        count,
        f"{count} replicas, {reason}",
        share=Share(parts=count, here=count, multiple=count),
        strategy=tf.distribute.MirroredStrategy(names, reduction),
    )


def _workers(wish: str, cluster: tuple[int, int] | None) -> Devices:
    if cluster is None or cluster[1] < 2:
        raise no_cluster("tensorflow")
    number, processes = cluster
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    here = replicas // processes
    reason = "as configured" if wish != "auto" else "because TF_CONFIG names them"
    return Replicas(
        "tensorflow",
        "multi_worker",
        replicas,
        f"worker {number} of {processes} with {here} replica{'s' * (here > 1)}, {reason}",
        share=Share(parts=replicas, first=number * here, here=here, multiple=replicas),
        process=number,
        processes=processes,
        strategy=strategy,
    )


def _sum_over_workers(strategy: tf.distribute.Strategy, numbers: tf.Tensor) -> tf.Tensor:
    @tf.function
    def summed() -> tf.Tensor:
        def part() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # Of a worker's replicas the first one speaks.
            first = context.replica_id_in_sync_group % here == 0
            spoken = tf.where(first, numbers, tf.zeros_like(numbers))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, spoken)

        return strategy.experimental_local_results(strategy.run(part))[0]

    here = len(strategy.extended.worker_devices)
    return summed()


def _precision(wish: str) -> str:
    if wish != "auto":
        return wish
    details = [
        tf.config.experimental.get_device_details(device)
        for device in tf.config.list_physical_devices("GPU")
    ]
    capabilities = [detail.get("compute_capability", (0, 0)) for detail in details]
    if not capabilities or min(capabilities) < (7, 0):
        return "float32"
    # bfloat16 needs no loss scaling, but runs fast only from Ampere (8.0) on.
    return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "mixed_float16"
