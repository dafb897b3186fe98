"""Training on sequences: weights of tokens, parts of batches, and what needs less memory."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine import artifact, loop
from {{ cookiecutter.package_name }}.engine.batches import (
    ShuffledSampler,
    training_batches,
)
from {{ cookiecutter.package_name }}.engine.cache import cache_split
from {{ cookiecutter.package_name }}.engine.checkpoints import read_newest
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.evaluation import compare_with_baselines
from {{ cookiecutter.package_name }}.engine.interfaces import Split
from {{ cookiecutter.package_name }}.engine.optimizers import make_optimizer
from {{ cookiecutter.package_name }}.engine.runs import all_runs
from {{ cookiecutter.package_name }}.engine.train_step import TensorFlowStep

from ..conftest import UNRECORDED, metrics_by_step
from . import sequences
from .sequences import Preprocessing, build_network, make_batch, make_rows, train_some

SINGLE = ["--runtime.strategy", "single"]


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    """Later tests have the usual precision."""
    yield
    keras.config.set_dtype_policy("float32")


def assert_alike(first: sequences.Trained, second: sequences.Trained, atol: float = 2e-5) -> None:
    for one, two in zip(first.metrics, second.metrics, strict=True):
        assert one == pytest.approx(two, abs=1e-4)
    for one, two in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(one, two, atol=atol)


def test_the_loss_is_a_mean_over_tokens() -> None:
    keras.utils.set_random_seed(0)
    network = build_network()
    rows = make_rows()
    inputs, targets, weights = make_batch(rows, None, None)
    losses = keras.losses.sparse_categorical_crossentropy(
        targets, network(inputs, training=False), from_logits=True
    )
    right = np.array(network(inputs)).argmax(axis=-1) == targets
    weights = np.array(weights)
    # All rows at once; what fills the batch up counts nothing.
    for words in (SINGLE, [*SINGLE, "--train.accumulate_steps", "4"]):
        (metrics,) = train_some(words, batch_size=sequences.SIZE, steps=1).metrics
        assert metrics["loss"] == pytest.approx((losses * weights).numpy().sum() / weights.sum())
        assert metrics["accuracy"] == pytest.approx((right * weights).sum() / weights.sum())


def test_batches_are_cut_by_entry_and_hold_rows_of_similar_length() -> None:
    split = cache_split(sequences.make_split(), Preprocessing(), "none", "x")
    assert set(split.lengths) == {"tokens", "weights"}
    np.testing.assert_array_equal(split.lengths["tokens"], sequences.LENGTHS)
    np.testing.assert_array_equal(
        split.take(np.array([3, 1])).lengths["weights"], sequences.LENGTHS[[3, 1]]
    )
    sampler = ShuffledSampler(len(split), 6, 0, None, split.lengths)
    batches = training_batches(
        split, Preprocessing(), sampler=sampler, last_step=sampler.steps, make_batch=make_batch
    )
    total, widths = 0.0, set()
    for inputs, targets, weights in batches:
        assert inputs["tokens"].shape == targets.shape == weights.shape
        total += float(tf.reduce_sum(weights))
        widths.add(targets.shape[1])
    assert total == np.maximum(make_rows()["weights"], 0).sum(), "nothing is cut"
    assert len(widths) > 1


@pytest.mark.parametrize("mode", ["memory", "auto", "none"])
def test_examples_of_several_entries_in_a_cache(mode: str) -> None:
    rows = make_rows()

    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.gather(row, positions) for name, row in rows.items()}

    ids = np.arange(sequences.SIZE).astype(str)
    split = cache_split(Split(ids, np.zeros(len(ids)), fetch), Preprocessing(), mode, "x")
    for name, entry in split.fetch(tf.constant([4, 0], tf.int64)).items():
        np.testing.assert_array_equal(entry, rows[name][[4, 0]])
    with pytest.raises(UsageProblem, match=r"data\.cache: 'disk' is for examples that are one"):
        cache_split(Split(ids, np.zeros(len(ids)), fetch), Preprocessing(), "disk", "x")


def test_augmentation_may_change_targets() -> None:
    split = cache_split(sequences.make_split(), Preprocessing(), "none", "x")
    batches = training_batches(
        split,
        Preprocessing(),
        sampler=ShuffledSampler(len(split), 4, 0),
        last_step=2,
        augment=lambda prepared, targets, uniform: (prepared, targets + 7),
    )
    assert {int(target) for _, targets, _ in batches for target in targets} == {7}


@pytest.mark.parametrize("batch_size", [6, 5])
def test_parts_of_a_batch_learn_as_the_whole(batch_size: int) -> None:
    whole = train_some(SINGLE, batch_size)
    for parts in ("2", "3"):
        assert_alike(train_some([*SINGLE, "--train.accumulate_steps", parts], batch_size), whole)


def test_parts_are_worked_on_one_after_the_other() -> None:
    """Moving averages and seeds of a part are those that the part before has left."""
    given = keras.Input((3,))
    norm = keras.layers.BatchNormalization(momentum=0.5)
    x = keras.layers.Dropout(0.5)(norm(given))
    network = keras.Model(given, keras.layers.Dense(2)(x))
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(network.trainable_variables)
    step = TensorFlowStep(network, optimizer, sequences.make_loss(), loop.MetricSums([]), parts=3)
    inputs = np.repeat([1.0, 2.0, 4.0], 2)[:, None] * np.ones((6, 3))
    batch = (tf.constant(inputs, tf.float32), tf.zeros(6, tf.int32), tf.ones(6))
    tf.function(step.train)(batch)
    np.testing.assert_allclose(norm.moving_mean, np.full(3, ((0.5 * 1 + 2) * 0.5 + 4) * 0.5))
    (seed,) = (v for v in network.variables if "seed" in v.path)
    assert int(seed.numpy()[1]) == 3, "one draw of each part"


def test_recomputed_layers_have_the_same_gradients() -> None:
    plain = train_some(SINGLE, dropout=0.3)
    again = train_some([*SINGLE, "--train.recompute", "true"], dropout=0.3)
    assert_alike(plain, again)
    assert "call" not in vars(plain.network.layers[2])

    def count_products(recompute: bool) -> int:
        network = build_network()

        @tf.function
        def compute_gradients(tokens: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                with keras.StatelessScope():
                    outputs = network({"tokens": tokens}, training=True)
                total = tf.reduce_sum(outputs**2)
            return tape.gradient(total, [v.value for v in network.trainable_variables])

        with loop.recompute_layers(network, recompute):
            graph = compute_gradients.get_concrete_function(tf.TensorSpec((4, 7), tf.int32)).graph
        kinds = ("MatMul", "Einsum", "BatchMatMulV2")
        names = [operation.type for operation in graph.get_operations()]
        return sum(name in kinds for name in names)

    assert count_products(True) > count_products(False), "it computes again"


def test_xla_learns_the_same() -> None:
    assert_alike(train_some(SINGLE), train_some(SINGLE, use_xla=True))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_optimizer_has_the_master_weights(optimizer: str) -> None:
    words = [*SINGLE, "--runtime.precision", "bfloat16", "--train.optimizer", optimizer]
    trained = train_some(words)
    weights = trained.network.trainable_variables
    assert {weight.dtype for weight in weights} == {"bfloat16", "float32"}
    masters = trained.optimizer.masters
    for weight, master in zip(weights, masters, strict=True):
        assert master.dtype == "float32"
        np.testing.assert_array_equal(
            np.array(weight, "float32"), np.array(keras.ops.cast(master, weight.dtype), "float32")
        )
    slots = trained.optimizer.inner_optimizer.variables
    assert {slot.dtype for slot in slots} <= {"float32", "int64"}
    kept = {id(variable) for variable in trained.optimizer.variables}
    assert {id(m) for m, w in zip(masters, weights, strict=True) if m is not w} <= kept
    assert np.isfinite(trained.losses).all()
    plain = train_some([*words, "--train.master_weights", "false"])
    assert not hasattr(plain.optimizer, "masters")


@pytest.mark.parametrize(("keeps", "expected"), [("true", 0.99), ("false", 1.0)])
def test_small_updates_add_up(keeps: str, expected: float) -> None:
    words = ["--train.optimizer", "sgd", "--train.momentum", "0", "--train.weight_decay", "0"]
    words += ["--train.master_weights", keeps, "--train.schedule", "constant"]
    keras.config.set_dtype_policy("bfloat16")
    optimizer = make_optimizer(load_config(words).train, 1e-3, 1, 1e-4)
    weight = keras.Variable(np.ones(3), dtype="bfloat16")
    optimizer.build([weight])
    for _ in range(20):
        optimizer.apply([keras.ops.full((3,), 0.5, "bfloat16")], [weight])
    assert np.array(weight, "float32") == pytest.approx(expected, abs=0.003)


# === The whole of a run ===

LONG = [
    *UNRECORDED,
    "--data.batch_size",
    "6",
    "--train.max_steps",
    "9",
    "--train.checkpoint_every_steps",
    "2",
    "--train.log_every_steps",
    "1",
]


def build_model(config: Any, preprocessing: Any) -> keras.Model:
    """Return a network with frozen embeddings, which are those of a preset."""
    network = build_network()
    network.get_layer("embedding").trainable = False
    return network


def find_frozen(network: keras.Model) -> list[keras.Variable]:
    return list(network.get_layer("embedding").variables)


def infer(network: keras.Model, inputs: Any) -> Any:
    """Return (batch, t, 2): the log-probability of each next token, and whether it is likeliest."""
    tokens = keras.ops.convert_to_tensor(inputs["tokens"])
    logits = network({"tokens": tokens[:, :-1]}, training=False)
    scores = keras.ops.log_softmax(logits)
    found = keras.ops.take_along_axis(scores, tokens[:, 1:, None], axis=-1)[..., 0]
    likeliest = keras.ops.argmax(logits, axis=-1) == tokens[:, 1:]
    return keras.ops.stack([found, keras.ops.cast(likeliest, "float32")], axis=-1)


def measure(split: Split, outputs: np.ndarray, preprocessing: Any) -> dict[str, float]:
    return {"nats": float(-outputs[:, :, 0].mean()), "accuracy": float(outputs[:, :, 1].mean())}


@pytest.fixture
def sequence_task(use_task: Callable[..., Any]) -> Callable[..., Any]:
    """The task of commands learns sequences."""
    parts: dict[str, Any] = {
        "load": sequences.load,
        "preprocessing": Preprocessing,
        "build_model": build_model,
        "metrics": {},
        "make_batch": make_batch,
        "infer": infer,
        "measure": measure,
        "measure_baselines": lambda *_: [
            {"name": "coin", "metrics": {"test/nats": 9.0}},
            {"name": "dice", "metrics": {"test/nats": 8.0}},
        ],
        "frozen_weights": find_frozen,
        "lower_is_better": ("nats",),
    }
    return lambda **others: use_task(**(parts | others))


@pytest.mark.usefixtures("fit_alone")
def test_a_run_on_sequences(
    sequence_task: Callable[..., Any], interrupt: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    task = sequence_task()
    keras.utils.set_random_seed(3)
    assert main([*LONG, "--fresh"]) == 0
    (alone,) = all_runs()
    assert alone.summary["metrics"]["test/nats"] > 0
    interrupt(5)
    assert main([*LONG, "--fresh"]) == 75
    (run,) = set(all_runs()) - {alone}
    checkpoint = read_newest(run.checkpoints_dir)
    # What is trained, and two slots of each; the best weights are in a file of their own.
    network = artifact.load(alone.model_file, task).network
    frozen = {id(variable) for variable in find_frozen(network)}
    trained = sum(int(np.prod(v.shape)) for v in network.variables if id(v) not in frozen)
    groups = {key.partition("/")[0] for key in checkpoint.arrays}
    assert groups == {"network", "optimizer", "sums", "best"}
    assert sum(array.size for array in checkpoint.group("network")) == trained
    assert checkpoint.file.stat().st_size < 1.2 * 3 * 4 * trained
    assert len(list(run.checkpoints_dir.glob("best-*.npz"))) <= 2
    assert main(LONG) == 0
    assert run.summary["weights_sha256"] == alone.summary["weights_sha256"]
    assert metrics_by_step(run) == metrics_by_step(alone)
    # Outputs are those of ``infer``.
    outputs = artifact.load(run.model_file, task).predict_split(sequences.make_split(18), 3)
    assert outputs.shape == (4, sequences.CONTEXT, 2)


@pytest.mark.usefixtures("fit_alone")
def test_frozen_weights_that_have_changed(
    sequence_task: Callable[..., Any], interrupt: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence_task()
    interrupt(5)
    assert main([*LONG, "--fresh"]) == 75

    def build_other(config: Any, preprocessing: Any) -> keras.Model:
        network = build_model(config, preprocessing)
        for weight in find_frozen(network):
            weight.assign(weight + 1)
        return network

    sequence_task(build_model=build_other)
    capsys.readouterr()
    assert main(LONG) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: --resume: the frozen weights, which checkpoints leave out, ")
    assert message.count("\n") == 1


def test_lower_is_better_turns_comparisons() -> None:
    rows = [{"name": n, "metrics": {"test/nats": x}} for n, x in (("coin", 9.0), ("dice", 8.0))]
    ahead = compare_with_baselines({"test/nats": 2.0}, rows, ("nats",))
    assert ahead == {"metric": "test/nats", "of": "dice", "by": 6.0, "lower_is_better": True}
    assert compare_with_baselines({"test/nats": 2.0}, rows) == {
        "metric": "test/nats",
        "of": "coin",
        "by": -7.0,
    }
