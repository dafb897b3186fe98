"""The devices that training would use: the framework's view compared with the driver's."""

import os
import re
import signal
import sys
from collections.abc import Iterator

from aistart.doctor.drivers import Driver, check_driver, check_tpu_variable, install_command
from aistart.doctor.environment import Environment, FrameworkDevices, Plan
from aistart.doctor.findings import Finding, ok, problem, warning
from aistart.doctor.projects import script_word
from aistart.layout import abbreviate
from aistart.shell import join_command
from aistart.versions import parse_release

# The oldest driver for each major version of CUDA, from NVIDIA's table of minor version
# compatibility.
OLDEST_DRIVER = {"11": "450.80", "12": "525.60", "13": "580.65"}
VISIBLE = "CUDA_VISIBLE_DEVICES"
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX"}


def check_driver_only(driver: Driver) -> Iterator[Finding]:
    """Check GPUs and TPUs where there is no framework to ask."""
    if failure := check_driver(driver):
        yield failure
    elif driver.gpus:
        yield ok("gpu", f"{driver.gpu_summary}; no framework was asked")
    elif driver.version:
        yield ok("gpu", f"NVIDIA's driver {driver.version} is loaded; no framework was asked")
    elif not driver.tpus:
        yield ok("gpu", "none, and no TPU: training would take the CPU")
    if driver.tpus:
        yield ok("tpu", f"{driver.tpu_summary}; no framework was asked")
    elif stale_variable := check_tpu_variable(driver):
        yield stale_variable


def check_devices(environment: Environment, driver: Driver) -> Iterator[Finding]:
    """Check whether the framework sees the GPUs and TPUs, and what ``train`` would do with them.

    Args:
        environment: the project's, with what its framework sees.
        driver: the machine's accelerators.
    """
    probe = environment.probe
    if probe.devices is None:
        yield from check_driver_only(driver)
        yield _report_import_failure(environment)
        return
    yield from _check_gpus(environment, driver, probe.devices, probe.plan)
    if driver.tpus:
        yield _check_tpu(environment, driver, probe.plan)
    elif stale_variable := check_tpu_variable(driver):
        yield stale_variable
    if probe.plan is None:
        yield _report_missing_plan(environment)
        return
    yield _report_strategy(probe.plan)
    yield _suggest_batch_size(probe.plan)


def _report_import_failure(environment: Environment) -> Finding:
    reason = environment.probe.reason or "it ended without a message"
    if f"signal {int(signal.SIGILL)})" in reason:
        reason += "; its packages need a CPU with AVX"
    python = environment.python
    command = f"{python} -c {join_command('import tensorflow')}"
    message = f"TensorFlow does not start: {reason}; the whole message:"
    return problem("devices", message, environment.project.command(command))


def _report_missing_plan(environment: Environment) -> Finding:
    reason = environment.probe.reason
    if "jax is not installed" in (reason or ""):
        return problem("strategy", str(reason), environment.install_command("-e '.[jax]'"))
    reason = reason or "the project's code ended without a message"
    command = environment.package_command("config")
    return problem("strategy", f"train would not start: {reason}", command)


# === GPUs ===


def _check_gpus(
    environment: Environment, driver: Driver, devices: FrameworkDevices, plan: Plan | None
) -> Iterator[Finding]:
    backend = plan.backend if plan else "tensorflow"
    count = devices.gpus
    if plan and backend == "jax":
        count = plan.jax_devices if plan.jax_platform in ("gpu", "cuda", "rocm") else 0
    name = NAMES[backend]
    if count == 0 and (failure := check_driver(driver)):
        yield failure
    elif count and not driver.gpus:
        gpus = f"{count} GPU{'s' * (count > 1)}"
        yield ok("gpu", f"{name} sees {gpus}; nvidia-smi does not say which")
    elif count and count < len(driver.gpus):
        yield _report_subset(driver, f"{name} sees {count} of them", environment.log)
    elif count:
        yield ok("gpu", f"{driver.gpu_summary}; {name} sees {'it' if count == 1 else 'all'}")
    elif driver.gpus or driver.version:
        yield _report_no_gpu(environment, driver, devices, backend)
    elif not driver.tpus:
        yield ok("gpu", "none, and no TPU: training takes the CPU")


def _report_subset(driver: Driver, message: str, log: str) -> Finding:
    """Report that the framework sees fewer GPUs than the driver."""
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return warning("gpu", f"{driver.gpu_summary}; {message}: {_quote_log(log)}")
    return ok("gpu", f"{driver.gpu_summary}; {message}, as {VISIBLE} is {visible!r}")


