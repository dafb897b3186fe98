"""What a project's own Python has and sees, one JSON object a line: the last one is the answer.

Run by the project's Python, ``python probe.py PACKAGE`` in the project's folder. So it imports
nothing of aistart, and says what it is on a Python that is too old for the project as well. Each
line says what comes next (``stage``), since the framework may take the process down.
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
    # Beside this script are modules of aistart, which must not hide the project's.
    beside = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != beside]
    # What the framework and the project print must not come between.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": packages(),
        "home": home(package),
        "seen": None,
        "plan": None,
        "reason": None,
    }
    say(answer, facts, "tensorflow")
    try:
        facts["seen"] = seen_by_tensorflow()
        say(answer, facts, "project")
        facts["plan"] = plan(package)
        say(answer, facts, "end")
    except Exception as error:
        name = type(error).__name__
        known = {"UsageProblem", "ProjectError"}  # of the project: a message for its user
        text = " ".join(str(error).split())[:500]
        facts["reason"] = text if name in known else f"{name}: {text}"
        say(answer, facts, "project" if facts["seen"] else "tensorflow")


def say(answer: TextIO, facts: dict[str, Any], stage: str) -> None:
    print(json.dumps({**facts, "stage": stage}), file=answer, flush=True)


def packages() -> dict[str, str]:
    """Installed packages with their versions; of two that have a name, the one that is imported."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return found


def home(package: str) -> str | None:
    """The folder of the project's package as this Python finds it, if it does."""
    spec = find_spec(package)
    return str(Path(spec.origin).parent) if spec and spec.origin else None


def seen_by_tensorflow() -> dict[str, Any]:
    """Devices, and what decides whether there can be GPUs."""
    tf = import_module("tensorflow")
    build = dict(tf.sysconfig.get_build_info())
    return {
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "cuda": build.get("cuda_version") if tf.test.is_built_with_cuda() else None,
        "missing": missing_libraries(),
    }


def missing_libraries() -> list[str]:
    """Packages with CUDA's libraries that TensorFlow asks for and that are not there."""
    try:
        wanted = metadata.requires("tensorflow") or []
    except metadata.PackageNotFoundError:
        return []
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in wanted if "and-cuda" in line]
    present = packages()
    return [name for name in names if name.lower() not in present]


def plan(package: str) -> dict[str, Any]:
    """What ``train`` would do here, from the project's own configuration and environment."""
    sys.path.insert(0, str(Path("src").resolve()))
    config = import_module(f"{package}.config").load_config()
    distribution = import_module(f"{package}.distribution")
    backend = distribution.prepare(config.runtime)
    found = {
        "backend": backend,
        "wish": config.runtime.strategy,
        "batch_size": config.data.batch_size,
        "tracking": config.tracking.enabled,
        "tracking_uri": config.tracking.uri,
        **jax_devices(backend),
    }
    # The other workers are not there: to connect would be to wait for them.
    cluster = getattr(distribution, f"{backend}_cluster")()
    processes = cluster[-1] if cluster else 1
    if processes > 1:
        why = f"one of {processes} workers, named by the environment"
        return {**found, "strategy": "multi_worker", "replicas": processes, "why": why}
    devices = distribution.connect(config.runtime, {})
    return {
        **found,
        "strategy": devices.name,
        "replicas": devices.replicas,
        "why": devices.why,
    }


def jax_devices(backend: str) -> dict[str, Any]:
    if backend != "jax":
        return {"jax_platform": None, "jax_devices": 0}
    devices = import_module("jax").local_devices()
    return {"jax_platform": devices[0].platform, "jax_devices": len(devices)}


if __name__ == "__main__":
    main(sys.argv[1])
