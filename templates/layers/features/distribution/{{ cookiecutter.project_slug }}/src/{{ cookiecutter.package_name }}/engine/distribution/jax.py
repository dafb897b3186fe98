"""The JAX backend: one device, several of a machine, several machines, TPUs."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..config_fields import RuntimeFields
from ..errors import ProjectError, UsageProblem
from ..metrics import MetricSums
from ..strategy import Shard, ShardingRules, Strategy, add_xla_flag
from ..strategy.tensorflow import describe_devices, explain_choice
from .cluster import jax_cluster, missing_cluster_error
from .devices import rebuild, refuse_ignored_fields, select_devices, too_few_devices_error
from .jax_step import JaxStep
from .processes import SeveralProcesses

try:
    import jax
except ImportError:
    raise ProjectError(
        "runtime.backend: jax is not installed; it is an extra: pip install -e '.[jax]'."
    ) from None

log = logging.getLogger(__name__)

HEARTBEAT_TIMEOUT = 30  # seconds without a sign of life after which a worker counts as gone


@dataclass(frozen=True)
class JaxStrategy(SeveralProcesses):
    """Devices of a ``keras.distribution``; without shardings it is one device.

    Attributes:
        row_sharding: how the rows of a batch are divided among the devices.
        replicated: the sharding of what every device has a copy of.
    """

    row_sharding: Any = None
    replicated: Any = None

    def compile(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        metrics: MetricSums,
        parts: int = 1,
        use_xla: bool = False,
    ) -> "JaxSteps":
        return JaxSteps(self, JaxStep(network, optimizer, loss, metrics, self.replicas, parts))

    def broadcast_bytes(self, message: np.ndarray) -> np.ndarray:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(message))

    def local_copy(self, network: keras.Model) -> keras.Model:
        if self.row_sharding is None:
            return network
        # Training is over: from here on everything is on this process's first device.
        return rebuild(network, lambda: keras.distribution.set_distribution(None))


class JaxSteps:
    """``Steps`` of the JAX backend: one compiled step, dispatched without waiting for it."""

    def __init__(self, strategy: JaxStrategy, step: JaxStep) -> None:
        self.strategy = strategy
        self._sums = self._replicate(step.metrics.zeros())
        self._variables = (
            step.network.trainable_variables,
            step.network.non_trainable_variables,
            step.optimizer.variables,
        )
        shardings = [[v.value.sharding for v in part] for part in self._variables]
        out = None
        if strategy.row_sharding is not None:
            out = (*shardings, [strategy.replicated] * len(self._sums))
        self._train = jax.jit(step.train, donate_argnums=(0, 1, 2, 3), out_shardings=out)
        self._evaluate = jax.jit(step.evaluate, donate_argnums=(2,))

    def feed(self, batches: tf.data.Dataset) -> Iterable[Any]:
        return DeviceDataset(batches, self._divide)

    def train(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        state = [[v.value for v in part] for part in self._variables]
        for _ in range(count):
            *state, self._sums = self._train(*state, self._sums, next(batches))
        for part, values in zip(self._variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return self._any_process(stop)

    def evaluate(self, batches: Iterator[Any], count: int, stop: bool) -> bool:
        trainable, rest = ([v.value for v in part] for part in self._variables[:2])
        for _ in range(count):
            self._sums = self._evaluate(trainable, rest, self._sums, next(batches))
        return self._any_process(stop)

    def read_sums(self) -> list[np.ndarray]:
        return [np.asarray(value) for value in self._sums]

    def set_sums(self, values: list[np.ndarray]) -> None:
        self._sums = self._replicate(values)

    def _divide(self, rows: np.ndarray) -> jax.Array:
        if self.strategy.row_sharding is None:
            return jax.numpy.asarray(rows)
        return jax.make_array_from_process_local_data(self.strategy.row_sharding, rows)

    def _replicate(self, values: list[np.ndarray]) -> list[jax.Array]:
        sharding = self.strategy.replicated
        if sharding is None:
            return [jax.numpy.asarray(value) for value in values]
        return [jax.make_array_from_process_local_data(sharding, np.asarray(v)) for v in values]

    def _any_process(self, stop: bool) -> bool:
        if self.strategy.processes == 1:
            return stop
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array([stop])).any())


@dataclass(frozen=True)
class DeviceDataset:
    """A dataset whose batches are placed on the devices."""

    batches: tf.data.Dataset
    place: Callable[[np.ndarray], jax.Array]

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches.as_numpy_iterator():
            yield jax.tree.map(self.place, batch)


def prepare(runtime: RuntimeFields) -> None:
    """Set what JAX reads when it starts; TensorFlow, which only feeds it, leaves GPUs alone."""
    tf.config.set_visible_devices([], "GPU")
    if runtime.virtual_devices:
        add_xla_flag(f"--xla_force_host_platform_device_count={runtime.virtual_devices}")
        jax.config.update("jax_platforms", "cpu")


def connect(runtime: RuntimeFields, sharding_rules: ShardingRules) -> Strategy:
    """Select devices and set the precision as ``strategy.connect`` says.

    Args:
        runtime: names strategy, devices and precision.
        sharding_rules: how large weights are divided, for ``model_parallel``.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    requested = runtime.strategy
    processes = _join(runtime)
    keras.distribution.set_distribution(None)  # or that of an earlier run would stay
    kind = jax.devices()[0].platform.upper()
    keras.config.set_dtype_policy(_choose_precision(runtime.precision, kind))
    count = jax.device_count()
    seen = describe_devices(count, kind)
    if requested == "tpu" and kind != "TPU":
        raise UsageProblem(
            f"runtime.strategy: 'tpu' needs a TPU, and JAX sees {seen}; on a TPU machine: pip "
            "install -e '.[tpu]'. To rehearse the same code: --runtime.strategy data_parallel "
            "--runtime.virtual_devices 4."
        )
    devices = jax.devices()
    devices = select_devices(devices, runtime, seen) if processes == 1 else devices
    reason = explain_choice(requested, f"it sees {seen}")
    if processes == 1 and (requested == "single" or (requested == "auto" and len(devices) == 1)):
        return JaxStrategy("jax", "single", 1, f"one device, {reason}", Shard(multiple=1))
    if len(devices) < 2 and requested in ("data_parallel", "model_parallel", "fsdp"):
        raise too_few_devices_error(requested, seen)
    name = requested if requested != "auto" else "tpu" if kind == "TPU" else "data_parallel"
    name = "multi_worker" if processes > 1 else name
    across = _count_model_devices(runtime, len(devices)) if requested == "model_parallel" else 1
    rules = sharding_rules if across > 1 else {}
    shape: tuple[int, ...] = (len(devices),)
    axes: tuple[str, ...] = ("batch",)
    if across > 1:
        shape, axes = ((len(devices) // across, across), ("batch", "model"))
    mesh = keras.distribution.DeviceMesh(shape, axes, devices)
    keras.distribution.set_distribution(_distribution(mesh, rules, requested == "fsdp"))
    rows = keras.distribution.TensorLayout(("batch",), mesh).backend_layout
    whole = keras.distribution.TensorLayout((), mesh).backend_layout
    replicas = len(devices) // across
    index = jax.process_index()
    if processes > 1:
        reason = (
            f"worker {index} of {processes} with {jax.local_device_count()} of {seen}, {reason}"
        )
    else:
        reason = f"{replicas} replicas on {len(devices)} devices, {reason}"
    return JaxStrategy(
        "jax",
        name,
        replicas,
        reason,
        Shard(processes, first=index, multiple=replicas),
        process=index,
        processes=processes,
        row_sharding=rows,
        replicated=whole,
    )


def _join(runtime: RuntimeFields) -> int:
    """Join the other processes, if this is to be one of several, and return how many there are.

    Raises:
        UsageProblem: the strategy is for one process and there are several, or the reverse.
    """
    requested, cluster = runtime.strategy, jax_cluster()
    named = cluster[2] if cluster else 1
    refuse_ignored_fields(runtime, named)
    alone = requested not in ("auto", "multi_worker", "tpu")
    if alone and named > 1:
        raise _one_process_error(requested, f"JAX_NUM_PROCESSES is {named}")
    if jax.distributed.is_initialized():
        _use_gloo()
    elif cluster and named > 1:
        _initialize(*cluster)
    elif requested == "multi_worker" and _has_launcher():
        _initialize()
    elif not alone and _has_tpu_library():
        try:
            _initialize()
        except ValueError as error:  # the library is here, and no TPU that says who the others are
            log.debug("no cluster of TPU hosts: %s", error)
    # Whoever introduced the processes to each other, and be it the TPU itself.
    processes = jax.process_count()
    if alone and processes > 1:
        raise _one_process_error(requested, f"JAX knows of {processes}")
    if requested == "multi_worker" and processes == 1:
        raise missing_cluster_error("jax")
    refuse_ignored_fields(runtime, processes)
    return processes


def _initialize(
    address: str | None = None, index: int | None = None, count: int | None = None
) -> None:
    """Join the other processes; without arguments, those that JAX finds through the launcher or the
    TPU's metadata."""
    _use_gloo()
    jax.distributed.initialize(
        address,
        count,
        index,
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
        # Workers wait at their end while the chief evaluates, however long that takes.
        shutdown_timeout_seconds=7 * 24 * 3600,
    )


def _use_gloo() -> None:
    """Let CPUs of several processes reduce with Gloo; other devices ignore it."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")


def _has_launcher() -> bool:
    return any(name in os.environ for name in ("SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri"))


def _has_tpu_library() -> bool:
    return "TPU_LIBRARY_PATH" in os.environ or importlib.util.find_spec("libtpu") is not None


def _one_process_error(requested: str, found: str) -> UsageProblem:
    return UsageProblem(
        f"runtime.strategy: {requested!r} is for one process, and {found}; use 'multi_worker' or "
        "'auto'."
    )


def _count_model_devices(runtime: RuntimeFields, devices: int) -> int:
    across = runtime.model_devices or (2 if devices % 2 == 0 else devices)
    if devices % across:
        raise UsageProblem(
            f"runtime.model_devices: {across} does not divide the {devices} devices evenly."
        )
    return across


class FullyShardedDataParallel(keras.distribution.DataParallel):
    """Data parallelism that divides every weight among the devices, and its optimizer slots alike.

    A device gathers a weight while a layer needs it (ZeRO stage 3: Rajbhandari et al. 2020). A
    weight is divided along its first axis that the number of devices divides; those with few
    numbers, for which gathering costs more than it saves, are whole everywhere.
    """

    MIN_NUMBERS = 1_024  # of a weight that is divided

    def get_variable_layout(self, variable: Any) -> Any:
        """Return how a weight or an optimizer slot is divided, by its shape alone."""
        count = self.device_mesh.shape[0]
        axes: list[str | None] = [None] * len(variable.shape)
        if np.prod(variable.shape) >= self.MIN_NUMBERS:
            fitting = (i for i, size in enumerate(variable.shape) if size % count == 0)
            if (place := next(fitting, None)) is not None:
                axes[place] = self.device_mesh.axis_names[0]
        return keras.distribution.TensorLayout(axes, self.device_mesh)


def _distribution(mesh: Any, rules: ShardingRules, divides_all: bool) -> Any:
    if divides_all:
        return FullyShardedDataParallel(device_mesh=mesh, auto_shard_dataset=False)
    if not rules:
        return keras.distribution.DataParallel(device_mesh=mesh, auto_shard_dataset=False)
    table = keras.distribution.LayoutMap(mesh)
    for pattern, axes in rules.items():
        table[pattern] = axes
    return keras.distribution.ModelParallel(
        layout_map=table, batch_dim_name="batch", auto_shard_dataset=False
    )


def _choose_precision(requested: str, kind: str) -> str:
    if requested != "auto":
        return requested
    return "float32" if kind == "CPU" else "mixed_bfloat16"
