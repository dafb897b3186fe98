"""Networks: what a token sees, precision, saved files, rules of the layout, phases."""

import re
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.artifact import Artifact, copy_weights, load
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.model import (
    SHARDING_RULES,
    build,
    infer,
    phases,
)
from {{ cookiecutter.package_name }}.networks import gpt, presets
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.task import task
from {{ cookiecutter.package_name }}.tokens import fit_bytes, fit_characters

TINY = ["--model.embedding_dim", "8", "--model.heads", "2", "--model.layers", "2"]
VARIANTS = {
    "gpt": [],
    "learned": ["--model.positions", "learned"],
    "gpt2": ["--model.name", "gpt2"],
}


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    return Preprocessing(fit_bytes(["hello"], None), context=12)


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def make_network(variant: str, preprocessing: Preprocessing) -> keras.Model:
    network = build(load_config([*TINY, *VARIANTS[variant]], environment={}), preprocessing)
    random = np.random.default_rng(0)
    weights = network.get_weights()
    network.set_weights([w + random.normal(0, 0.2, w.shape).astype(w.dtype) for w in weights])
    return network


def run(network: keras.Model, tokens: np.ndarray, segments: np.ndarray) -> np.ndarray:
    inputs = {"tokens": tokens.astype("int32"), "segments": segments.astype("int32")}
    return keras.ops.convert_to_numpy(network(inputs, training=False))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_token_sees_the_earlier_ones_of_its_segment(
    variant: str, preprocessing: Preprocessing
) -> None:
    network = make_network(variant, preprocessing)
    tokens = np.random.default_rng(1).integers(1, 200, (1, 10))
    segments = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 0]])
    logits = run(network, tokens, segments)
    assert logits.dtype == "float32"
    later = tokens.copy()
    later[0, 3] += 1
    np.testing.assert_array_equal(run(network, later, segments)[0, :3], logits[0, :3])
    np.testing.assert_allclose(run(network, later, segments)[0, 4:8], logits[0, 4:8], atol=1e-6)
    assert np.abs(run(network, later, segments)[0, 3] - logits[0, 3]).max() > 1e-3
    # As if the segment were alone: its places begin anew.
    alone = run(network, tokens[:, 4:8], np.ones((1, 4)))
    np.testing.assert_allclose(alone[0], logits[0, 4:8], atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_model_trains_and_reloads_with_the_same_predictions(
    variant: str, precision: str, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    network = build(load_config([*TINY, *VARIANTS[variant]], environment={}), preprocessing)
    random = np.random.default_rng(2)
    tokens, segments = random.integers(1, 200, (3, 9)).astype("int32"), np.ones((3, 9), "int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("sgd", loss, run_eagerly=True)
    inputs = {"tokens": tokens[:, :-1], "segments": segments[:, :-1]}
    assert np.isfinite(network.train_on_batch(inputs, tokens[:, 1:]))
    Artifact(network, preprocessing, task).save(tmp_path / "model.keras")
    reloaded = load(tmp_path / "model.keras", task)
    logits = run(network, tokens, segments)
    assert logits.dtype == "float32"
    np.testing.assert_array_equal(run(reloaded.network, tokens, segments), logits)


def test_likelihoods_of_rows(preprocessing: Preprocessing) -> None:
    network = make_network("gpt", preprocessing)
    tokens = np.random.default_rng(3).integers(1, 200, (2, 7)).astype("int32")
    segments = np.ones_like(tokens)
    scores = np.asarray(infer(network, {"tokens": tokens, "segments": segments}))
    logits = run(network, tokens[:, :-1], segments[:, :-1]).astype("float64")
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    own = np.take_along_axis(expected, tokens[:, 1:, None], -1)[..., 0]
    assert scores.shape == (2, 6, 2)
    np.testing.assert_allclose(scores[..., 0], own, atol=1e-5)
    np.testing.assert_array_equal(scores[..., 1], logits.argmax(-1) == tokens[:, 1:])
    # Of pairs, each answer's sum.
    pair = np.stack([tokens, tokens[:, ::-1]], -1)
    weights = np.ones(pair.shape, "float32")
    weights[:, :3] = 0
    ones = np.ones_like(pair)
    sums = np.asarray(infer(network, {"tokens": pair, "segments": ones, "weights": weights}))
    np.testing.assert_allclose(sums[:, 0], own[:, 2:].sum(1), atol=1e-4)


def test_about_as_many_weights_as_planned() -> None:
    network = gpt.build(512, 128, 4, 4, 160, form="llama")
    assert 1_200_000 < network.count_params() < 1_600_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.heads 3", "model.heads: 3 do not divide model.embedding_dim 8."),
        ("--model.heads 8", "model.heads: 8 leave 1 of model.embedding_dim for each"),
        ("--model.preset hf://a/b", "model.preset: gpt is trained from scratch"),
        ("--model.tuning lora", "model.tuning: lora is for presets"),
    ],
)
def test_fields_that_do_not_fit_together(
    words: str, message: str, preprocessing: Preprocessing
) -> None:
    config = load_config([*TINY, *words.split()], environment={})
    with pytest.raises(UsageProblem) as error:
        build(config, preprocessing)
    assert str(error.value).startswith(message)


def test_layout_names_weights_that_exist(preprocessing: Preprocessing) -> None:
    networks = [make_network(variant, preprocessing) for variant in VARIANTS]
    weights = [weight for network in networks for weight in network.weights]
    for pattern, axes in SHARDING_RULES.items():
        found = [weight for weight in weights if re.search(pattern, weight.path)]
        assert found or pattern in presets.SHARDING_RULES, pattern
        if pattern not in presets.SHARDING_RULES:
            assert all(len(weight.shape) == len(axes) for weight in found), pattern


def test_earlier_weights_are_matched_token_by_token() -> None:
    earlier, later = (
        Preprocessing(fit_characters([text], None), context=context)
        for text, context in (("abc", 8), ("cxab", 12))
    )
    old, new = (make_network("gpt2", part) for part in (earlier, later))
    before = np.array(new.get_layer(gpt.POSITIONS).embeddings)
    assert copy_weights(new, later, Artifact(old, earlier, task))
    ours, theirs = (
        np.asarray(network.get_layer(gpt.EMBEDDING).embeddings) for network in (new, old)
    )
    for letter in "abc":
        [here], [there] = later.tokenizer.encode(letter), earlier.tokenizer.encode(letter)
        np.testing.assert_array_equal(ours[here], theirs[there])
    places = np.asarray(new.get_layer(gpt.POSITIONS).embeddings)
    np.testing.assert_array_equal(places[:8], np.asarray(old.get_layer(gpt.POSITIONS).embeddings))
    np.testing.assert_array_equal(places[8:], before[8:])


@pytest.mark.parametrize(
    ("words", "epochs", "rate", "decay"),
    [
        ("", 14, 2e-3, 1.0),
        ("--model.name preset --model.preset x", 3, 2e-5, 0.01),
        ("--model.name preset --model.preset x --model.tuning lora", 3, 2e-4, 0.01),
        ("--train.loss dpo", 3, 2e-4, 0.01),
        ("--train.epochs 2 --train.learning_rate 0.1 --train.weight_decay 0", 2, 0.1, 0.0),
    ],
)
def test_epochs_and_rates(words: str, epochs: int, rate: float, decay: float) -> None:
    config = load_config(words.split(), environment={})
    [phase] = phases(config)
    assert (phase.epochs, phase.learning_rate) == (epochs, pytest.approx(rate))
    assert phase.decay(config.train.weight_decay, 1_000) == decay
