"""The cluster that the environment describes: who the other processes of a run are."""

import json
import os
from collections.abc import Mapping

from .. import PROGRAM
from ..errors import UsageProblem


def tensorflow_cluster(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Return the index of this process and the number of processes in ``TF_CONFIG``, if it is set.

    Raises:
        UsageProblem: its format is not that of TensorFlow.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text or text == "{}":
        return None
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kinds = [kind for kind in ("chief", "worker") if kind in cluster]
        sizes = [len(cluster[kind]) for kind in kinds]
        place = kinds.index(task["type"])
        number = sum(sizes[:place]) + int(task["index"])
        if not 0 <= int(task["index"]) < sizes[place]:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise UsageProblem(
            'TF_CONFIG: expected {"cluster": {"worker": ["host:port", …]}, "task": {"type": '
            f'"worker", "index": 0}}}} and got {text[:200]!r}.'
        ) from None
    return number, sum(sizes)


def jax_cluster(environment: Mapping[str, str] = os.environ) -> tuple[str, int, int] | None:
    """Return address of process 0, index of this process and number of processes, if they are set.

    The variables are those of JAX's launchers (``JAX_COORDINATOR_ADDRESS``,
    ``JAX_PROCESS_ID``, ``JAX_NUM_PROCESSES``) or those of Keras
    (``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``…_PROCESS_ID``, ``…_NUM_PROCESSES``).

    Raises:
        UsageProblem: some of them are missing or no numbers.
    """
    for names in (
        ("JAX_COORDINATOR_ADDRESS", "JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
        (
            "KERAS_DISTRIBUTION_JOB_ADDRESSES",
            "KERAS_DISTRIBUTION_PROCESS_ID",
            "KERAS_DISTRIBUTION_NUM_PROCESSES",
        ),
    ):
        values = [environment.get(name, "") for name in names]
        if not any(values):
            continue
        try:
            address, index, count = values[0].split(",")[0], int(values[1]), int(values[2])
        except ValueError:
            raise UsageProblem(f"{', '.join(names)}: set all three, or none.") from None
        if not address or not 0 <= index < count:
            raise UsageProblem(f"{names[1]}: {index} is not a process of {count} at {address!r}.")
        return address, index, count
    return None


def missing_cluster_error(backend: str) -> UsageProblem:
    """Return the error for several workers without a cluster; it says what to set."""
    variables = "TF_CONFIG" if backend == "tensorflow" else "JAX_COORDINATOR_ADDRESS"
    return UsageProblem(
        f"runtime.strategy: 'multi_worker' needs the other workers' addresses in {variables}; a "
        f"cluster sets it. To start several workers here: {PROGRAM} launch --workers 2 -- …"
    )
