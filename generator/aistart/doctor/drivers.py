"""GPUs and TPUs as the system reports them, whether or not a framework can use them."""

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from aistart.doctor.findings import Finding, problem, warning
from aistart.doctor.processes import run
from aistart.layout import abbreviate

ROOT = Path("/")
QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
GOOGLE_VENDOR = "0x1ae0"  # as a maker of PCI devices


@dataclass(frozen=True)
class Gpu:
    """A GPU, in the words of its driver."""

    name: str
    memory: str


@dataclass(frozen=True)
class Driver:
    """The accelerators of a machine.

    Attributes:
        gpus: the GPUs that ``nvidia-smi`` lists.
        version: of NVIDIA's driver; None if there is none, or it does not answer.
        failure: why ``nvidia-smi`` fails though it is installed.
        tpus: device files of a TPU.
        tpu_variable: an environment variable that is set for a TPU.
    """

    gpus: tuple[Gpu, ...] = ()
    version: str | None = None
    failure: str | None = None
    tpus: tuple[str, ...] = ()
    tpu_variable: str | None = None

    @property
    def gpu_summary(self) -> str:
        """The GPUs in words."""
        kinds = {(gpu.name, gpu.memory): self.gpus.count(gpu) for gpu in self.gpus}
        gpus = [f"{count} x {name} ({memory})" for (name, memory), count in kinds.items()]
        return f"{', '.join(gpus)}, driver {self.version}"

    @property
    def tpu_summary(self) -> str:
        """The TPU's devices in words."""
        plural = "s" * (len(self.tpus) > 1)
        return f"{len(self.tpus)} TPU device{plural} ({abbreviate([*self.tpus])})"


def detect() -> Driver:
    """Query NVIDIA's driver, and look for the devices of a TPU."""
    variable = next((name for name in sorted(os.environ) if name.startswith("TPU_")), None)
    return replace(_query_nvidia(), tpus=_find_tpu_devices(variable), tpu_variable=variable)


def _query_nvidia() -> Driver:
    # WSL keeps it in a folder that is not on the PATH.
    smi = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if smi is None:
        return Driver(version=_read_module_version())
    result = run([smi, *QUERY])
    rows = [[cell.strip() for cell in line.split(",")] for line in result.output.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    if result.failure or not rows:
        output = " ".join(result.output.split())[:200]
        if output.lower().startswith("no devices"):
            return Driver()
        failure = output or result.failure or "no output"
        return Driver(version=_read_module_version(), failure=failure)
    gpus = tuple(Gpu(name, memory) for name, memory, _ in rows)
    return Driver(gpus, rows[0][2])


def check_driver(driver: Driver) -> Finding | None:
    """Return the problem of the driver itself, if it has one."""
    if driver.failure is None:
        return None
    # A version mismatch: the library was updated while the kernel has the old module loaded.
    fix = "sudo reboot" if "mismatch" in driver.failure else "sudo modprobe nvidia"
    return problem("gpu", f"nvidia-smi: {driver.failure}", fix)


def install_command() -> str | None:
    """Return the command that installs a newer driver, if this system has one."""
    return "sudo ubuntu-drivers install" if shutil.which("ubuntu-drivers") else None


def check_tpu_variable(driver: Driver) -> Finding | None:
    """Warn of a TPU's variable without a TPU, for example in a container that lacks the device."""
    if driver.tpus or driver.tpu_variable is None:
        return None
    message = f"{driver.tpu_variable} is set, and there is no TPU device in /dev"
    return warning("tpu", message, f"unset {driver.tpu_variable}")


def _read_module_version() -> str | None:
    """Read the version of the kernel module of NVIDIA's driver."""
    try:
        text = (ROOT / "proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return match[1] if match else None


def _find_tpu_devices(variable: str | None) -> tuple[str, ...]:
    # A device in a subfolder, ``accel/accel0``, is the neural processor of a laptop.
    chips = sorted((ROOT / "dev").glob("accel[0-9]*"))
    groups = sorted((ROOT / "dev/vfio").glob("[0-9]*"))
    # Any device that is passed through to a virtual machine has such a group.
    if not chips and groups and (variable or _has_google_device()):
        chips = groups
    return tuple(map(str, chips))


def _has_google_device() -> bool:
    vendors = (ROOT / "sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == GOOGLE_VENDOR for vendor in vendors)
