"""A batch means the same on any number of devices; what cannot work is refused."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import loop, strategy
from {{ cookiecutter.package_name }}.engine.distribution.cluster import (
    jax_cluster,
    tensorflow_cluster,
)
from {{ cookiecutter.package_name }}.engine.distribution.processes import SeveralProcesses
from {{ cookiecutter.package_name }}.engine.distribution.workers import describe_cluster
from {{ cookiecutter.package_name }}.engine.errors import (
    OutOfDeviceMemory,
    UsageProblem,
    WorkerLost,
    run_command,
)
from {{ cookiecutter.package_name }}.engine.metrics import MetricSums
from {{ cookiecutter.package_name }}.engine.runs import all_runs
from {{ cookiecutter.package_name }}.engine.seeds import find_seed_states, spread_seeds

from ..conftest import UNRECORDED, metrics_by_step
from .test_strategy import FULL, FULL_ERRORS, device_error, find_refusal

TWO_WORKERS = '{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 1}}'


def test_replicas_agree_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    fit = loop.fit

    def fit_and_keep(task: Any, network: keras.Model, *rest: Any) -> Any:
        trained.append(network)
        return fit(task, network, *rest)

    monkeypatch.setattr(loop, "fit", fit_and_keep)
    assert main([*UNRECORDED, "--runtime.strategy", "mirrored"]) == 0
    for variable in trained[0].weights:
        one, two = (part.numpy() for part in variable.value.values)
        np.testing.assert_array_equal(one, two)


@pytest.mark.usefixtures("fit_alone")
def test_replicas_resume_as_if_never_interrupted(interrupt: Callable) -> None:
    words = [*UNRECORDED, "--runtime.strategy", "mirrored", "--model.dropout", "0.5"]
    words += ["--train.max_steps", "18", "--train.log_every_steps", "1"]
    words += ["--train.checkpoint_every_steps", "4"]
    assert main([*words, "--fresh"]) == 0
    (alone,) = all_runs()
    interrupt(13)
    assert main([*words, "--fresh"]) == 75
    assert main(words) == 0
    (run,) = (run for run in all_runs() if run != alone)
    assert run.summary["resumed_from_step"] >= 13
    assert run.summary["weights_sha256"] == alone.summary["weights_sha256"]
    assert metrics_by_step(run) == metrics_by_step(alone)


def test_tensorboard_of_replicas() -> None:
    pytest.importorskip("tensorboard")
    words = ["--train.tensorboard", "true", "--train.profile_steps", "2:4"]
    assert main([*UNRECORDED, *words, "--runtime.strategy", "mirrored"]) == 0
    (run,) = all_runs()
    names = {path.name for path in (run.path / "tensorboard").rglob("*") if path.is_file()}
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert any(name.endswith(".xplane.pb") for name in names), "the trace"


class EachReplica:
    """In the place of ``MetricSums``: each replica's outputs of a step (replicas, *shape)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def zeros(self) -> list[np.ndarray]:
        return [np.zeros((2, *self.shape), "float32")]

    def sum_part(self, loss: Any, targets: Any, outputs: Any, weights: Any) -> list[tf.Tensor]:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return [tf.stack([outputs * tf.cast(number == other, "float32") for other in (0, 1)])]

    def add(self, sums: list[Any], batch: list[Any]) -> list[Any]:
        return batch


@pytest.fixture
def two_replicas() -> strategy.Strategy:
    return strategy.connect(load_config([], environment={}).runtime, {})


