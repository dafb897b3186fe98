import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine import artifact
from {{ cookiecutter.package_name }}.engine.lookup import find
from {{ cookiecutter.package_name }}.model import (
    SHARDING_RULES,
    WEIGHTS_FROM_DATA,
    PresetModel,
    build,
)
from {{ cookiecutter.package_name }}.networks import ngrams, views
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

from .conftest import UNRECORDED

# Pretrained models have their own tests and their own patterns in the layout.
PRESET_PATTERNS = [
    pattern for pattern in SHARDING_RULES if re.match("token_|feedforward|self_", pattern)
]
TINY = ["--model.embedding_dim", "8"]
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
OWN = [name for name in MODELS if not isinstance(find(MODELS, name), PresetModel)]


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    config = load_config(["--data.limit", "200"], environment={})
    return Preprocessing.fit(load(config).train, config)


def random_model(name: str, preprocessing: Preprocessing) -> keras.Model:
    network = build(load_config(["--model.name", name], environment={}), preprocessing)
    random = np.random.default_rng(0)
    network.set_weights(
        [w + random.normal(0, 0.1, w.shape).astype(w.dtype) for w in network.get_weights()]
    )
    return network


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", OWN)
def test_every_model_trains_and_reloads_with_the_same_predictions(
    name: str, precision: str, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    network = build(load_config(["--model.name", name, *TINY], environment={}), preprocessing)
    network.compile("sgd", CROSS_ENTROPY, run_eagerly=True)
    texts = tf.constant(["Where is my parcel?", "hi", "", "I was charged twice"])
    assert np.isfinite(network.train_on_batch(preprocessing(texts), np.arange(4)))
    trained = artifact.Artifact(network, preprocessing, task)
    trained.save(tmp_path / "model.keras")
    reloaded = artifact.load(tmp_path / "model.keras", task)
    assert reloaded.weights_sha256() == trained.weights_sha256()
    assert trained(texts).dtype == "float32", precision
    np.testing.assert_array_equal(reloaded(texts), trained(texts))


@pytest.mark.parametrize("name", OWN)
def test_padding_and_neighbours_change_nothing(name: str, preprocessing: Preprocessing) -> None:
    model = artifact.Artifact(random_model(name, preprocessing), preprocessing, task)
    texts = ["Where is my parcel? I wait", "hi", "", "😀 ❓", "I was charged twice for it " * 9]
    together = model(tf.constant(texts))
    assert np.isfinite(together).all()
    alone = np.concatenate([model(tf.constant([text])) for text in texts])
    np.testing.assert_allclose(alone, together, atol=2e-5)


@pytest.mark.parametrize(
    "words",
    [
        "--data.tokenizer character_ngram --data.sequence_length 8 --data.cache none "
        "--data.lowercase false --model.dropout 0 --train.loss focal "
        "--train.class_weights balanced --runtime.precision mixed_bfloat16",
        "--data.tokenizer subword --model.name transformer --runtime.precision mixed_float16 "
        "--data.cache disk",
    ],
)
def test_every_option_trains(words: str, request: pytest.FixtureRequest) -> None:
    if "subword" in words:  # baseline and report read words, as those of the shared run
        request.getfixturevalue("fit_alone")
    few = ["--data.limit", "60", "--train.max_steps", "2"]
    assert main([*UNRECORDED, *TINY, *few, *words.split()]) == 0
    keras.config.set_dtype_policy("float32")


def test_ngrams() -> None:
    slots, checks, counts = ngrams.hash_ngrams(tf.constant([[2, 3, 0, 0], [2, 3, 4, 1]]), 3)
    slots, checks, counts = map(np.asarray, (slots, checks, counts))
    assert slots.shape == counts.shape == (2, 12)
    assert counts[0].tolist() == [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert counts[1].tolist() == [1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0], "none with an unknown token"
    assert slots[0, 4] == slots[1, 4], "the same pair has the same number"
    assert checks[0, 4] == checks[1, 4]
    assert len(set(slots[1, [0, 1, 2, 4, 5, 8]])) == 6


def test_ngrams_are_those_of_scikit_learn(preprocessing: Preprocessing) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    places = preprocessing.training_sample(150)
    truth = preprocessing.encode_targets(preprocessing.train.targets[places])
    tokens = np.concatenate(list(preprocessing.training_batches(places)))
    layer = ngrams.fit([tokens], truth, 6, max_n=2)
    inputs = layer.transform(csr_matrix(tokens))
    # The same texts as scikit-learn reads them: token ids as words.
    texts = [" ".join(map(str, row[row > 0])) for row in tokens]
    apart = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\d+").build_analyzer()
    known = lambda text: [gram for gram in apart(text) if "1" not in gram.split()]  # noqa: E731
    expected = TfidfVectorizer(analyzer=known, min_df=2, sublinear_tf=True).fit_transform(texts)
    # Two n-grams of one slot are rare; where there are none the matrices are the same.
    np.testing.assert_allclose(inputs.getnnz(axis=1), expected.getnnz(axis=1), atol=1)
    ours, others = (np.sort(m.toarray(), axis=1)[:, ::-1][:, :40] for m in (inputs, expected))
    np.testing.assert_allclose(ours, others, atol=0.02)
    logits = np.asarray(layer(tokens))
    np.testing.assert_allclose(
        logits, inputs @ np.asarray(layer.kernel) + np.asarray(layer.bias), atol=1e-4
    )
    assert np.mean(logits.argmax(axis=-1) == truth) > 0.8


def test_held_out_texts_do_not_add_ngrams(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    select, shapes = ngrams.select_strength, []

    def spy(inputs, truth, held_out, held_out_truth):
        shapes.append((inputs.shape, held_out.shape))
        return select(inputs, truth, held_out, held_out_truth)

    monkeypatch.setattr(ngrams, "select_strength", spy)
    places = preprocessing.training_sample(100)
    truth = preprocessing.encode_targets(preprocessing.train.targets[places])
    ngrams.fit(preprocessing.training_batches(places), truth, 6, max_n=2)
    others = places[np.arange(len(places)) % 5 != 0]
    codes, _ = ngrams.find_frequent(preprocessing.training_batches(others), 2, 100_000)
    assert shapes == [((80, len(codes) + 1), (20, len(codes) + 1))]


def test_regression_of_two_classes_and_of_several_labels() -> None:
    random = np.random.default_rng(0)
    inputs = csr_matrix(random.normal(size=(200, 5)))
    truth = (inputs @ random.normal(size=(5, 3)) > 0).astype("float32")
    for target in (truth[:, 0].astype(int), truth):
        weights, bias = ngrams.fit_regression(inputs, target, strength=4.0)
        logits = inputs @ weights + bias
        right = logits.argmax(axis=-1) == target if target.ndim == 1 else (logits > 0) == target
        assert right.mean() > 0.95


def test_ngrams_stay_as_fitted_and_a_bad_network_gets_no_weight(
    preprocessing: Preprocessing,
) -> None:
    network = build(load_config([], environment={}), preprocessing)
    assert not [w.path for w in network.trainable_weights if w.path.startswith("ngrams/")]
    assert {w.path for w in network.weights if re.search(WEIGHTS_FROM_DATA[0], w.path)} == {
        f"ngrams/{name}" for name in ("rows", "checks", "idf", "kernel", "bias")
    }
    # A network that always predicts another class gets no weight.
    data = load(load_config(["--data.limit", "200"], environment={}))
    fitted = network.get_layer("ngrams").output
    layer = views.LogitBlend(name=views.NAME)
    worse = keras.Model(network.input, layer([fitted, keras.ops.roll(fitted, 1, axis=-1)]))
    views.fit_blend(artifact.Artifact(worse, preprocessing, task), data.train, 32)
    weights = np.asarray(layer.view_weights)
    assert weights[0] > 0.5
    assert weights[1] == 0


@pytest.mark.parametrize(("size", "signal", "least"), [(40, 0.0, 8), (400, 1.0, 10)])
def test_a_network_of_noise_gets_no_weight_from_few_texts(
    size: int, signal: float, least: int, preprocessing: Preprocessing
) -> None:
    right = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, size)
        # Half the logit of one of two classes whose values are normal around -1 and 1.
        side = (2 * truth - 1)[:, None]
        half = random.normal(side * [1.0, signal], 1.0)  # (texts, views)
        logits = np.stack([-half, half], axis=2)
        weights = views.find_blend_weights(logits, truth, preprocessing)
        if signal:
            right += weights[1] > 0.5
        else:
            right += tuple(weights) == views.NGRAMS_ONLY
    assert right >= least


def test_layout_names_weights_that_exist(preprocessing: Preprocessing) -> None:
    weights = [weight for name in OWN for weight in random_model(name, preprocessing).weights]
    for pattern, axes in SHARDING_RULES.items():
        found = [weight for weight in weights if re.search(pattern, weight.path)]
        assert found or pattern in PRESET_PATTERNS, pattern
        assert all(len(weight.shape) == len(axes) for weight in found), pattern


def test_words_may_be_added_to_earlier_weights(preprocessing: Preprocessing) -> None:

    known = preprocessing.vocabulary
    more = replace(preprocessing, vocabulary=(known[1], "new", known[0], *known[2:]))
    earlier = artifact.Artifact(random_model("cnn", preprocessing), preprocessing, task)
    network = random_model("cnn", more)
    assert artifact.copy_weights(network, more, earlier)
    ours, theirs = (
        np.asarray(c.get_layer("tokens").embeddings) for c in (network, earlier.network)
    )
    np.testing.assert_array_equal(ours[[4, 2]], theirs[[2, 3]])
    np.testing.assert_array_equal(ours[5:], theirs[4:])


def test_ngrams_of_earlier_texts_are_not_taken_over(preprocessing: Preprocessing) -> None:
    swapped = (*preprocessing.vocabulary[1::-1], *preprocessing.vocabulary[2:])
    other = replace(preprocessing, vocabulary=swapped)
    earlier = artifact.Artifact(random_model("bag_cnn", preprocessing), preprocessing, task)
    network = random_model("bag_cnn", other)
    before = [np.array(weight) for weight in network.get_layer("ngrams").weights]
    earlier.network.get_layer("ngrams").set_weights([weight + 1 for weight in before])
    artifact.copy_weights(network, other, earlier)
    for weight, kept in zip(network.get_layer("ngrams").weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)
