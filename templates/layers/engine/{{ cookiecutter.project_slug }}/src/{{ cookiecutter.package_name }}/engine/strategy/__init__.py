"""Devices, replicas and processes: the one place of the engine that knows of them.

``prepare`` runs before the first tensor; ``connect`` then returns the ``Strategy`` of the run, from
``tensorflow.py`` or ``jax.py``. A step works on a global batch, wherever its parts are: losses and
gradients are summed over all its examples, so a batch means the same on any number of devices.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..config_fields import RuntimeFields
from ..errors import (
    OutOfDeviceMemory,
    ProjectError,
    UsageProblem,
    WorkerLost,
    describe,
    is_out_of_device_memory,
)

MESSAGE_BYTES = 65_536  # of the longest JSON value that can be broadcast
BACKENDS = {
    "tensorflow": ("single", "mirrored", "multi_worker"),
    "jax": ("single", "data_parallel", "model_parallel", "multi_worker", "tpu"),
}


@dataclass(frozen=True)
class Shard:
    """The part of each global batch that a process feeds.

    Attributes:
        num_shards: a global batch is divided into so many equal parts.
        first: the first part that this process feeds.
        count: how many parts it feeds.
        multiple: batches are filled up to a multiple of this with examples of weight 0; None: the
            last batch of an epoch is as small as it is.
    """

    num_shards: int = 1
    first: int = 0
    count: int = 1
    multiple: int | None = None


class Steps(Protocol):
    """Compiled training and evaluation steps, and the running sums that they add to.

    The sums are those of ``MetricSums``. ``train`` and ``evaluate`` work through ``count`` batches
    and return whether any process of the run has been asked to stop.
    """

    def feed(self, batches: Any) -> Iterable[Any]:
        """Return a dataset of this process's parts as global batches."""

    def train(self, batches: Iterator[Any], count: int, stop: bool) -> bool: ...

    def evaluate(self, batches: Iterator[Any], count: int, stop: bool) -> bool: ...

    def read_sums(self) -> list[Any]: ...

    def set_sums(self, values: list[Any]) -> None: ...


