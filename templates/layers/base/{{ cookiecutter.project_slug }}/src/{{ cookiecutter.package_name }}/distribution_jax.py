"""Devices of the JAX backend: one, several of a machine, several machines, TPUs."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .distribution import (
    Devices,
    Share,
    add_xla_flag,
    chosen,
    counted,
    jax_cluster,
    needs_two,
    no_cluster,
    rebuilt,
    refuse_ignored_fields,
)
from .errors import ProjectError, UsageProblem
from .meters import Meters
from .sections import RuntimeSection

try:
    import jax
except ImportError:
    raise ProjectError(
        "runtime.backend: jax is not installed; it is an extra: pip install -e '.[jax]'."
    ) from None

log = logging.getLogger(__package__)

LOST_AFTER = 30  # seconds without a sign of life until a worker is held to be gone


@dataclass(frozen=True)
class Sharded(Devices):
    """The devices of a ``keras.distribution``; ``None`` is one device.

    Attributes:
        rows: how the rows of a batch are divided.
        whole: the sharding of what every device has whole.
    """

    rows: Any = None
    whole: Any = None

    def engine(
        self,
        core: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        meters: Meters,
    ) -> "ShardedSteps":
        return ShardedSteps(self, core, optimizer, loss, meters)

    def told_by_chief(self, message: np.ndarray) -> np.ndarray:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(message))

    def local_copy(self, core: keras.Model) -> keras.Model:
        if self.rows is None:
            return core
        # Training is over: from here on everything is on this process's first device.
        return rebuilt(core, lambda: keras.distribution.set_distribution(None))


class ShardedSteps:
    """An ``Engine`` of the JAX backend: one compiled step, dispatched without waiting for it."""

    def __init__(
        self,
        devices: Sharded,
        core: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        meters: Meters,
    ) -> None:
        self.devices, self.core, self.optimizer = devices, core, optimizer
        self.loss, self.meters = loss, meters
        self._sums = self._everywhere(meters.zeros())
        self._variables = (
            core.trainable_variables,
            core.non_trainable_variables,
            optimizer.variables,
        )
        shardings = [[v.value.sharding for v in part] for part in self._variables]
        kept = None if devices.rows is None else (*shardings, [devices.whole] * len(self._sums))
        self._train = jax.jit(self._train_step, donate_argnums=(0, 1, 2, 3), out_shardings=kept)
        self._evaluate = jax.jit(self._evaluate_step, donate_argnums=(2,))

    def feed(self, batches: tf.data.Dataset) -> Iterable[Any]:
        return Divided(batches, self._divided)

    def train(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        state = [[v.value for v in part] for part in self._variables]
        for _ in range(count):
            *state, self._sums = self._train(*state, self._sums, next(batches))
        for part, values in zip(self._variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return self._anyone(stop)

    def evaluate(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        trainable, rest = ([v.value for v in part] for part in self._variables[:2])
        for _ in range(count):
            self._sums = self._evaluate(trainable, rest, self._sums, next(batches))
        return self._anyone(stop)

    def read_sums(self) -> list[np.ndarray]:
        return [np.asarray(value) for value in self._sums]

    def set_sums(self, values: list[np.ndarray]) -> None:
        self._sums = self._everywhere(values)

    def _train_step(self, trainable, rest, slots, sums, batch):
        def whole_loss(trainable, rest):
            inputs, targets, weights = batch
            outputs, rest, penalties = self.core.stateless_call(
                trainable, rest, inputs, training=True, return_losses=True
            )
            loss = self.loss(targets, outputs, sample_weight=weights)
            whole = loss + sum(penalties) if penalties else loss
            with keras.StatelessScope(zip(self.optimizer.variables, slots, strict=True)):
                scaled = self.optimizer.scale_loss(whole)
            return scaled, (rest, self.meters.of_part(loss, targets, outputs, weights))

        gradient = jax.value_and_grad(whole_loss, has_aux=True)
        (_, (rest, batch_sums)), gradients = gradient(trainable, rest)
        trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, rest, slots, self.meters.added(sums, batch_sums)

    def _evaluate_step(self, trainable, rest, sums, batch):
        inputs, targets, weights = batch
        outputs, _ = self.core.stateless_call(trainable, rest, inputs, training=False)
        loss = self.loss(targets, outputs, sample_weight=weights)
        return self.meters.added(sums, self.meters.of_part(loss, targets, outputs, weights))

    def _divided(self, rows: np.ndarray) -> jax.Array:
        if self.devices.rows is None:
            return jax.numpy.asarray(rows)
        return jax.make_array_from_process_local_data(self.devices.rows, rows)

    def _everywhere(self, values: list[np.ndarray]) -> list[jax.Array]:
        if self.devices.whole is None:
            return [jax.numpy.asarray(value) for value in values]
        whole = self.devices.whole
        return [jax.make_array_from_process_local_data(whole, np.asarray(v)) for v in values]

    def _anyone(self, stop: bool) -> bool:
        if self.devices.processes == 1:
            return stop
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array([stop])).any())


@dataclass(frozen=True)
class Divided:
    """A dataset whose batches are placed on the devices."""

    batches: tf.data.Dataset
    place: Callable[[np.ndarray], jax.Array]

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches.as_numpy_iterator():
            yield jax.tree.map(self.place, batch)


def prepare(runtime: RuntimeSection) -> None:
    """Set what JAX reads when it starts; TensorFlow, which only feeds it, leaves GPUs alone."""
    tf.config.set_visible_devices([], "GPU")
    if runtime.virtual_devices:
        add_xla_flag(f"--xla_force_host_platform_device_count={runtime.virtual_devices}")
        jax.config.update("jax_platforms", "cpu")


def connect(runtime: RuntimeSection, layout: Mapping[str, tuple[str | None, ...]]) -> Devices:
    """As ``distribution.connect``.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    wish = runtime.strategy
    processes = _join(runtime)
    keras.distribution.set_distribution(None)  # or that of an earlier run would stay
    kind = jax.devices()[0].platform.upper()
    keras.config.set_dtype_policy(_precision(runtime.precision, kind))
    count = jax.device_count()
    seen = counted(count, kind)
    if wish == "tpu" and kind != "TPU":
        raise UsageProblem(
            f"runtime.strategy: 'tpu' needs a TPU, and JAX sees {seen}; on a TPU machine: pip "
            "install -e '.[tpu]'. To rehearse the same code: --runtime.strategy data_parallel "
            "--runtime.virtual_devices 4."
        )
    devices = jax.devices()
    devices = chosen(devices, runtime, seen) if processes == 1 else devices
    reason = "as configured" if wish != "auto" else f"because it sees {seen}"
    if processes == 1 and (wish == "single" or (wish == "auto" and len(devices) == 1)):
        return Sharded("jax", "single", 1, f"one device, {reason}", Share(multiple=1))
    if len(devices) < 2 and wish in ("data_parallel", "model_parallel"):
        raise needs_two(wish, seen)
    name = wish if wish != "auto" else "tpu" if kind == "TPU" else "data_parallel"
    name = "multi_worker" if processes > 1 else name
    across = _divided_among(runtime, len(devices)) if wish == "model_parallel" else 1
    shape, axes = ((len(devices),), ("batch",))
    if across > 1:
        shape, axes = ((len(devices) // across, across), ("batch", "model"))
    mesh = keras.distribution.DeviceMesh(shape, axes, devices)
    keras.distribution.set_distribution(_distribution(mesh, layout if across > 1 else {}))
    rows = keras.distribution.TensorLayout(("batch",), mesh).backend_layout
    whole = keras.distribution.TensorLayout((), mesh).backend_layout
    replicas = len(devices) // across
    number = jax.process_index()
    if processes > 1:
        why = f"worker {number} of {processes} with {jax.local_device_count()} of {seen}, {reason}"
    else:
        why = f"{replicas} replicas on {len(devices)} devices, {reason}"
    return Sharded(
        "jax",
        name,
        replicas,
        why,
        Share(parts=processes, first=number, multiple=replicas),
        process=number,
        processes=processes,
        rows=rows,
        whole=whole,
    )


def _join(runtime: RuntimeSection) -> int:
    """Find the other processes, if this is to be one of several; how many there are.

    Raises:
        UsageProblem: the strategy is for one process and there are several, or the reverse.
    """
    wish, cluster = runtime.strategy, jax_cluster()
    named = cluster[2] if cluster else 1
    refuse_ignored_fields(runtime, named)
    alone = wish not in ("auto", "multi_worker", "tpu")
    if alone and named > 1:
        raise _for_one_process(wish, f"JAX_NUM_PROCESSES is {named}")
    if jax.distributed.is_initialized():
        _use_gloo()
    elif named > 1:
        _initialize(*cluster)
    elif wish == "multi_worker" and _has_launcher():
        _initialize()
    elif not alone and _has_tpu_library():
        try:
            _initialize()
        except ValueError as error:  # the library is here, and no TPU that says who the others are
            log.debug("no cluster of TPU hosts: %s", error)
    # Whoever introduced the processes to each other, and be it the TPU itself.
    processes = jax.process_count()
    if alone and processes > 1:
        raise _for_one_process(wish, f"JAX knows of {processes}")
    if wish == "multi_worker" and processes == 1:
        raise no_cluster("jax")
    refuse_ignored_fields(runtime, processes)
    return processes


def _initialize(
    address: str | None = None, number: int | None = None, count: int | None = None
) -> None:
    """Join the other processes; without arguments, those that JAX finds through the launcher or the
    TPU's metadata."""
    _use_gloo()
    jax.distributed.initialize(
        address,
        count,
        number,
        heartbeat_timeout_seconds=LOST_AFTER,
        # Workers wait at their end while the chief evaluates, however long that takes.
        shutdown_timeout_seconds=7 * 24 * 3600,
    )


def _use_gloo() -> None:
    """How CPUs of several processes reduce; of no consequence to other devices."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")


def _has_launcher() -> bool:
    return any(name in os.environ for name in ("SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri"))


def _has_tpu_library() -> bool:
    return "TPU_LIBRARY_PATH" in os.environ or importlib.util.find_spec("libtpu") is not None


def _for_one_process(wish: str, found: str) -> UsageProblem:
    return UsageProblem(
        f"runtime.strategy: {wish!r} is for one process, and {found}; use 'multi_worker' or 'auto'."
    )


def _divided_among(runtime: RuntimeSection, devices: int) -> int:
    across = runtime.model_devices or (2 if devices % 2 == 0 else devices)
    if devices % across:
        raise UsageProblem(
            f"runtime.model_devices: {across} does not divide the {devices} devices evenly."
        )
    return across


def _distribution(mesh: Any, layout: Mapping[str, tuple[str | None, ...]]) -> Any:
    if not layout:
        return keras.distribution.DataParallel(device_mesh=mesh, auto_shard_dataset=False)
    table = keras.distribution.LayoutMap(mesh)
    for pattern, axes in layout.items():
        table[pattern] = axes
    return keras.distribution.ModelParallel(
        layout_map=table, batch_dim_name="batch", auto_shard_dataset=False
    )


def _precision(wish: str, kind: str) -> str:
    if wish != "auto":
        return wish
    return "float32" if kind == "CPU" else "mixed_bfloat16"
