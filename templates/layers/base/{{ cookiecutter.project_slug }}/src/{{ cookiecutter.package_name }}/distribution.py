"""Which devices a run uses. This module and its two parts, ``distribution_tensorflow`` and
``distribution_jax``, are the only ones that know of them.

``prepare`` must run before the first tensor; ``connect`` then gives the ``Devices``. A training
step works on a whole batch wherever its parts are: losses and gradients are summed over all
examples of the batch, so a batch means the same on any number of devices.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .errors import (
    OutOfDeviceMemory,
    ProjectError,
    UsageProblem,
    WorkerLost,
    describe,
    is_out_of_device_memory,
)
from .sections import RuntimeSection

MESSAGE = 65_536  # bytes of the longest JSON value that the chief may send
BACKENDS = {
    "tensorflow": ("single", "mirrored", "multi_worker"),
    "jax": ("single", "data_parallel", "model_parallel", "multi_worker", "tpu"),
}


@dataclass(frozen=True)
class Share:
    """What a process feeds of each batch.

    Attributes:
        parts: a batch is divided into so many equal parts.
        first: the first part that this process feeds.
        here: how many parts it feeds.
        multiple: batches are filled up to a multiple of this with examples of weight 0; None: the
            last batch of an epoch is as small as it is.
    """

    parts: int = 1
    first: int = 0
    here: int = 1
    multiple: int | None = None


class Engine(Protocol):
    """Compiled steps of one optimizer on some devices, and the sums that they add to.

    ``sums`` are the running sums of ``Meters``. Both methods work through ``count`` batches and
    return whether a process of the run has been asked to stop.
    """

    def feed(self, batches: Any) -> Iterable[Any]:
        """A dataset of this process's parts as whole batches, for ``train`` and ``evaluate``."""

    def train(self, batches: Iterator[Any], count: int, stop: bool) -> bool: ...

    def evaluate(self, batches: Iterator[Any], count: int, stop: bool) -> bool: ...

    def read_sums(self) -> list[Any]: ...

    def set_sums(self, values: list[Any]) -> None: ...


@dataclass(frozen=True)
class Devices:
    """The devices of a run; each backend's part of this module knows how to use its own.

    Attributes:
        name: of the strategy.
        replicas: parts of a batch that are worked on at once.
        why: in words, what was seen and chosen.
        process: number of this process; 0 is the chief, which alone writes files.
    """

    backend: str
    name: str
    replicas: int
    why: str
    share: Share = Share()
    process: int = 0
    processes: int = 1

    @property
    def is_chief(self) -> bool:
        return self.process == 0

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Variables made inside it live on all of the devices."""
        return contextlib.nullcontext()

    def engine(self, core: Any, optimizer: Any, loss: Any, meters: Any) -> Engine:
        """Steps that train a core on these devices."""
        raise NotImplementedError

    def from_chief(self, value: Any) -> Any:
        """The chief's JSON value, on every process; a point that all of them must reach."""
        if self.processes == 1:
            return value
        import numpy as np

        text = json.dumps(value).encode().ljust(MESSAGE) if self.is_chief else bytes(MESSAGE)
        told = self.told_by_chief(np.frombuffer(text, "uint8"))
        return json.loads(told.astype("uint8").tobytes())

    def told_by_chief(self, message: Any) -> Any:
        """The chief's array of bytes, on every process; that of the others is of zeros."""
        raise NotImplementedError

    def local_copy(self, core: Any) -> Any:
        """The core as it is on one device, to be evaluated and saved."""
        return core