def compile_steps(network: keras.Model, devices: strategy.Strategy, metrics: Any) -> strategy.Steps:
    with devices.scope():
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(network.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return devices.compile(network, optimizer, loss, metrics)


def feed_parts(steps: strategy.Steps, units: int) -> Iterator[Any]:
    """Batches whose first part is of ones and whose second one of threes, (4, units) each."""
    inputs = np.ones((2, 4, units), "float32") * [[[1.0]], [[3.0]]]
    targets, weights = np.tile([0, 1, 2, 0], (2, 1)), np.ones((2, 4), "float32")
    parts = tf.data.Dataset.from_tensor_slices((inputs.astype("float32"), targets, weights))
    return iter(steps.feed(parts.repeat()))


def dropping() -> keras.Model:
    """Two layers that were given the same seed, and one that was given none."""
    kept = keras.Input((32,))
    given = keras.layers.Dense(32, kernel_initializer="identity")(kept)
    drops = [keras.layers.Dropout(0.5, seed=seed)(given) for seed in (7, 7, None)]
    return keras.Model(kept, keras.layers.Concatenate()(drops))


def test_each_replica_and_layer_draws_its_own_mask(two_replicas: strategy.Strategy) -> None:
    def masks(seed: int, begin: int) -> list[bytes]:
        """Two steps' masks, the first of them being step ``begin``."""
        with two_replicas.scope():
            network = dropping()
            spread_seeds(network, seed)
            for state in find_seed_states(network):
                state.assign([state.numpy()[0], begin])  # as a checkpoint has it
        steps = compile_steps(network, two_replicas, EachReplica((4, 96)))
        batches, found = feed_parts(steps, 32), []
        for _ in range(2):
            steps.train(batches, 1, False)
            (outputs,) = steps.read_sums()  # (replicas, rows, units of three layers)
            layers = np.split(outputs != 0, 3, axis=-1)
            found += [layer[replica].tobytes() for replica in (0, 1) for layer in layers]
        for state in find_seed_states(network):
            one, two = (part.numpy().tolist() for part in state.value.values)
            assert one == two, "a checkpoint has the state of one replica"
        return found

    first = masks(seed=0, begin=0)
    assert len(set(first)) == 2 * 2 * 3
    assert masks(seed=0, begin=1)[:6] == first[6:], "a function of seed and step alone"
    assert not set(first) & set(masks(seed=1, begin=0))


def test_only_what_a_step_changes_is_reduced(
    two_replicas: strategy.Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_replicas.scope():
        given = keras.Input((50,))
        frozen = keras.layers.Dense(100, trainable=False)(given)
        still = keras.layers.BatchNormalization(trainable=False)(frozen)
        norm = keras.layers.BatchNormalization(momentum=0.5)
        x = keras.layers.Dropout(0.5)(norm(still))
        network = keras.Model(given, keras.layers.Dense(3)(x))
    sizes: list[int] = []
    reduce = tf.distribute.ReplicaContext.all_reduce

    def reduce_and_count(context: Any, how: Any, values: Any) -> Any:
        sizes.append(sum(int(np.prod(value.shape)) for value in values))
        return reduce(context, how, values)

    monkeypatch.setattr(tf.distribute.ReplicaContext, "all_reduce", reduce_and_count)
    steps = compile_steps(network, two_replicas, MetricSums([]))
    # The mean of both parts, of which the statistics take half.
    expected = keras.Model(given, still)(np.full((1, 50), 2, "float32")).numpy()[0] / 2
    steps.train(feed_parts(steps, 50), 1, False)
    # Gradients of the head and of gamma and beta, both moving statistics, loss and examples.
    assert set(sizes) == {(100 * 3 + 3) + 2 * 100 + 2 * 100 + 2}
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, rtol=1e-4, atol=1e-6)
    for variable in network.variables:
        one, two = (part.numpy() for part in variable.value.values)
        np.testing.assert_array_equal(one, two)


def test_penalties_of_weights_count_once(two_replicas: strategy.Strategy) -> None:
    with two_replicas.scope():
        point = keras.Input((5,))
        regularizer = keras.regularizers.L2(0.3)
        network = keras.Model(point, keras.layers.Dense(3, kernel_regularizer=regularizer)(point))
    kernel = np.array(network.weights[0])
    steps = compile_steps(network, two_replicas, MetricSums([]))
    inputs = np.concatenate([np.ones((4, 5)), np.full((4, 5), 3.0)]).astype("float32")
    targets = np.tile([0, 1, 2, 0], 2)
    with tf.GradientTape() as tape:
        weights = tf.Variable(kernel)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, inputs @ weights)
        total = tf.reduce_mean(loss) + 0.3 * tf.reduce_sum(weights**2)
    expected = kernel - 0.1 * tape.gradient(total, weights).numpy()
    steps.train(feed_parts(steps, 5), 1, False)
    np.testing.assert_allclose(np.array(network.weights[0]), expected, rtol=1e-4, atol=1e-6)


