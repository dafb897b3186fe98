"""Devices, replicas and processes: the one place of the engine that knows of them.

``prepare`` runs before the first tensor; ``connect`` then returns the ``Strategy`` of the run. A
step works on a global batch, wherever its parts are: losses and gradients are summed over all its
examples, so a batch means the same on any number of devices.

What a project can run on is in a module with the functions of ``Strategies``: ``single.py``, or
``strategies.py`` of a feature that knows more than one device, which is found by its place.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from ..config_fields import RuntimeFields
from ..errors import UsageProblem

BACKENDS = ("tensorflow", "jax")  # of Keras, that the engine is written for
ENGINE = Path(__file__).parents[1]

ShardingRules = Mapping[str, tuple[str | None, ...]]


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
    """The devices of a run and how they work together: here, one process.

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

    def compile(
        self,
        network: Any,
        optimizer: Any,
        loss: Any,
        metrics: Any,
        parts: int = 1,
        use_xla: bool = False,
    ) -> Steps:
        """Return the steps that train a network on these devices.

        Args:
            parts: that the rows of each replica are divided into, to work on one after the other.
            use_xla: see ``Phase``.
        """
        raise NotImplementedError

    def divide(self, parts: int) -> Shard:
        """Return the shard of batches whose rows each replica can divide into so many parts."""
        if parts == 1:
            return self.shard
        return replace(self.shard, multiple=parts * (self.shard.multiple or 1))

    def broadcast(self, value: Any) -> Any:
        """Return the chief's JSON value on every process; all of them must call it."""
        return value

    def wait_for_all(self) -> None:
        """Return once every process has called it."""
        self.broadcast(None)

    def local_copy(self, network: Any) -> Any:
        """Return the network on one device, to be evaluated and saved."""
        return network

    def worker_failures(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that tells failures of other workers from errors of this one."""
        return contextlib.nullcontext()


class Strategies(Protocol):
    """The functions of a module with what a project can run on.

    The module may not import TensorFlow or Keras, except inside its functions.
    """

    def check(self, runtime: RuntimeFields, backend: str) -> None:
        """Refuse a backend or strategy that this project does not have.

        Args:
            runtime: may name backend and strategy.
            backend: the backend of the run.

        Raises:
            UsageProblem: it has none of that name.
        """

    def prepare(self, runtime: RuntimeFields, backend: str) -> None:
        """Set what the backend reads before the first tensor, such as virtual devices.

        Args:
            runtime: of the configuration.
            backend: the backend of the run.
        """

    def connect(self, runtime: RuntimeFields, sharding_rules: ShardingRules) -> Strategy:
        """Select devices as ``connect`` of this package says.

        Args:
            runtime: of the configuration.
            sharding_rules: see there.
        """


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
    with silence_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if "keras" in sys.modules and (used := _backend_in_use()) != backend:
        raise UsageProblem(
            f"runtime.backend: {backend!r} was chosen after Keras had been imported with {used!r}; "
            "set KERAS_BACKEND before."
        )
    find_strategies().prepare(runtime, backend)
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
    find_strategies().check(runtime, backend)
    return backend


def find_strategies() -> Strategies:
    """Return the module with what this project can run on."""
    feature = next(iter(sorted(ENGINE.glob("*/strategies.py"))), None)
    place = f"{feature.parent.name}.strategies" if feature else "strategy.single"
    return cast(Strategies, import_module(f"..{place}", __package__))


def add_xla_flag(flag: str) -> None:
    """Add a flag to ``XLA_FLAGS``, which XLA reads once, when JAX looks for its devices."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    if flag not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, flag])


# === The strategy of a run ===


def connect(runtime: RuntimeFields, sharding_rules: ShardingRules) -> Strategy:
    """Select devices, find the other processes, and set the precision.

    Args:
        sharding_rules: how large weights are divided, for ``model_parallel``: pattern of the path
            of a weight -> ``"model"`` or None for each of its axes.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    return find_strategies().connect(runtime, sharding_rules)


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


def _backend_in_use() -> str:
    import keras

    return str(keras.backend.backend())


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Return a context that hides what TensorFlow's C++ part writes past Python."""
    # TensorFlow's C++ part reports at length that there is no GPU, whatever its log level.
    copy, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(copy, 2)
        os.close(copy)
        os.close(null)