def _report_no_gpu(
    environment: Environment, driver: Driver, devices: FrameworkDevices, backend: str
) -> Finding:
    """Report why the framework sees none of the driver's GPUs."""
    there = driver.gpu_summary if driver.gpus else f"NVIDIA's driver {driver.version} is loaded"
    message = f"{there}; {NAMES[backend]} sees none"
    if not driver.gpus:
        hint = "and there is no nvidia-smi; a container is given GPUs with: docker run --gpus all"
        return warning("gpu", f"{message}, {hint}")
    if (visible := os.environ.get(VISIBLE)) is not None:
        return warning("gpu", f"{message}, as {VISIBLE} is {visible!r}", f"unset {VISIBLE}")
    diagnose = _diagnose_jax if backend == "jax" else _diagnose_tensorflow
    if sys.platform == "win32":
        reason, fix = "on Windows it runs on the CPU only; use WSL", "wsl --install"
        return problem("gpu", f"{message}: {reason}", fix)
    reason, command = diagnose(environment, driver, devices)
    return problem("gpu", f"{message}: {reason}", command)


def _diagnose_tensorflow(
    environment: Environment, driver: Driver, devices: FrameworkDevices
) -> tuple[str, str | None]:
    """Return why TensorFlow sees no GPU, and the command that fixes it, if there is one."""
    install = environment.install_command("-e '.[gpu]'")
    if devices.cuda is None:
        if "tensorflow-cpu" in environment.probe.packages:
            install = f"{environment.pip_command('uninstall', 'tensorflow-cpu')} && {install}"
        return "it is a build for CPUs only", install
    if devices.missing:
        return f"CUDA's libraries are not installed: {abbreviate(devices.missing)}", install
    if reason := _driver_age_problem(driver, devices.cuda):
        return reason, install_command()
    reason = _quote_log(environment.log)
    if os.environ.get("LD_LIBRARY_PATH"):
        return f"{reason}; LD_LIBRARY_PATH may name other libraries", "unset LD_LIBRARY_PATH"
    return reason, environment.install_command("--force-reinstall -e '.[gpu]'")


def _diagnose_jax(
    environment: Environment, driver: Driver, devices: FrameworkDevices
) -> tuple[str, str | None]:
    """As ``_diagnose_tensorflow``, for JAX, which has a plugin for CUDA."""
    install = environment.install_command("-e '.[jax-gpu]'")
    packages = environment.probe.packages
    plugins = [name for name in packages if re.fullmatch(r"jax-cuda\d+-plugin", name)]
    if not plugins:
        return "it is a build for CPUs only", install
    if reason := _driver_age_problem(driver, re.sub(r"\D", "", plugins[0])):
        return reason, install_command()
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return f"JAX_PLATFORMS is {platforms!r}", "unset JAX_PLATFORMS"
    return _quote_log(environment.log), install


def _driver_age_problem(driver: Driver, cuda: str) -> str | None:
    major = cuda.split(".")[0]
    oldest = OLDEST_DRIVER.get(major)
    if driver.version is None or oldest is None:
        return None
    if parse_release(driver.version) >= parse_release(oldest):
        return None
    return f"CUDA {major} needs NVIDIA's driver {oldest} or newer"


def _quote_log(log: str) -> str:
    """Quote the last line of the framework's log that is about CUDA."""
    words = ("cuinit", "dlopen", "cuda drivers", "libcuda", "cudnn", "unable to initialize")
    lines = [line for line in log.splitlines() if any(word in line.lower() for word in words)]
    if not lines:
        return "it does not say why"
    return "it says: " + lines[-1].rpartition("] ")[2].strip()[:200]


# === TPUs ===


def _check_tpu(environment: Environment, driver: Driver, plan: Plan | None) -> Finding:
    summary = driver.tpu_summary
    if plan and plan.jax_platform == "tpu":
        return ok("tpu", f"{summary}; JAX sees {plan.jax_devices}")
    install = environment.install_command("-e '.[tpu]'")
    if "libtpu" not in environment.probe.packages:
        return problem("tpu", f"{summary}; JAX's part for TPUs is not installed", install)
    if plan is None or plan.backend == "jax":
        reason = _quote_log(environment.log)
        return problem("tpu", f"{summary}; JAX does not see it: {reason}", install)
    train = f"{script_word(environment.folder, 'train')} --config configs/tpu.yaml"
    message = f"{summary}; only JAX uses it, and the backend is {plan.backend}"
    return warning("tpu", message, environment.project.command(train))


# === What train would do ===


def _report_strategy(plan: Plan) -> Finding:
    requested = plan.requested_strategy
    how = "auto picks it" if requested == "auto" else f"runtime.strategy is {requested}"
    return ok("strategy", f"{plan.strategy} on {NAMES[plan.backend]} ({how}): {plan.why}")


def _suggest_batch_size(plan: Plan) -> Finding:
    """Suggest the configured batch for each replica, so that each has as much work as one alone."""
    size, replicas = plan.batch_size, plan.replicas
    if replicas == 1:
        message = f"{size} to begin with, as configured"
    else:
        message = (
            f"{size * replicas} to begin with: the configured {size} for each of {replicas} "
            f"replicas (--data.batch_size {size * replicas}, train.learning_rate raised with it)"
        )
    return ok("batch size", f"{message}; double it while epochs get faster and memory suffices")
