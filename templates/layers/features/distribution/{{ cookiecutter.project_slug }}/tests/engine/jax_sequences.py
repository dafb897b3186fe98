"""Trains on sequences with JAX on four virtual devices, and prints what that came to as JSON.

A program of its own: a process has one backend. See ``test_sequences_on_devices.py``.
"""

import json
from typing import Any

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import strategy

DEVICES = ["--runtime.backend", "jax", "--runtime.virtual_devices", "4"]
strategy.prepare(load_config(DEVICES, environment={}).runtime)

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from . import sequences  # noqa: E402

SINGLE = ["--runtime.strategy", "single"]
PARALLEL = ["--runtime.strategy", "data_parallel"]
SHARDED = ["--runtime.strategy", "fsdp"]
PARTS = ["--train.accumulate_steps", "3"]
AGAIN = ["--train.recompute", "true"]
BFLOAT16 = ["--runtime.precision", "bfloat16"]
DROPOUT = {"dropout": 0.3}
CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "single": (SINGLE, {}),
    "data_parallel": (PARALLEL, {}),
    "data_parallel in parts": ([*PARALLEL, *PARTS], {}),
    "fsdp": (SHARDED, {}),
    "dropout": (SINGLE, DROPOUT),
    "dropout recomputed": ([*SINGLE, *AGAIN], DROPOUT),
    "bfloat16": ([*SINGLE, *BFLOAT16], {}),
    "fsdp bfloat16 in parts": ([*SHARDED, *BFLOAT16, *PARTS], {}),
}


def count_bytes(variables: list[keras.Variable]) -> tuple[int, int]:
    """Return the bytes of variables as wholes, and those on the first device."""
    first = jax.devices()[0]
    here = [
        shard.data.nbytes
        for variable in variables
        for shard in variable.value.addressable_shards
        if shard.device == first
    ]
    return sum(variable.value.nbytes for variable in variables), sum(here)


def describe(words: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Train, and return metrics, a sum of the weights, and bytes."""
    # Five rows: one or more fill the batch up. Each width of a batch would be compiled by itself.
    trained = sequences.train_some(words, batch_size=5, steps=2, cuts=False, **options)
    return {
        "metrics": trained.metrics,
        "sums": [float(np.abs(weight).sum()) for weight in trained.weights],
        "weights": count_bytes(trained.network.variables),
        "slots": count_bytes(trained.optimizer.variables),
        "name": trained.devices.name,
        "types": sorted({v.dtype for v in trained.optimizer.variables}),
        "copy": trained.devices.local_copy(trained.network).count_params(),
    }


if __name__ == "__main__":
    print(json.dumps({name: describe(*case) for name, case in CASES.items()}))
