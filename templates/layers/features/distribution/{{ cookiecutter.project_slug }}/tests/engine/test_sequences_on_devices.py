"""Batches whose rows have unequal numbers of tokens mean the same on any number of devices."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.strategy import choose_backend

from .sequences import train_some
from .test_sequences import SINGLE, assert_alike

MIRRORED = ["--runtime.strategy", "mirrored"]


@pytest.mark.parametrize(
    ("words", "batch_size"),
    [
        (MIRRORED, 6),
        (MIRRORED, 5),  # a row fills the batch up
        ([*MIRRORED, "--train.accumulate_steps", "2"], 5),
        ([*MIRRORED, "--train.recompute", "true"], 6),
    ],
)
def test_replicas_learn_as_one_device(words: list[str], batch_size: int) -> None:
    assert_alike(train_some(words, batch_size), train_some(SINGLE, batch_size))


def test_replicas_have_master_weights() -> None:
    trained = train_some([*MIRRORED, "--runtime.precision", "bfloat16"])
    one = train_some([*SINGLE, "--runtime.precision", "bfloat16"])
    assert trained.losses == pytest.approx(one.losses, rel=0.03)


def test_fsdp_is_of_jax() -> None:
    config = load_config(["--runtime.strategy", "fsdp"], environment={})
    with pytest.raises(UsageProblem) as refused:
        choose_backend(config.runtime, {})
    assert str(refused.value) == (
        "runtime.strategy: 'fsdp' does not exist on the backend 'tensorflow', which has single, "
        "mirrored, multi_worker; use --runtime.backend jax."
    )


@pytest.fixture(scope="module")
def on_jax() -> dict[str, Any]:
    """What ``jax_sequences.py`` prints."""
    pytest.importorskip("jax")
    folder = Path(__file__).parents[2]
    # Many programs for a few steps: XLA compiles them sooner, to run more slowly.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.engine.jax_sequences"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("data_parallel", "single"),
        ("data_parallel in parts", "single"),
        ("fsdp", "single"),
        ("dropout recomputed", "dropout"),
    ],
)
def test_devices_of_jax_learn_as_one(on_jax: dict[str, Any], first: str, second: str) -> None:
    ours, theirs = on_jax[first], on_jax[second]
    for one, two in zip(ours["metrics"], theirs["metrics"], strict=True):
        assert one == pytest.approx(two, abs=1e-3)
    assert ours["sums"] == pytest.approx(theirs["sums"], rel=1e-3, abs=1e-3)


def test_jax_learns_as_tensorflow(on_jax: dict[str, Any]) -> None:
    # The networks begin with other weights.
    assert on_jax["single"]["metrics"][0]["loss"] == pytest.approx(
        train_some(SINGLE, steps=1).losses[0], rel=0.2
    )


def test_fsdp_divides_weights_and_slots(on_jax: dict[str, Any]) -> None:
    for name in ("fsdp", "fsdp bfloat16 in parts"):
        for part in ("weights", "slots"):
            whole, here = on_jax[name][part]
            # Biases and scales are whole everywhere.
            assert whole / 4 <= here < 0.3 * whole, (name, part)
    whole, here = on_jax["data_parallel"]["weights"]
    assert here == whole
    assert on_jax["fsdp"]["name"] == "fsdp"
    assert on_jax["fsdp"]["copy"] == on_jax["single"]["copy"]


def test_master_weights_on_jax(on_jax: dict[str, Any]) -> None:
    one, several = (
        [metrics["loss"] for metrics in on_jax[name]["metrics"]]
        for name in ("bfloat16", "fsdp bfloat16 in parts")
    )
    assert several == pytest.approx(one, rel=0.03)
    assert on_jax["bfloat16"]["types"] == ["float32", "int32"]
    half, full = on_jax["bfloat16"]["weights"][0], on_jax["single"]["weights"][0]
    assert half < 0.6 * full
