"""Losses, batches, and what dpo changes."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import objective
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem

TEXT, PAIRS = SimpleNamespace(kind="text"), SimpleNamespace(kind="pairs")
VOCABULARY = 7


def tiny_network() -> keras.Model:
    """Return a network whose logits depend on the current token alone."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in ("tokens", "segments")
    }
    hidden = keras.layers.Embedding(VOCABULARY, 4, name="embedding")(inputs["tokens"])
    return keras.Model(inputs, keras.layers.Dense(VOCABULARY, name="logits")(hidden))


def make_pairs(rows: int = 3, time: int = 6) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shape = (rows, time, 2)
    return {
        "tokens": random.integers(0, VOCABULARY, shape).astype("int32"),
        "segments": np.ones(shape, "int32"),
        "weights": (random.random(shape) > 0.4).astype("float32"),
        "reference": random.normal(size=(rows, 2)).astype("float32"),
    }


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


# === Next token ===


def test_loss_of_tokens_is_minus_their_log_probability() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 5, VOCABULARY)).astype("float32")
    targets = random.integers(0, VOCABULARY, (2, 5))
    loss = objective.next_token(load_config([]), TEXT)
    expected = -np.take_along_axis(log_softmax(logits), targets[..., None], -1)[..., 0]
    found = keras.ops.convert_to_numpy(loss.call(targets, logits))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    halves = keras.ops.convert_to_tensor(logits, "bfloat16")
    found = loss.call(targets, halves)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, objective.TokenCrossEntropy)


def test_batches_of_texts() -> None:
    tokens = tf.constant([[1, 2, 3, 0]])
    prepared = {
        "tokens": tokens,
        "segments": tf.constant([[1, 1, 1, 0]]),
        "weights": tf.constant([[0.0, 1.0, 1.0, 0.0]]),
    }
    inputs, targets, weights = objective.make_batch(prepared, tf.zeros((1,)), TEXT)
    assert set(inputs) == {"tokens", "segments"}
    np.testing.assert_array_equal(inputs["tokens"], [[1, 2, 3]])
    np.testing.assert_array_equal(targets, [[2, 3, 0]])
    np.testing.assert_array_equal(weights, [[1, 1, 0]])


def test_batches_of_pairs() -> None:
    prepared = {name: tf.constant(value) for name, value in make_pairs().items()}
    inputs, targets, weights = objective.make_batch(prepared, tf.zeros((3,)), PAIRS)
    assert set(inputs) == {"tokens", "segments", "weights", "reference"}
    np.testing.assert_array_equal(targets, np.ones((3, 1)))
    assert weights is None


def test_losses_that_do_not_go_with_the_data() -> None:
    config = load_config([])
    with pytest.raises(
        UsageProblem, match=r"train.loss: 'next_token' .* preference pairs; use dpo"
    ):
        objective.next_token(config, PAIRS)
    with pytest.raises(UsageProblem, match=r"train.loss: 'dpo' .* the data are texts; use next_to"):
        objective.dpo(config, TEXT)


# === Preferences ===


def test_pairs_are_scored_as_one_row_at_a_time_would_be() -> None:
    network, pairs = tiny_network(), make_pairs()
    found = keras.ops.convert_to_numpy(objective.pair_log_probabilities(network, pairs))
    assert found.shape == (3, 2)
    for row in range(3):
        for side in range(2):
            tokens, weights = (pairs[name][row, :, side] for name in ("tokens", "weights"))
            inputs = {"tokens": tokens[None, :-1], "segments": np.ones((1, 5), "int32")}
            logits = keras.ops.convert_to_numpy(network(inputs))[0]
            own = log_softmax(logits)[np.arange(5), tokens[1:]]
            assert found[row, side] == pytest.approx((own * weights[1:]).sum(), abs=1e-4)


def test_margin_and_loss_of_dpo() -> None:
    network, pairs = tiny_network(), make_pairs()
    model = objective.build_preference_model(network, 0.3)
    margin = keras.ops.convert_to_numpy(model(pairs))
    sums = keras.ops.convert_to_numpy(objective.pair_log_probabilities(network, pairs))
    change = sums - pairs["reference"]
    np.testing.assert_allclose(margin[:, 0], 0.3 * (change[:, 0] - change[:, 1]), rtol=1e-4)
    loss = objective.dpo(load_config([]), PAIRS)
    expected = np.log1p(np.exp(-margin)).mean()
    assert float(loss(np.ones((3, 1)), margin)) == pytest.approx(expected, rel=1e-4)
    own = {**pairs, "reference": sums}
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(own)), 0, atol=1e-5)


def test_dpo_trains_the_weights_of_the_plain_network() -> None:
    network = tiny_network()
    model = objective.build_preference_model(network, 0.5)
    assert objective.find_plain_network(model) is network
    assert objective.find_plain_network(network) is network
    names = [weight.path for weight in network.trainable_weights]
    assert [weight.path for weight in model.trainable_weights] == names
    pairs = make_pairs(8)
    pairs["reference"] = keras.ops.convert_to_numpy(
        objective.pair_log_probabilities(network, pairs)
    )
    model.compile("adam", objective.dpo(load_config([]), PAIRS))
    model.optimizer.learning_rate = 0.05
    model.fit(pairs, np.ones((8, 1)), epochs=20, verbose=0)
    after = keras.ops.convert_to_numpy(objective.pair_log_probabilities(network, pairs))
    change = after - pairs["reference"]
    assert (change[:, 0] > change[:, 1]).mean() > 0.7


def test_a_preference_model_is_saved_and_loaded(own_folder: Path) -> None:
    model, pairs = objective.build_preference_model(tiny_network(), 0.5), make_pairs()
    model.save("pairs.keras")
    again = keras.models.load_model("pairs.keras")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model(pairs)), keras.ops.convert_to_numpy(again(pairs))
    )


def test_finalize_saves_the_plain_network() -> None:
    network = tiny_network()
    wrapped = Artifact(objective.build_preference_model(network, 0.5), PAIRS, None)
    found = objective.finalize(wrapped, None, load_config([]))
    assert found.network is network
    plain = Artifact(network, TEXT, None)
    assert objective.finalize(plain, None, load_config([])) is plain


def test_dpo_needs_a_model_to_begin_from() -> None:
    config = load_config(["--train.loss", "dpo"])
    with pytest.raises(UsageProblem, match=r"train.loss: 'dpo' changes a model .* train.init_from"):
        objective.measure_reference(config, None)
    config = load_config(["--train.loss", "dpo", "--train.init_from", "latest"])
    with pytest.raises(UsageProblem, match="name the run by its id"):
        objective.measure_reference(config, None)


def test_predictions_of_pairs_and_of_rows() -> None:
    pairs = objective.decode_predictions(np.array([[-1.0, -2.0], [-3.0, -1.0]]), PAIRS)
    assert [row["prediction"] for row in pairs] == ["chosen", "rejected"]
    outputs = np.stack([np.full((2, 4), -1.5), np.ones((2, 4))], axis=-1)
    rows = objective.decode_predictions(outputs, TEXT)
    assert rows[0]["scores"] == {"log_probability": -1.5, "likeliest": 1.0}
