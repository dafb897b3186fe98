"""A batch means the same on any number of devices; what cannot work is refused."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import distribution, fitting
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.errors import UsageProblem
from {{ cookiecutter.package_name }}.launch import environments
from {{ cookiecutter.package_name }}.meters import Meters
from {{ cookiecutter.package_name }}.runs import Run, all_runs
from {{ cookiecutter.package_name }}.train import main

from .conftest import UNRECORDED
from .domain import METRIC, WITHOUT_CHANCE


def losses(run: Run) -> list[float]:
    return [line["metrics"]["train/loss"] for line in run.read_metrics()]


@pytest.mark.parametrize("batch_size", ["32", "25"])
def test_two_replicas_learn_as_one_device(batch_size: str) -> None:
    words = [*UNRECORDED, *WITHOUT_CHANCE, "--data.batch_size", batch_size]
    words += ["--train.max_steps", "20"]
    words += ["--train.log_every_steps", "1", "--train.gradient_clip_norm", "0.5"]
    assert main([*words, "--runtime.strategy", "single"]) == 0
    assert main([*words, "--runtime.strategy", "mirrored"]) == 0
    one, two = sorted(all_runs(), key=lambda run: run.summary["replicas"])
    assert (one.summary["replicas"], two.summary["replicas"]) == (1, 2)
    assert len(losses(one)) >= 20
    # The epochs' last batches are incomplete: 140 examples.
    assert one.summary["data"]["train"] % int(batch_size) != 0
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    ends = [line["metrics"] for run in (one, two) for line in run.read_metrics()[-1:]]
    name = f"validation/{METRIC}"
    right = [end[name] * two.summary["data"]["validation"] for end in ends]
    assert right[0] == pytest.approx(right[1], abs=1.001), "a tie may fall either way"
    assert right[1] == pytest.approx(round(right[1]), abs=1e-3), "each example is counted once"


def test_replicas_agree_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    fit = fitting.fit
    monkeypatch.setattr(
        fitting, "fit", lambda core, *rest: (trained.append(core), fit(core, *rest))[1]
    )
    assert main([*UNRECORDED, "--runtime.strategy", "mirrored"]) == 0
    for variable in trained[0].weights:
        one, two = (part.numpy() for part in variable.value.values)
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--runtime.strategy", "multi_worker"], {}, "a cluster sets it. To start several"),
        (["--runtime.strategy", "tpu"], {}, "'tpu' does not exist on the backend 'tensorflow'"),
        (["--runtime.strategy", "data_parallel"], {}, "use --runtime.strategy mirrored"),
        (["--runtime.devices", "8"], {}, "8 is more than there are: it sees 2 CPU devices"),
        (
            ["--runtime.strategy", "mirrored", "--runtime.devices", "1"],
            {},
            "'mirrored' needs at least two devices",
        ),
        ([], {"KERAS_BACKEND": "torch"}, "KERAS_BACKEND: 'torch' is not supported"),
        (["--runtime.backend", "jax"], {"KERAS_BACKEND": "tensorflow"}, "contradicts"),
        ([], {"TF_CONFIG": "{"}, "TF_CONFIG: expected"),
        (
            [],
            {"TF_CONFIG": '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 1}}'},
            "TF_CONFIG: expected",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    words: list[str], environment: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    runtime = load_config(words, environment={}).runtime

    def connect() -> None:
        distribution.choose_backend(runtime, environment)
        distribution.connect(runtime, {})

    with pytest.raises(UsageProblem) as caught:
        connect()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_auto_says_what_it_saw_and_chose() -> None:
    devices = distribution.connect(load_config([], environment={}).runtime, {})
    assert (devices.name, devices.replicas) == ("mirrored", 2)
    assert devices.why == "2 replicas, because it sees 2 CPU devices"
    one = distribution.connect(load_config(["--runtime.devices", "1"], environment={}).runtime, {})
    assert one.name == "single"


def test_a_cluster_as_its_manager_describes_it() -> None:
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    assert distribution.tensorflow_cluster({"TF_CONFIG": json.dumps(config)}) == (2, 3)
    assert distribution.tensorflow_cluster({}) is None
    jax = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}
    assert distribution.jax_cluster(jax) == ("a:1", 1, 2)
    ours = {name.replace("JAX_", "KERAS_DISTRIBUTION_"): value for name, value in jax.items()}
    ours["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = ours.pop("KERAS_DISTRIBUTION_COORDINATOR_ADDRESS")
    assert distribution.jax_cluster(ours) == ("a:1", 1, 2)
    for broken in ({**jax, "JAX_PROCESS_ID": "2"}, {**jax, "JAX_NUM_PROCESSES": ""}):
        with pytest.raises(UsageProblem):
            distribution.jax_cluster(broken)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_launch_describes_a_cluster(backend: str) -> None:
    found = distribution.tensorflow_cluster if backend == "tensorflow" else distribution.jax_cluster
    ends = [found(environment)[-2:] for environment in environments(3, backend)]
    assert ends == [(0, 3), (1, 3), (2, 3)]


def test_meters_of_parts_add_up() -> None:
    targets, outputs = np.array([0, 1, 2, 0]), np.eye(4, 3, dtype="float32")
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    meters = Meters(metrics)
    weights = np.array([1.0, 1.0, 2.0, 0.0], "float32")
    sums = meters.zeros()
    parts = [
        meters.of_part(0.5, targets[rows], outputs[rows], tf.constant(weights[rows]))
        for rows in (slice(0, 2), slice(2, 4))
    ]
    whole = [one + two for one, two in zip(*parts, strict=True)]
    results = meters.results([np.asarray(value) for value in meters.added(sums, whole)])
    assert results == {"loss": pytest.approx(1.0), "accuracy": pytest.approx(1.0)}
