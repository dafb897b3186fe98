import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import artifact
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.lookup import find
from {{ cookiecutter.package_name }}.model import FITTED, LAYOUT, Pretrained, build
from {{ cookiecutter.package_name }}.ngrams import NGramLogits, ngrams
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.runs import find_run
from {{ cookiecutter.package_name }}.train import main

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
    ids, there = ngrams(tf.constant([[2, 3, 0], [2, 3, 4]]), 10, 3)
    ids, there = np.asarray(ids), np.asarray(there)
    assert ids.shape == there.shape == (2, 9)
    assert there[0].tolist() == [1, 1, 0, 1, 0, 0, 0, 0, 0]
    assert there[1].tolist() == [1, 1, 1, 1, 1, 0, 1, 0, 0]
    assert ids[0, 3] == ids[1, 3] >= 10, "the same pair has the same number"


def test_rare_ngrams_count_more_and_single_ones_nothing() -> None:
    layer = NGramLogits(6, 2, longest=1)
    layer.build((None, None))
    layer.learn_rarity([np.array([[2, 2, 0], [2, 3, 0]]), np.array([[2, 3, 4], [2, 0, 0]])])
    rarity = np.asarray(layer.rarity)
    assert rarity[3] == pytest.approx(np.log(5 / 3) + 1), "in two of four texts"
    assert rarity[2] == pytest.approx(1.0), "in all of them"
    assert rarity[4] == rarity[5] == 0


def test_layout_names_weights_that_exist(preprocessing: Preprocessing) -> None:
    for pattern, axes in LAYOUT.items():
        found = [
            weight
            for name in OWN
            for weight in built(name, preprocessing).weights
            if re.search(pattern, weight.path)
        ]
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


def test_ngrams_of_other_words_are_not_taken_over(preprocessing: Preprocessing) -> None:
    from dataclasses import replace

    from {{ cookiecutter.package_name }}.model import vocabularies

    swapped = (*preprocessing.vocabulary[1::-1], *preprocessing.vocabulary[2:])
    other = replace(preprocessing, vocabulary=swapped, train=None)
    earlier = artifact.Artifact(built("bag_cnn", preprocessing), preprocessing)
    core = built("bag_cnn", other)
    before = np.asarray(core.get_layer("ngrams").table).copy()
    rarity = np.asarray(core.get_layer("ngrams").rarity).copy()
    assert not np.array_equal(rarity, earlier.core.get_layer("ngrams").rarity)
    artifact.warm_start(core, earlier, vocabularies(preprocessing), vocabularies(other), FITTED)
    after = np.asarray(core.get_layer("ngrams").table)
    np.testing.assert_array_equal(after[4:], before[4:])
    # How rare an n-gram is comes from the new texts.
    np.testing.assert_array_equal(core.get_layer("ngrams").rarity, rarity)
