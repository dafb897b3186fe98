"""Reports what a project's own Python has and sees: ``python probe.py PACKAGE``.

The project's Python runs it, in the project's folder. So it imports nothing of aistart, and it also
runs on a Python that is too old for the project. Each line of output is a complete JSON object that
names the next step (``stage``), since the framework may crash the process; the last line counts.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO


def main(package: str) -> None:
    # The modules of aistart beside this script must not hide the project's.
    beside = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != beside]
    # Whatever the framework and the project print goes to standard error instead.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": list_packages(),
        "home": find_home(package),
        "devices": None,
        "plan": None,
        "reason": None,
    }
    emit(output, facts, "tensorflow")
    try:
        facts["devices"] = detect_devices()
        emit(output, facts, "project")
        facts["plan"] = resolve_plan(package)
        emit(output, facts, "end")
    except Exception as error:
        name = type(error).__name__
        user_errors = {"UsageProblem", "ProjectError"}  # the project's own, with a clear message
        text = " ".join(str(error).split())[:500]
        facts["reason"] = text if name in user_errors else f"{name}: {text}"
        emit(output, facts, "project" if facts["devices"] else "tensorflow")


def emit(output: TextIO, facts: dict[str, Any], stage: str) -> None:
    """Write the facts so far as one line.

    Args:
        output: the stream that aistart reads.
        facts: what is known.
        stage: the step that comes next.
    """
    print(json.dumps({**facts, "stage": stage}), file=output, flush=True)


def list_packages() -> dict[str, str]:
    """Return the installed packages with their versions; of duplicates, the imported one."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return versions


def find_home(package: str) -> str | None:
    """Return the folder from which the project's package would be imported, if it is found."""
    spec = find_spec(package)
    return str(Path(spec.origin).parent) if spec and spec.origin else None


def detect_devices() -> dict[str, Any]:
    """Return the GPUs that TensorFlow sees, and what decides whether it can see any."""
    tf = import_module("tensorflow")
    build = dict(tf.sysconfig.get_build_info())
    return {
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "cuda": build.get("cuda_version") if tf.test.is_built_with_cuda() else None,
        "missing": list_missing_libraries(),
    }


def list_missing_libraries() -> list[str]:
    """Return the packages with CUDA's libraries that TensorFlow requires and that are missing."""
    try:
        requirements = metadata.requires("tensorflow") or []
    except metadata.PackageNotFoundError:
        return []
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in requirements if "and-cuda" in line]
    present = list_packages()
    return [name for name in names if name.lower() not in present]


def resolve_plan(package: str) -> dict[str, Any]:
    """Return what ``train`` would do here, from the project's own configuration and code."""
    sys.path.insert(0, str(Path("src").resolve()))
    config = import_module(f"{package}.config").load_config()
    strategy = import_module(f"{package}.engine.strategy")
    backend = strategy.prepare(config.runtime)
    plan = {
        "backend": backend,
        "requested_strategy": config.runtime.strategy,
        "batch_size": config.data.batch_size,
        "tracking": config.tracking.enabled,
        "tracking_uri": config.tracking.uri,
        **detect_jax_devices(backend),
    }
    # Connecting to a cluster would wait for the other workers, which are not running.
    processes = count_processes(package, backend)
    if processes > 1:
        why = f"one of {processes} workers, named by the environment"
        return {**plan, "strategy": "multi_worker", "replicas": processes, "why": why}
    devices = strategy.connect(config.runtime, {})
    return {
        **plan,
        "strategy": devices.name,
        "replicas": devices.replicas,
        "why": devices.reason,
    }


def count_processes(package: str, backend: str) -> int:
    """Return the number of processes that the environment names.

    Args:
        package: the project's; one without the feature ``distribution`` trains in one process.
        backend: ``tensorflow`` or ``jax``.
    """
    if find_spec(f"{package}.engine.distribution") is None:
        return 1
    cluster_of = import_module(f"{package}.engine.distribution.cluster")
    cluster = getattr(cluster_of, f"{backend}_cluster")()
    return int(cluster[-1]) if cluster else 1


def detect_jax_devices(backend: str) -> dict[str, Any]:
    """Return the platform and number of JAX's devices, if it is the backend."""
    if backend != "jax":
        return {"jax_platform": None, "jax_devices": 0}
    devices = import_module("jax").local_devices()
    return {"jax_platform": devices[0].platform, "jax_devices": len(devices)}


if __name__ == "__main__":
    main(sys.argv[1])
