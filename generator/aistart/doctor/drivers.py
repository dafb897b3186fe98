"""GPUs and TPUs as the system shows them, whatever a framework makes of them."""

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from aistart.doctor.findings import Finding, problem, some, warning
from aistart.doctor.processes import run

ROOT = Path("/")
QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
GOOGLE = "0x1ae0"  # as a maker of PCI devices


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver shows, in the driver's own words."""

    name: str
    memory: str


@dataclass(frozen=True)
class Driver:
    """What there is beside the CPU.

    Attributes:
        version: of NVIDIA's driver; None: there is none, or it does not answer.
        trouble: why ``nvidia-smi`` gives no answer though it is there.
        tpus: devices that are a TPU's.
        tpu_variable: of the environment, that speaks of a TPU.
    """

    gpus: tuple[Gpu, ...] = ()
    version: str | None = None
    trouble: str | None = None
    tpus: tuple[str, ...] = ()
    tpu_variable: str | None = None

    @property
    def shown(self) -> str:
        """The GPUs in words."""
        kinds = {(gpu.name, gpu.memory): self.gpus.count(gpu) for gpu in self.gpus}
        gpus = [f"{count} x {name} ({memory})" for (name, memory), count in kinds.items()]
        return f"{', '.join(gpus)}, driver {self.version}"

    @property
    def tpus_shown(self) -> str:
        """The TPU's devices in words."""
        return f"{len(self.tpus)} TPU device{'s' * (len(self.tpus) > 1)} ({some([*self.tpus])})"


def look() -> Driver:
    """Ask the driver, and look for a TPU's devices."""
    variable = next((name for name in sorted(os.environ) if name.startswith("TPU_")), None)
    return replace(_nvidia(), tpus=_tpus(variable), tpu_variable=variable)


def _nvidia() -> Driver:
    # WSL keeps it where no shell looks.
    smi = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if smi is None:
        return Driver(version=_loaded_version())
    done = run([smi, *QUERY])
    rows = [[cell.strip() for cell in line.split(",")] for line in done.output.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    if done.trouble or not rows:
        said = " ".join(done.output.split())[:200]
        if said.lower().startswith("no devices"):
            return Driver()
        return Driver(version=_loaded_version(), trouble=said or done.trouble or "no output")
    gpus = tuple(Gpu(name, memory) for name, memory, _ in rows)
    return Driver(gpus, rows[0][2])


def check_driver(driver: Driver) -> Finding | None:
    """What is wrong with the driver itself, if anything."""
    if driver.trouble is None:
        return None
    # A mismatch: the library was updated, and the kernel still has the old module.
    fix = "sudo reboot" if "mismatch" in driver.trouble else "sudo modprobe nvidia"
    return problem("gpu", f"nvidia-smi: {driver.trouble}", fix)


def check_variable(driver: Driver) -> Finding | None:
    """A variable of a TPU where there is none, as of a container that was not given it."""
    if driver.tpus or driver.tpu_variable is None:
        return None
    message = f"{driver.tpu_variable} is set, and there is no TPU device in /dev"
    return warning("tpu", message, f"unset {driver.tpu_variable}")


def _loaded_version() -> str | None:
    try:
        text = (ROOT / "proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else None


def _tpus(variable: str | None) -> tuple[str, ...]:
    # ``accel/accel0``, in a folder, is a neural processor of a laptop.
    chips = sorted((ROOT / "dev").glob("accel[0-9]*"))
    groups = sorted((ROOT / "dev/vfio").glob("[0-9]*"))
    # Any device that is handed to a virtual machine has such a group.
    if not chips and groups and (variable or _google_device()):
        chips = groups
    return tuple(map(str, chips))


def _google_device() -> bool:
    vendors = (ROOT / "sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == GOOGLE for vendor in vendors)
