import re

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
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.model import FITTED, LAYOUT, Pretrained, build
from {{ cookiecutter.package_name }}.networks import ngrams, views
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS

from .conftest import QUICK

# Pretrained ones have tests of their own, and lines of the layout.
OF_PRESETS = [pattern for pattern in LAYOUT if re.match("token_|feedforward|self_", pattern)]
OWN = [name for name in MODELS if not isinstance(find(MODELS, name), Pretrained)]


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    config = load_config(["--data.limit", "200"], environment={})
    return Preprocessing.fit(load(config).train, config)


def built(name: str, preprocessing: Preprocessing) -> keras.Model:
    core = build(load_config(["--model.name", name], environment={}), preprocessing)
    random = np.random.default_rng(0)
    core.set_weights(
        [w + random.normal(0, 0.1, w.shape).astype(w.dtype) for w in core.get_weights()]
    )
    return core


@pytest.mark.parametrize("name", OWN)
def test_every_model_trains_and_reloads_with_the_same_predictions(name: str) -> None:
    # Training itself compares the saved file's predictions with those in memory.
    words = ["--model.name", name, "--train.max_steps", "3", "--tracking.register", "false"]
    assert main([*QUICK, *words]) == 0
    run = find_run("latest")
    assert run.summary["model"] == name
    model = artifact.load(run.model_file)
    assert model.weights_sha256() == run.summary["weights_sha256"]


@pytest.mark.parametrize("name", OWN)
def test_padding_and_neighbours_change_nothing(name: str, preprocessing: Preprocessing) -> None:
    model = artifact.Artifact(built(name, preprocessing), preprocessing)
    texts = ["Where is my parcel? I wait", "hi", "", "😀 ❓", "I was charged twice for it " * 9]
    together = model(tf.constant(texts))
    assert np.isfinite(together).all()
    alone = np.concatenate([model(tf.constant([text])) for text in texts])
    np.testing.assert_allclose(alone, together, atol=2e-5)


@pytest.mark.parametrize(
    "words",
    [
        "--data.tokens character --model.name bag --train.loss focal "
        "--train.class_weights balanced",
        "--data.tokens character_ngram --model.name cnn --runtime.precision mixed_bfloat16",
        "--data.tokens subword --model.name transformer --runtime.precision mixed_float16 "
        "--data.cache disk",
        "--data.max_tokens 8 --data.cache none --data.lowercase false --model.dropout 0",
    ],
)
def test_every_option_trains(words: str) -> None:
    assert main([*QUICK, *words.split(), "--tracking.register", "false"]) == 0
    keras.config.set_dtype_policy("float32")


def test_ngrams() -> None:
    slots, checks, counts = ngrams.ngrams(tf.constant([[2, 3, 0, 0], [2, 3, 4, 1]]), 3)
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
    batches = lambda: preprocessing.training_batches(places)  # noqa: E731
    layer = ngrams.fit(batches, truth, 6, longest=2)
    inputs = layer.matrix(batches())
    # The same texts, of known tokens alone, as scikit-learn sees them.
    texts = [" ".join(map(str, row[row > 0])) for tokens in batches() for row in tokens]
    apart = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\d+").build_analyzer()
    known = lambda text: [gram for gram in apart(text) if "1" not in gram.split()]  # noqa: E731
    expected = TfidfVectorizer(analyzer=known, min_df=2, sublinear_tf=True).fit_transform(texts)
    # Two n-grams of one slot are rare; where there are none the matrices are the same.
    np.testing.assert_allclose(inputs.getnnz(axis=1), expected.getnnz(axis=1), atol=1)
    ours, others = (np.sort(m.toarray(), axis=1)[:, ::-1][:, :40] for m in (inputs, expected))
    np.testing.assert_allclose(ours, others, atol=0.02)
    logits = np.concatenate([np.asarray(layer(tokens)) for tokens in batches()])
    np.testing.assert_allclose(
        logits, inputs @ np.asarray(layer.table) + np.asarray(layer.bias), atol=1e-4
    )
    assert np.mean(logits.argmax(axis=-1) == truth) > 0.8