def prepare(runtime: RuntimeSection, environment: Mapping[str, str] = os.environ) -> str:
    """Set what must be set before the first tensor: log level, backend, threads, virtual devices.

    Returns:
        The name of the backend.

    Raises:
        UsageProblem: the wish and the environment contradict each other.
        ProjectError: the backend is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = choose_backend(runtime, environment)
    os.environ["KERAS_BACKEND"] = backend
    if runtime.threads_per_operation:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(runtime.threads_per_operation)
    with _without_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if backend == "jax":
        from . import distribution_jax

        distribution_jax.prepare(runtime)
    elif runtime.virtual_devices:
        from . import distribution_tensorflow

        distribution_tensorflow.split_cpu(runtime.virtual_devices)
    return backend


def choose_backend(runtime: RuntimeSection, environment: Mapping[str, str] = os.environ) -> str:
    """The backend that the field or ``KERAS_BACKEND`` names.

    Raises:
        UsageProblem: they name two, one that there is not, or one without the wished strategy.
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
    wish = runtime.strategy
    if wish != "auto" and wish not in BACKENDS[backend]:
        instead = {"mirrored": "data_parallel", "data_parallel": "mirrored"}.get(wish)
        hint = f"use --runtime.strategy {instead}" if instead else "use --runtime.backend jax"
        raise UsageProblem(
            f"runtime.strategy: {wish!r} does not exist on the backend {backend!r}, which has "
            f"{', '.join(BACKENDS[backend])}; {hint}."
        )
    return backend


def connect(runtime: RuntimeSection, layout: Mapping[str, tuple[str | None, ...]]) -> Devices:
    """Choose the strategy and set the precision.

    Args:
        layout: how the model's large weights are divided, for ``model_parallel``: a pattern of
            the weight's path -> an entry for each axis, ``"model"`` or None.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    import keras

    if keras.backend.backend() == "jax":
        from .distribution_jax import connect as connect_backend
    else:
        from .distribution_tensorflow import connect as connect_backend
    return connect_backend(runtime, layout)


def has_gpu() -> bool:
    """Whether the backend sees a GPU; on JAX not to be asked before ``connect``."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "gpu"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def make_deterministic(wish: bool | None) -> None:
    """Let operations give the same result each time; before ``connect``.

    Args:
        wish: None: where it costs little. Deterministic kernels are much slower on GPUs, so there
            they must be asked for.
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() == "jax":
        if wish:
            add_xla_flag("--xla_gpu_deterministic_ops=true")
        # TensorFlow, which feeds it, works on the CPU.
        deterministic = wish is not False
    else:
        deterministic = wish if wish is not None else not has_gpu()
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def add_xla_flag(flag: str) -> None:
    """Set what XLA reads once, when JAX looks for its devices."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join([*flags, flag])


def refuse_ignored_fields(runtime: RuntimeSection, processes: int) -> None:
    """Refuse fields that the strategy would ignore.

    Args:
        processes: of the run.

    Raises:
        UsageProblem: such a field is set.
    """
    wish = runtime.strategy
    if runtime.devices and (processes > 1 or wish == "multi_worker"):
        raise UsageProblem(
            f"runtime.devices: {runtime.devices} is for one process; of several workers each takes "
            "all devices that it sees. Unset it, and limit those with CUDA_VISIBLE_DEVICES."
        )
    if runtime.devices and runtime.devices > 1 and wish == "single":
        raise UsageProblem(
            f"runtime.devices: {runtime.devices} contradicts runtime.strategy 'single', which "
            "takes one device; use 'auto'."
        )
    if runtime.model_devices and wish != "model_parallel":
        raise UsageProblem(
            f"runtime.model_devices: {runtime.model_devices} is for runtime.strategy "
            f"'model_parallel', and not for {wish!r}; unset it."
        )


