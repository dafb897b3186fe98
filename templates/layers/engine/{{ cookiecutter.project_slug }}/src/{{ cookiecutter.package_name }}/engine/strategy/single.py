"""What a project without a feature for more can run on: TensorFlow, on one device."""

from ..config_fields import RuntimeFields
from ..errors import UsageProblem
from . import ShardingRules, Strategy

FEATURE = "distribution"  # of aistart, for everything else


def check(runtime: RuntimeFields, backend: str) -> None:
    """Refuse what needs more than one device on TensorFlow.

    Args:
        runtime: may name a strategy and numbers of devices.
        backend: the backend of the run.

    Raises:
        UsageProblem: something is requested that this project lacks.
    """
    if backend != "tensorflow":
        field = "runtime.backend" if runtime.backend else "KERAS_BACKEND"
        raise missing_feature_error(field, backend)
    if runtime.strategy not in ("auto", "single"):
        raise missing_feature_error("runtime.strategy", runtime.strategy)
    for name in ("devices", "model_devices", "virtual_devices"):
        if (getattr(runtime, name) or 1) > 1:
            raise missing_feature_error(f"runtime.{name}", getattr(runtime, name))


def prepare(runtime: RuntimeFields, backend: str) -> None:
    """Do nothing: TensorFlow takes its devices as they are."""


def connect(runtime: RuntimeFields, sharding_rules: ShardingRules) -> Strategy:
    """Take one device and set the precision.

    Args:
        runtime: of the configuration.
        sharding_rules: nothing is divided.

    Raises:
        UsageProblem: the environment names several processes.
    """
    from .tensorflow import connect_one_device, count_processes

    check(runtime, "tensorflow")
    if (count := count_processes()) > 1:
        raise missing_feature_error("TF_CONFIG", f"{count} processes")
    return connect_one_device(runtime)


def missing_feature_error(field: str, value: object) -> UsageProblem:
    """Return the error for what only projects with the feature can do.

    Args:
        field: what the value was given for.
        value: the value that needs the feature.
    """
    return UsageProblem(
        f"{field}: {value!r} needs the feature {FEATURE!r}, which this project was made without: "
        f"aistart new … --with {FEATURE}."
    )
