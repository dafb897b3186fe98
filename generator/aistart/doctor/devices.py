"""What training would use: the framework's view of the devices beside the driver's."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator

from aistart.doctor.drivers import Driver, check_driver, check_variable
from aistart.doctor.environment import Environment, Plan, Seen
from aistart.doctor.findings import Finding, ok, problem, some, warning
from aistart.doctor.projects import release, script
from aistart.shell import quoted

# The oldest driver for each major version of CUDA, from NVIDIA's table of minor version
# compatibility.
OLDEST_DRIVER = {"11": "450.80", "12": "525.60", "13": "580.65"}
VISIBLE = "CUDA_VISIBLE_DEVICES"
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX"}


def check_driver_alone(driver: Driver) -> Iterator[Finding]:
    """GPUs and TPUs where there is no framework to ask."""
    if broken := check_driver(driver):
        yield broken
    elif driver.gpus:
        yield ok("gpu", f"{driver.shown}; no framework was asked")
    elif driver.version:
        yield ok("gpu", f"NVIDIA's driver {driver.version} is loaded; no framework was asked")
    elif not driver.tpus:
        yield ok("gpu", "none, and no TPU: training would take the CPU")
    if driver.tpus:
        yield ok("tpu", f"{driver.tpus_shown}; no framework was asked")
    elif useless := check_variable(driver):
        yield useless


def check_devices(environment: Environment, driver: Driver) -> Iterator[Finding]:
    """GPUs and TPUs, whether the framework sees them, and what ``train`` would do with them."""
    answer = environment.answer
    if answer.seen is None:
        yield from check_driver_alone(driver)
        yield _does_not_start(environment)
        return
    yield from _gpus(environment, driver, answer.seen, answer.plan)
    if driver.tpus:
        yield _tpu(environment, driver, answer.plan)
    elif useless := check_variable(driver):
        yield useless
    if answer.plan is None:
        yield _no_plan(environment)
        return
    yield _strategy(answer.plan)
    yield _batch_size(answer.plan)


def _does_not_start(environment: Environment) -> Finding:
    reason = environment.answer.reason or "it ended without a word"
    if f"signal {int(signal.SIGILL)})" in reason:
        reason += "; its packages need a CPU with AVX"
    python = environment.python
    see = environment.project.command(f"{python} -c {quoted('import tensorflow')}")
    return problem("devices", f"TensorFlow does not start: {reason}; the whole message:", see)


def _no_plan(environment: Environment) -> Finding:
    answer = environment.answer
    if "jax is not installed" in (answer.reason or ""):
        return problem("strategy", str(answer.reason), environment.install("-e '.[jax]'"))
    see = environment.module("config")
    reason = answer.reason or "the project's code ended without a word"
    return problem("strategy", f"train would not start: {reason}", see)


# === GPUs ===


def _gpus(
    environment: Environment, driver: Driver, seen: Seen, plan: Plan | None
) -> Iterator[Finding]:
    backend = plan.backend if plan else "tensorflow"
    count = seen.gpus
    if plan and backend == "jax":
        count = plan.jax_devices if plan.jax_platform in ("gpu", "cuda", "rocm") else 0
    name = NAMES[backend]
    if count == 0 and (broken := check_driver(driver)):
        yield broken
    elif count and not driver.gpus:
        yield ok("gpu", f"{name} sees {_counted(count)}; nvidia-smi does not say which")
    elif count and count < len(driver.gpus):
        yield _hidden(driver, f"{name} sees {count} of them", environment.log)
    elif count:
        yield ok("gpu", f"{driver.shown}; {name} sees {'it' if count == 1 else 'all'}")
    elif driver.gpus or driver.version:
        yield _unseen(environment, driver, seen, backend)
    elif not driver.tpus:
        yield ok("gpu", "none, and no TPU: training takes the CPU")


def _counted(count: int) -> str:
    return f"{count} GPU{'s' * (count > 1)}"


def _hidden(driver: Driver, what: str, log: str) -> Finding:
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return warning("gpu", f"{driver.shown}; {what}: {_said(log)}")
    return ok("gpu", f"{driver.shown}; {what}, as {VISIBLE} is {visible!r}")


def _unseen(environment: Environment, driver: Driver, seen: Seen, backend: str) -> Finding:
    """Why the framework sees none of the driver's GPUs."""
    there = driver.shown if driver.gpus else f"NVIDIA's driver {driver.version} is loaded"
    message = f"{there}; {NAMES[backend]} sees none"
    if not driver.gpus:
        hint = "and there is no nvidia-smi; a container is given GPUs with: docker run --gpus all"
        return warning("gpu", f"{message}, {hint}")
    if (visible := os.environ.get(VISIBLE)) is not None:
        return warning("gpu", f"{message}, as {VISIBLE} is {visible!r}", f"unset {VISIBLE}")
    why, fix = _why_unseen(environment, driver, seen, backend)
    return problem("gpu", f"{message}: {why}", fix)


