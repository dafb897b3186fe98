"""One device; what needs more is refused, and memory that it lacks is said."""

from collections.abc import Mapping

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import strategy
from {{ cookiecutter.package_name }}.engine.errors import (
    UsageProblem,
    describe,
    run_command,
)
from {{ cookiecutter.package_name }}.engine.metrics import MetricSums
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.engine.strategy import single

from ..conftest import UNRECORDED

CLUSTER = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'


@pytest.fixture
def without_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a project that was made without strategies for several devices."""
    monkeypatch.setattr(strategy, "find_strategies", lambda: single)


@pytest.mark.usefixtures("without_feature", "fit_alone")
def test_one_device_trains() -> None:
    assert main(UNRECORDED) == 0
    summary = find_run("latest").summary
    assert (summary["strategy"], summary["replicas"]) == ("single", 1)


@pytest.mark.usefixtures("without_feature")
@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--runtime.strategy", "mirrored"], {}, "runtime.strategy: 'mirrored' needs"),
        (["--runtime.backend", "jax"], {}, "runtime.backend: 'jax' needs"),
        (["--runtime.virtual_devices", "2"], {}, "runtime.virtual_devices: 2 needs"),
        (["--runtime.devices", "2"], {}, "runtime.devices: 2 needs"),
        ([], {"KERAS_BACKEND": "jax"}, "KERAS_BACKEND: 'jax' needs"),
        ([], {"TF_CONFIG": CLUSTER}, "TF_CONFIG: '2 processes' needs"),
    ],
)
def test_what_needs_the_feature_names_it(
    words: list[str],
    environment: Mapping[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_refusal(words, environment) == (
        f"{message} the feature 'distribution', which this project was made without: "
        "aistart new … --with distribution."
    )


def test_backends_that_contradict_each_other() -> None:
    runtime = load_config(["--runtime.backend", "tensorflow"], environment={}).runtime
    with pytest.raises(UsageProblem, match="contradicts"):
        strategy.choose_backend(runtime, {"KERAS_BACKEND": "jax"})
    with pytest.raises(UsageProblem, match="KERAS_BACKEND: 'torch' is not supported"):
        strategy.choose_backend(runtime, {"KERAS_BACKEND": "torch"})


def find_refusal(words: list[str], environment: Mapping[str, str]) -> str:
    """Return why a run cannot have its devices.

    Args:
        words: fields of the configuration.
        environment: variables, which are set.
    """
    runtime = load_config(words, environment={}).runtime

    def connect() -> None:
        strategy.choose_backend(runtime, environment)
        strategy.connect(runtime, {})

    with pytest.raises(UsageProblem) as caught:
        connect()
    return str(caught.value)


def device_error(name: str, module: str, text: str) -> Exception:
    return type(name, (RuntimeError,), {"__module__": module})(text)


FULL = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4096 bytes."
FULL_ERRORS = [
    device_error("XlaRuntimeError", "jaxlib.xla_extension", FULL),
    device_error("JaxRuntimeError", "jax.errors", FULL),
    tf.errors.ResourceExhaustedError(None, None, "Detected at x\nOOM when allocating a tensor"),
    tf.errors.InternalError(None, None, "Collective aborted by: OOM when allocating a tensor"),
]


@pytest.mark.parametrize("error", FULL_ERRORS, ids=lambda error: type(error).__name__)
def test_out_of_device_memory(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def step(words: list[str]) -> None:
        raise error

    assert run_command(step, []) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: not enough device memory; try a smaller data.batch_size (")
    assert "OOM when allocating a tensor" in said or FULL in said
    assert said.count("\n") == 1


def test_other_errors_are_not_of_memory() -> None:
    disk = tf.errors.ResourceExhaustedError(None, None, "a/b; No space left on device")
    assert "data.batch_size" not in describe(disk)[0]
    assert "data.batch_size" not in describe(ValueError(FULL))[0]


def test_sums_of_parts_add_up() -> None:
    targets, outputs = np.array([0, 1, 2, 0]), np.eye(4, 3, dtype="float32")
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    metric_sums = MetricSums(metrics)
    weights = np.array([1.0, 1.0, 2.0, 0.0], "float32")
    sums = metric_sums.zeros()
    parts = [
        metric_sums.sum_part(0.5, targets[rows], outputs[rows], tf.constant(weights[rows]))
        for rows in (slice(0, 2), slice(2, 4))
    ]
    whole = [one + two for one, two in zip(*parts, strict=True)]
    results = metric_sums.results([np.asarray(value) for value in metric_sums.add(sums, whole)])
    assert results == {"loss": pytest.approx(1.0), "accuracy": pytest.approx(1.0)}