def process_of(processes: int) -> strategy.Strategy:
    return SeveralProcesses("tensorflow", "some", processes, "", processes=processes)


@pytest.mark.parametrize("error", FULL_ERRORS, ids=lambda error: type(error).__name__)
def test_out_of_device_memory_is_no_lost_worker(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(words: list[str]) -> None:
        with process_of(int(words[0])).worker_failures():
            raise error

    assert run_command(step, ["1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: not enough device memory; try a smaller data.batch_size (")
    assert "OOM when allocating a tensor" in said or FULL in said
    assert said.count("\n") == 1
    # One of several leaves without exit handlers, which would wait for those that wait for it.
    ends: list[int] = []
    monkeypatch.setattr("os._exit", ends.append)
    run_command(step, ["2"])
    assert ends == [1]
    assert capsys.readouterr().err == said
    with pytest.raises(OutOfDeviceMemory), process_of(2).worker_failures():
        raise error


def test_other_errors_of_devices_stay_what_they_are() -> None:
    reset = device_error("XlaRuntimeError", "jaxlib.xla_extension", "UNAVAILABLE: connection reset")
    for lost in (reset, ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")):
        with pytest.raises(WorkerLost, match="another worker is"), process_of(2).worker_failures():
            raise lost


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
        (
            ["--runtime.strategy", "multi_worker", "--runtime.devices", "1"],
            {},
            "runtime.devices: 1 is for one process; of several workers each takes all devices",
        ),
        (
            ["--runtime.devices", "1"],
            {"TF_CONFIG": TWO_WORKERS},
            "runtime.devices: 1 is for one process; of several workers each takes all devices",
        ),
        (
            ["--runtime.strategy", "single", "--runtime.devices", "2"],
            {},
            "runtime.devices: 2 contradicts runtime.strategy 'single'",
        ),
        (
            ["--runtime.model_devices", "2"],
            {},
            "runtime.model_devices: 2 is for runtime.strategy 'model_parallel', and not for 'auto'",
        ),
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
    refusal = find_refusal(words, environment)
    assert message in refusal
    assert "\n" not in refusal


def test_auto_says_what_it_saw_and_chose() -> None:
    devices = strategy.connect(load_config([], environment={}).runtime, {})
    assert (devices.name, devices.replicas) == ("mirrored", 2)
    assert devices.reason == "2 replicas, because it sees 2 CPU devices"
    one = strategy.connect(load_config(["--runtime.devices", "1"], environment={}).runtime, {})
    assert one.name == "single"


def test_a_cluster_as_its_manager_describes_it() -> None:
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    assert tensorflow_cluster({"TF_CONFIG": json.dumps(config)}) == (2, 3)
    assert tensorflow_cluster({}) is None
    jax = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}
    assert jax_cluster(jax) == ("a:1", 1, 2)
    ours = {name.replace("JAX_", "KERAS_DISTRIBUTION_"): value for name, value in jax.items()}
    ours["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = ours.pop("KERAS_DISTRIBUTION_COORDINATOR_ADDRESS")
    assert jax_cluster(ours) == ("a:1", 1, 2)
    for broken in ({**jax, "JAX_PROCESS_ID": "2"}, {**jax, "JAX_NUM_PROCESSES": ""}):
        with pytest.raises(UsageProblem):
            jax_cluster(broken)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_launch_describes_a_cluster(backend: str) -> None:
    found = tensorflow_cluster if backend == "tensorflow" else jax_cluster
    ends = [found(environment)[-2:] for environment in describe_cluster(3, backend)]
    assert ends == [(0, 3), (1, 3), (2, 3)]
