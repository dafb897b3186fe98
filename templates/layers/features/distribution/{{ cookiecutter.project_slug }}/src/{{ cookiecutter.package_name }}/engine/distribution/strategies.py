"""What a project with this feature can run on; see ``engine/strategy``."""

from ..config_fields import RuntimeFields
from ..errors import UsageProblem
from ..strategy import ShardingRules, Strategy

STRATEGIES = {
    "tensorflow": ("single", "mirrored", "multi_worker"),
    "jax": ("single", "data_parallel", "model_parallel", "fsdp", "multi_worker", "tpu"),
}


def check(runtime: RuntimeFields, backend: str) -> None:
    """Refuse a strategy that the backend does not have.

    Args:
        runtime: may name a strategy.
        backend: the backend of the run.

    Raises:
        UsageProblem: the message says what to do instead.
    """
    requested = runtime.strategy
    if requested != "auto" and requested not in STRATEGIES[backend]:
        instead = {"mirrored": "data_parallel", "data_parallel": "mirrored"}.get(requested)
        hint = f"use --runtime.strategy {instead}" if instead else "use --runtime.backend jax"
        raise UsageProblem(
            f"runtime.strategy: {requested!r} does not exist on the backend {backend!r}, which has "
            f"{', '.join(STRATEGIES[backend])}; {hint}."
        )


def prepare(runtime: RuntimeFields, backend: str) -> None:
    """Split the CPU into virtual devices, and set what JAX reads when it starts.

    Args:
        runtime: may name a number of virtual devices.
        backend: the backend of the run.

    Raises:
        ProjectError: the backend is not installed.
    """
    if backend == "jax":
        from . import jax

        jax.prepare(runtime)
    elif runtime.virtual_devices:
        from . import tensorflow

        tensorflow.split_cpu(runtime.virtual_devices)


def connect(runtime: RuntimeFields, sharding_rules: ShardingRules) -> Strategy:
    """Select devices, find the other processes, and set the precision.

    Args:
        runtime: names strategy, devices and precision.
        sharding_rules: how large weights are divided, for ``model_parallel``.

    Raises:
        UsageProblem: the strategy cannot work here.
    """
    import keras

    if keras.backend.backend() == "jax":
        from . import jax

        return jax.connect(runtime, sharding_rules)
    from . import tensorflow

    return tensorflow.connect(runtime)