@dataclass(frozen=True)
class Strategy:
    """The devices of a run and how they work together; each backend has its own subclass.

    Attributes:
        name: ``single``, ``mirrored`` and so on.
        replicas: parts of a batch that are processed at once.
        reason: in words, what was seen and selected.
        process: index of this process; 0 is the chief, which alone writes files.
        processes: number of processes.
    """

    backend: str
    name: str
    replicas: int
    reason: str
    shard: Shard = Shard()
    process: int = 0
    processes: int = 1

    @property
    def is_chief(self) -> bool:
        return self.process == 0

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which new variables are placed on all devices."""
        return contextlib.nullcontext()

    def compile(self, network: Any, optimizer: Any, loss: Any, metrics: Any) -> Steps:
        """Return the steps that train a network on these devices."""
        raise NotImplementedError

    def broadcast(self, value: Any) -> Any:
        """Return the chief's JSON value on every process; all of them must call it."""
        if self.processes == 1:
            return value
        import numpy as np

        text = json.dumps(value).encode() if self.is_chief else b""
        message = np.frombuffer(
            text.ljust(MESSAGE_BYTES, b" " if self.is_chief else b"\0"), "uint8"
        )
        return json.loads(self.broadcast_bytes(message).astype("uint8").tobytes())

    def wait_for_all(self) -> None:
        """Return once every process has called it."""
        self.broadcast(None)

    def broadcast_bytes(self, message: Any) -> Any:
        """Broadcast an array of bytes from the chief; other processes pass zeros."""
        raise NotImplementedError

    def local_copy(self, network: Any) -> Any:
        """Return the network on one device, to be evaluated and saved."""
        return network

    @contextlib.contextmanager
    def worker_failures(self) -> Iterator[None]:
        """Tell failures of the communication with other workers from errors of this one.

        Raises:
            WorkerLost: another worker is gone.
            OutOfDeviceMemory: this one, of several, lacks memory.
        """
        try:
            yield
        except ProjectError:
            raise
        except Exception as error:
            if self.processes > 1 and is_out_of_device_memory(error):
                raise OutOfDeviceMemory(describe(error)[0]) from error
            if self.processes == 1 or not _is_communication_failure(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise WorkerLost(
                "another worker is gone; start all of them again with the same command to resume "
                f"({reason})"
            ) from error


# === Before the first tensor ===


def prepare(runtime: RuntimeFields, environment: Mapping[str, str] = os.environ) -> str:
    """Set what must be set before the first tensor: log level, backend, threads, virtual devices.

    Args:
        runtime: names backend, threads and virtual devices.
        environment: variables that may name the backend.

    Returns:
        The name of the backend.

    Raises:
        UsageProblem: configuration and environment contradict each other, or Keras was imported
            with another backend.
        ProjectError: the backend is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = choose_backend(runtime, environment)
    os.environ["KERAS_BACKEND"] = backend
    if runtime.threads_per_operation:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(runtime.threads_per_operation)
    with _silence_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if "keras" in sys.modules and (used := _backend_in_use()) != backend:
        raise UsageProblem(
            f"runtime.backend: {backend!r} was chosen after Keras had been imported with {used!r}; "
            "set KERAS_BACKEND before."
        )
    if backend == "jax":
        from . import jax

        jax.prepare(runtime)
    elif runtime.virtual_devices:
        from . import tensorflow

        tensorflow.split_cpu(runtime.virtual_devices)
    return backend


def choose_backend(runtime: RuntimeFields, environment: Mapping[str, str] = os.environ) -> str:
    """Return the backend that ``runtime.backend`` or ``KERAS_BACKEND`` names.

    Args:
        runtime: may name backend and strategy.
        environment: variables that may name the backend.

    Raises:
        UsageProblem: they name two, an unknown one, or one without the requested strategy.
    """
    named = environment.get("KERAS_BACKEND")
    if named and named not in BACKENDS:
        raise UsageProblem(
            f"KERAS_BACKEND: {named!r} is not supported by this project; "
            f"allowed: {', '.join(BACKENDS)}."
        )
    if named and runtime.backend and named != runtime.backend:
        raise UsageProblem(
            f"KERAS_BACKEND: {named!r} contradicts runtime.backend {runtime.backend!r}; set one."
        )
    backend = runtime.backend or named or "tensorflow"
    requested = runtime.strategy
    if requested != "auto" and requested not in BACKENDS[backend]:
        instead = {"mirrored": "data_parallel", "data_parallel": "mirrored"}.get(requested)
        hint = f"use --runtime.strategy {instead}" if instead else "use --runtime.backend jax"
        raise UsageProblem(
            f"runtime.strategy: {requested!r} does not exist on the backend {backend!r}, which has "
            f"{', '.join(BACKENDS[backend])}; {hint}."
        )
    return backend


def add_xla_flag(flag: str) -> None:
    """Add a flag to ``XLA_FLAGS``, which XLA reads once, when JAX looks for its devices."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    if flag not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, flag])


# === The strategy of a run ===


def connect(
    runtime: RuntimeFields, sharding_rules: Mapping[str, tuple[str | None, ...]]
) -> Strategy:
    """Select devices, find the other processes, and set the precision.

    Args:
        sharding_rules: how large weights are divided, for ``model_parallel``: pattern of the path
            of a weight -> ``"model"`` or None for each of its axes.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    import keras

    if keras.backend.backend() == "jax":
        from .jax import connect as connect_backend
    else:
        from .tensorflow import connect as connect_backend
    return connect_backend(runtime, sharding_rules)


def has_gpu() -> bool:
    """Return whether the backend sees a GPU; on JAX only after ``connect``."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "gpu"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def all_gather(rows: Any) -> Any:
    """Return the rows of all replicas, from those of one; to be called inside a step.

    On JAX a step sees the global batch anyway.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return rows
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    return context.all_gather(rows, axis=0)


# === For the backends ===


def refuse_ignored_fields(runtime: RuntimeFields, processes: int) -> None:
    """Refuse fields that the strategy would ignore.

    Args:
        processes: number of processes of the run.

    Raises:
        UsageProblem: such a field is set.
    """
    requested = runtime.strategy
    if runtime.devices and (processes > 1 or requested == "multi_worker"):
        raise UsageProblem(
            f"runtime.devices: {runtime.devices} is for one process; of several workers each takes "
            "all devices that it sees. Unset it, and limit those with CUDA_VISIBLE_DEVICES."
        )
    if runtime.devices and runtime.devices > 1 and requested == "single":
        raise UsageProblem(
            f"runtime.devices: {runtime.devices} contradicts runtime.strategy 'single', which "
            "takes one device; use 'auto'."
        )
    if runtime.model_devices and requested != "model_parallel":
        raise UsageProblem(
            f"runtime.model_devices: {runtime.model_devices} is for runtime.strategy "
            f"'model_parallel', and not for {requested!r}; unset it."
        )


def select_devices(devices: list[Any], runtime: RuntimeFields, seen: str) -> list[Any]:
    """Return the first ``runtime.devices`` of the devices, or all.

    Args:
        seen: the devices in words, for messages.

    Raises:
        UsageProblem: there are fewer than requested.
    """
    if runtime.devices and runtime.devices > len(devices):
        raise UsageProblem(
            f"runtime.devices: {runtime.devices} is more than there are: it sees {seen}. To "
            f"rehearse on a CPU: --runtime.virtual_devices {runtime.devices}."
        )
    return devices[: runtime.devices]


def too_few_devices_error(strategy: str, seen: str) -> UsageProblem:
    """Return the error for one device where several are needed; it says what to do.

    Args:
        strategy: the requested one.
        seen: the devices in words.
    """
    return UsageProblem(
        f"runtime.strategy: {strategy!r} needs at least two devices and sees {seen}; use 'single', "
        "or rehearse with --runtime.virtual_devices 2."
    )


def describe_devices(count: int, kind: str) -> str:
    """Return a number of devices in words: ``1 CPU device``, ``4 GPUs``.

    Args:
        count: of the devices.
        kind: ``CPU``, ``GPU`` or ``TPU``.
    """
    if kind == "CPU":
        return f"{count} CPU device{'s' * (count != 1)}"
    return f"{count} {kind}{'s' * (count != 1)}"


def rebuild(network: Any, leave_devices: Callable[[], None] = lambda: None) -> Any:
    """Return a copy of the network, made from its configuration and its weights.

    The weights go through a file, since some layers save less than they train with, such as
    low-rank adapters that are added to what they adapt.

    Args:
        leave_devices: called between saving and building.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.weights.h5"
        network.save_weights(file)
        leave_devices()
        copy = type(network).from_config(network.get_config())
        copy.load_weights(file)
    return copy


def _is_communication_failure(error: Exception) -> bool:
    names = ("UnavailableError", "AbortedError", "InternalError", "CancelledError")
    # JAX may raise what its CPU collectives report as a ValueError.
    return type(error).__name__ in (*names, "XlaRuntimeError", "JaxRuntimeError") or (
        "Gloo" in str(error)
    )


def _backend_in_use() -> str:
    import keras

    return str(keras.backend.backend())


@contextlib.contextmanager
def _silence_stderr() -> Iterator[None]:
    # TensorFlow's C++ part reports at length that there is no GPU, whatever its log level.
    copy, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(copy, 2)
        os.close(copy)
        os.close(null)
