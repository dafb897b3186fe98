"""Devices of one process, on both backends: which are used, and what is refused."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config_fields import RuntimeFields
from ..errors import UsageProblem


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