def test_texts_that_choose_the_strength_do_not_choose_the_ngrams(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, widths = ngrams.best, []

    def look(known, truth, held, held_truth):
        widths.append((known.shape, held.shape))
        return choose(known, truth, held, held_truth)

    monkeypatch.setattr(ngrams, "best", look)
    places = preprocessing.training_sample(100)
    truth = preprocessing.encode_targets(preprocessing.train.targets[places])
    ngrams.fit(lambda: preprocessing.training_batches(places), truth, 6, longest=2)
    others = places[np.arange(len(places)) % 5 != 0]
    codes, _ = ngrams.frequent(preprocessing.training_batches(others), 2, 100_000)
    assert widths == [((80, len(codes) + 1), (20, len(codes) + 1))]


def test_a_regression_of_two_or_of_several_classes_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    inputs = csr_matrix(random.normal(size=(200, 5)))
    truth = (inputs @ random.normal(size=(5, 3)) > 0).astype("float32")
    for target in (truth[:, 0].astype(int), truth):
        weights, bias = ngrams.regression(inputs, target, strength=4.0)
        logits = inputs @ weights + bias
        right = logits.argmax(axis=-1) == target if target.ndim == 1 else (logits > 0) == target
        assert right.mean() > 0.95


def test_the_fitted_model_stays_and_the_network_counts_as_validation_says(
    preprocessing: Preprocessing,
) -> None:
    core = build(load_config([], environment={}), preprocessing)
    assert not [w.path for w in core.trainable_weights if w.path.startswith("ngrams/")]
    assert {w.path for w in core.weights if re.search(FITTED[0], w.path)} == {
        f"ngrams/{name}" for name in ("rows", "checks", "rarity", "table", "bias")
    }
    # A network that always says another class is not listened to.
    data = load(load_config(["--data.limit", "200"], environment={}))
    fitted = core.get_layer("ngrams").output
    layer = views.Views(name=views.NAME)
    worse = keras.Model(core.input, layer([fitted, keras.ops.roll(fitted, 1, axis=-1)]))
    views.weigh(artifact.Artifact(worse, preprocessing), data.train, 32)
    weights = np.asarray(layer.weighing)
    assert weights[0] > 0.5
    assert weights[1] == 0


@pytest.mark.parametrize(("size", "of_use", "least"), [(40, 0.0, 8), (400, 1.0, 10)])
def test_few_validation_texts_do_not_let_in_a_network_of_noise(
    size: int, of_use: float, least: int, preprocessing: Preprocessing
) -> None:
    right = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, size)
        # Half the logit of one of two classes whose values are normal around -1 and 1.
        side = (2 * truth - 1)[:, None]
        half = random.normal(side * [1.0, of_use], 1.0)  # (texts, views)
        logits = np.stack([-half, half], axis=2)
        weights = views.find_weights(logits, truth, preprocessing)
        if of_use:
            right += weights[1] > 0.5
        else:
            right += tuple(weights) == views.ALONE
    assert right >= least


def test_layout_names_weights_that_exist(preprocessing: Preprocessing) -> None:
    weights = [weight for name in OWN for weight in built(name, preprocessing).weights]
    for pattern, axes in LAYOUT.items():
        found = [weight for weight in weights if re.search(pattern, weight.path)]
        assert found or pattern in OF_PRESETS, pattern
        assert all(len(weight.shape) == len(axes) for weight in found), pattern


def test_words_may_be_added_to_earlier_weights(preprocessing: Preprocessing) -> None:
    from dataclasses import replace

    from {{ cookiecutter.package_name }}.model import vocabularies

    known = preprocessing.vocabulary
    more = replace(preprocessing, vocabulary=(known[1], "new", known[0], *known[2:]))
    earlier = artifact.Artifact(built("cnn", preprocessing), preprocessing)
    core = built("cnn", more)
    assert artifact.warm_start(core, earlier, vocabularies(preprocessing), vocabularies(more))
    ours, theirs = (np.asarray(c.get_layer("tokens").embeddings) for c in (core, earlier.core))
    np.testing.assert_array_equal(ours[[4, 2]], theirs[[2, 3]])
    np.testing.assert_array_equal(ours[5:], theirs[4:])


def test_ngrams_of_earlier_texts_are_not_taken_over(preprocessing: Preprocessing) -> None:
    from dataclasses import replace

    from {{ cookiecutter.package_name }}.model import vocabularies

    swapped = (*preprocessing.vocabulary[1::-1], *preprocessing.vocabulary[2:])
    other = replace(preprocessing, vocabulary=swapped)
    earlier = artifact.Artifact(built("bag_cnn", preprocessing), preprocessing)
    core = built("bag_cnn", other)
    before = [np.array(weight) for weight in core.get_layer("ngrams").weights]
    earlier.core.get_layer("ngrams").set_weights([weight + 1 for weight in before])
    artifact.warm_start(core, earlier, vocabularies(preprocessing), vocabularies(other), FITTED)
    for weight, kept in zip(core.get_layer("ngrams").weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)