def _why_unseen(
    environment: Environment, driver: Driver, seen: Seen, backend: str
) -> tuple[str, str | None]:
    if sys.platform == "win32":
        return "on Windows it runs on the CPU only; use WSL", "wsl --install"
    if backend == "jax":
        return _why_unseen_by_jax(environment, driver)
    extra = environment.install("-e '.[gpu]'")
    if seen.cuda is None:
        if "tensorflow-cpu" in environment.answer.packages:
            extra = f"{environment.pip('uninstall', 'tensorflow-cpu')} && {extra}"
        return "it is a build for CPUs only", extra
    if seen.missing:
        return f"CUDA's libraries are not installed: {some(seen.missing)}", extra
    if old := _too_old(driver, seen.cuda):
        return old, _new_driver()
    said = _said(environment.log)
    if os.environ.get("LD_LIBRARY_PATH"):
        return f"{said}; LD_LIBRARY_PATH may name other libraries", "unset LD_LIBRARY_PATH"
    return said, environment.install("--force-reinstall -e '.[gpu]'")


def _why_unseen_by_jax(environment: Environment, driver: Driver) -> tuple[str, str | None]:
    extra = environment.install("-e '.[jax-gpu]'")
    plugins = [n for n in environment.answer.packages if re.fullmatch(r"jax-cuda\d+-plugin", n)]
    if not plugins:
        return "it is a build for CPUs only", extra
    if old := _too_old(driver, re.sub(r"\D", "", plugins[0])):
        return old, _new_driver()
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return f"JAX_PLATFORMS is {platforms!r}", "unset JAX_PLATFORMS"
    return _said(environment.log), extra


def _too_old(driver: Driver, cuda: str) -> str | None:
    major = cuda.split(".")[0]
    oldest = OLDEST_DRIVER.get(major)
    if driver.version is None or oldest is None or release(driver.version) >= release(oldest):
        return None
    return f"CUDA {major} needs NVIDIA's driver {oldest} or newer"


def _new_driver() -> str | None:
    return "sudo ubuntu-drivers install" if shutil.which("ubuntu-drivers") else None


def _said(log: str) -> str:
    words = ("cuinit", "dlopen", "cuda drivers", "libcuda", "cudnn", "unable to initialize")
    lines = [line for line in log.splitlines() if any(word in line.lower() for word in words)]
    if not lines:
        return "it does not say why"
    return "it says: " + lines[-1].rpartition("] ")[2].strip()[:200]


# === TPUs ===


def _tpu(environment: Environment, driver: Driver, plan: Plan | None) -> Finding:
    if plan and plan.jax_platform == "tpu":
        return ok("tpu", f"{driver.tpus_shown}; JAX sees {plan.jax_devices}")
    extra = environment.install("-e '.[tpu]'")
    if "libtpu" not in environment.answer.packages:
        return problem("tpu", f"{driver.tpus_shown}; JAX's part for TPUs is not installed", extra)
    if plan is None or plan.backend == "jax":
        return problem(
            "tpu", f"{driver.tpus_shown}; JAX does not see it: {_said(environment.log)}", extra
        )
    train = f"{script(environment.folder, 'train')} --config configs/tpu.yaml"
    train = environment.project.command(train)
    return warning(
        "tpu", f"{driver.tpus_shown}; only JAX uses it, and the backend is {plan.backend}", train
    )


# === What train would do ===


def _strategy(plan: Plan) -> Finding:
    how = "auto picks it" if plan.wish == "auto" else f"runtime.strategy is {plan.wish}"
    return ok("strategy", f"{plan.strategy} on {NAMES[plan.backend]} ({how}): {plan.why}")


def _batch_size(plan: Plan) -> Finding:
    """The configured batch for each replica, so that each has as much to do as one alone."""
    size, replicas = plan.batch_size, plan.replicas
    if replicas == 1:
        message = f"{size} to begin with, as configured"
    else:
        message = (
            f"{size * replicas} to begin with: the configured {size} for each of {replicas} "
            f"replicas (--data.batch_size {size * replicas}, train.learning_rate raised with it)"
        )
    return ok("batch size", f"{message}; double it while epochs get faster and memory suffices")