def tensorflow_cluster(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """This process's number and the number of processes that ``TF_CONFIG`` names, if any.

    Raises:
        UsageProblem: it is not what a cluster sets.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text or text == "{}":
        return None
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kinds = [kind for kind in ("chief", "worker") if kind in cluster]
        sizes = [len(cluster[kind]) for kind in kinds]
        place = kinds.index(task["type"])
        number = sum(sizes[:place]) + int(task["index"])
        if not 0 <= int(task["index"]) < sizes[place]:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise UsageProblem(
            'TF_CONFIG: expected {"cluster": {"worker": ["host:port", …]}, "task": {"type": '
            f'"worker", "index": 0}}}} and got {text[:200]!r}.'
        ) from None
    return number, sum(sizes)


def jax_cluster(environment: Mapping[str, str] = os.environ) -> tuple[str, int, int] | None:
    """Address of process 0, this process's number and the number of processes, if set.

    They are named as JAX's launchers name them (``JAX_COORDINATOR_ADDRESS``,
    ``JAX_PROCESS_ID``, ``JAX_NUM_PROCESSES``) or as Keras does
    (``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``…_PROCESS_ID``, ``…_NUM_PROCESSES``).

    Raises:
        UsageProblem: some of them are set and others are not, or are no numbers.
    """
    for names in (
        ("JAX_COORDINATOR_ADDRESS", "JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
        (
            "KERAS_DISTRIBUTION_JOB_ADDRESSES",
            "KERAS_DISTRIBUTION_PROCESS_ID",
            "KERAS_DISTRIBUTION_NUM_PROCESSES",
        ),
    ):
        values = [environment.get(name, "") for name in names]
        if not any(values):
            continue
        try:
            address, number, count = values[0].split(",")[0], int(values[1]), int(values[2])
        except ValueError:
            raise UsageProblem(f"{', '.join(names)}: set all three, or none.") from None
        if not address or not 0 <= number < count:
            raise UsageProblem(f"{names[1]}: {number} is not a process of {count} at {address!r}.")
        return address, number, count
    return None


def no_cluster(backend: str) -> UsageProblem:
    """What to do about several workers without a cluster."""
    variables = "TF_CONFIG" if backend == "tensorflow" else "JAX_COORDINATOR_ADDRESS"
    return UsageProblem(
        f"runtime.strategy: 'multi_worker' needs the other workers' addresses in {variables}; a "
        f"cluster sets it. To start several workers here: python -m {__package__}.launch "
        "--workers 2 -- …"
    )


def chosen(names: list[str], runtime: RuntimeSection, seen: str) -> list[str]:
    """The devices that are to be used of those seen.

    Raises:
        UsageProblem: there are fewer than wished.
    """
    if runtime.devices and runtime.devices > len(names):
        raise UsageProblem(
            f"runtime.devices: {runtime.devices} is more than there are: it sees {seen}. To "
            f"rehearse on a CPU: --runtime.virtual_devices {runtime.devices}."
        )
    return names[: runtime.devices]


def needs_two(strategy: str, seen: str) -> UsageProblem:
    """What to do about one device where several are needed."""
    return UsageProblem(
        f"runtime.strategy: {strategy!r} needs at least two devices and sees {seen}; use 'single', "
        "or rehearse with --runtime.virtual_devices 2."
    )


def counted(count: int, kind: str) -> str:
    """Some devices in words: ``1 CPU device``, ``4 GPUs``."""
    if kind == "CPU":
        return f"{count} CPU device{'s' * (count != 1)}"
    return f"{count} {kind}{'s' * (count != 1)}"


def of_all_replicas(rows: Any) -> Any:
    """Rows of all parts of a batch, from those of a part; to be called inside a step.

    On JAX a step sees the whole batch anyway.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return rows
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    return context.all_gather(rows, axis=0)


def rebuilt(core: Any, let_go: Callable[[], None] = lambda: None) -> Any:
    """The same core anew. Through a file, since some layers save less than they train with, such as
    low-rank adapters that are added to what they adapt.

    Args:
        let_go: called in between, to leave devices.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "core.weights.h5"
        core.save_weights(file)
        let_go()
        copy = type(core).from_config(core.get_config())
        copy.load_weights(file)
    return copy


@contextlib.contextmanager
def worker_failures(processes: int) -> Iterator[None]:
    """Tell an error of the communication with other workers from one of this worker's own.

    Raises:
        WorkerLost: another worker is gone.
        OutOfDeviceMemory: this one, of several, lacks memory.
    """
    try:
        yield
    except ProjectError:
        raise
    except Exception as error:
        if processes > 1 and is_out_of_device_memory(error):
            raise OutOfDeviceMemory(describe(error)[0]) from error
        names = ("UnavailableError", "AbortedError", "InternalError", "CancelledError")
        lost = type(error).__name__ in (*names, "XlaRuntimeError", "JaxRuntimeError")
        # JAX may give what its CPU collectives say as a ValueError.
        lost = lost or "Gloo" in str(error)
        if processes == 1 or not lost:
            raise
        reason = " ".join(str(error).split())[:200]
        raise WorkerLost(
            "another worker is gone; start all of them again with the same command to resume "
            f"({reason})"
        ) from error


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    # TensorFlow's C++ part says at length that there is no GPU, whatever its log level.
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
