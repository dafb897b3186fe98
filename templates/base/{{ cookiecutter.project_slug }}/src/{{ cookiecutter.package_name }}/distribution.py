"""Which devices a run uses: the one module that knows of them.

``prepare`` must run before TensorFlow touches a device; ``connect`` then gives the strategy under
whose scope every model is built.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UsageProblem
from .sections import RuntimeSection


@dataclass(frozen=True)
class Devices:
    """The strategy of a run. ``why`` says in words what was seen and chosen."""

    name: str
    replicas: int
    why: str
    strategy: Any = None  # a tf.distribute.Strategy, or None on one device

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Variables made inside it live on all of the devices."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def training_model(self, core: Any, batches: Any, **compilation: Any) -> Any:
        """A compiled model around the core's own layers, to be fitted on these batches.

        To be called inside the scope. What is saved later is the core: it knows nothing of
        optimizer, loss and devices.
        """
        import keras

        class ReplicatedModel(keras.Model):
            """Built from a whole batch. Keras would take the first batch of the training for it,
            which is then missing there, and fails where replicas get parts of unequal size."""

            def _maybe_symbolic_build(self, iterator=None, data_batch=None):
                pass

        kind = ReplicatedModel if self.strategy else keras.Model
        model = kind(core.inputs, core.outputs)
        model.compile(**compilation)
        if self.strategy:
            model._symbolic_build(data_batch=next(iter(batches)))
        return model


def prepare(runtime: RuntimeSection, environment: Mapping[str, str] = os.environ) -> None:
    """Set what must be set before the first tensor: log level, backend, virtual devices.

    Raises:
        UsageProblem: the wish and the environment contradict each other.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wished = environment.get("KERAS_BACKEND", runtime.backend)
    if wished != runtime.backend:
        raise UsageProblem(
            f"KERAS_BACKEND: {wished!r} is not supported by this project; "
            f"allowed: {runtime.backend}."
        )
    os.environ["KERAS_BACKEND"] = runtime.backend
    with _without_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if runtime.virtual_devices:
        _split_cpu(runtime.virtual_devices)


def connect(runtime: RuntimeSection) -> Devices:
    """Choose the strategy and set the precision.

    Raises:
        UsageProblem: the strategy cannot work on this machine.
    """
    import keras
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    names = [device.name for device in (gpus or cpus)]
    seen = f"{len(gpus)} GPUs" if gpus else f"{len(cpus)} CPU device{'s' * (len(cpus) > 1)}"
    keras.config.set_dtype_policy(_precision(runtime.precision, gpus))
    wish = runtime.strategy
    if wish == "mirrored" and len(names) < 2:
        raise UsageProblem(
            f"runtime.strategy: 'mirrored' needs at least two devices and sees {seen}; use "
            "'single', or rehearse with --runtime.virtual_devices 2."
        )
    if wish == "single" or len(names) == 1:
        reason = "as configured" if wish == "single" else f"because it sees {seen}"
        return Devices("single", 1, f"one device, {reason}")
    # Collectives between virtual CPU devices may start in different orders and then fail.
    reduction = None if gpus else tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(names, reduction)
    reason = "as configured" if wish == "mirrored" else f"because it sees {seen}"
    return Devices("mirrored", len(names), f"{len(names)} replicas, {reason}", strategy)


def has_gpu() -> bool:
    """Whether the framework sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


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


def _split_cpu(count: int) -> None:
    import tensorflow as tf

    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def _precision(wish: str, gpus: list[Any]) -> str:
    if wish != "auto":
        return wish
    import tensorflow as tf

    details = [
        tf.config.experimental.get_device_details(device)
        for device in tf.config.list_physical_devices("GPU")
    ]
    capabilities = [detail.get("compute_capability", (0, 0)) for detail in details]
    if not gpus or not capabilities or min(capabilities) < (7, 0):
        return "float32"
    # bfloat16 needs no loss scaling, but runs fast only from Ampere (8.0) on.
    return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "mixed_float16"
