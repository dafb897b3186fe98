"""Explanations of texts whose answer is known, of every model."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import predict
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.explanations import (
    TOLERANCE,
    class_weights,
    delete_parts,
)
from {{ cookiecutter.package_name }}.engine.interfaces import Split
from {{ cookiecutter.package_name }}.engine.lookup import find
from {{ cookiecutter.package_name }}.evaluation.explanations import (
    attribute,
    attribute_ngrams,
    find_pieces,
)
from {{ cookiecutter.package_name }}.model import PresetModel, build
from {{ cookiecutter.package_name }}.preprocessing import UNKNOWN, Preprocessing
from {{ cookiecutter.package_name }}.registry import MODELS
from {{ cookiecutter.package_name }}.task import task

OWN = [name for name in MODELS if not isinstance(find(MODELS, name), PresetModel)]
NOISE = [f"w{number}" for number in range(40)]
PLANTED = {"good": "sunshine", "bad": "thunder"}
ENGLISH, CHINESE = " ", ""
ENOUGH = 0.3  # loss: 0.14 remains, as a fifth of the texts have lost the word that decides


def write_texts(count: int, words: list[str], planted: dict[str, str], space: str) -> Split:
    """Return texts of twelve words, one of which decides the class."""
    random = np.random.default_rng(0)
    texts, labels = [], []
    for number in range(count):
        drawn = list(random.choice(words, 12))
        label = sorted(planted)[number % 2]
        drawn[random.integers(12)] = planted[label]
        texts.append(space.join(drawn).capitalize())
        labels.append(label)
    return make_split(texts, labels)


def make_split(texts: list[str], labels: list[str]) -> Split:
    constant = tf.constant([text.encode() for text in texts])
    ids = np.arange(len(texts)).astype(str)
    return Split(ids, np.array(labels, dtype=object), lambda at: tf.gather(constant, at))


def fit(name: str, train: Split, *words: str, epochs: int = 40) -> Artifact:
    """Train a small model until it knows the texts; a blend keeps half of both views."""
    keras.utils.set_random_seed(0)
    words = ("--model.name", name, "--model.embedding_dim", "16", *words)
    config = load_config(list(words), environment={})
    preprocessing = Preprocessing.fit(train, config)
    network = build(config, preprocessing)
    tokens = np.asarray(preprocessing(train.fetch(np.arange(len(train)))))
    # Some unknown tokens, as data.augment_token_dropout makes them.
    dropped = np.random.default_rng(1).random(tokens.shape) < 0.2
    tokens = np.where(dropped & (tokens > 0), UNKNOWN, tokens)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(3e-3), loss)
    labels = preprocessing.encode_targets(train.targets)
    for _ in range(epochs):
        if network.fit(tokens, labels, 32, verbose=0).history["loss"][-1] < ENOUGH:
            break
    return Artifact(network, preprocessing, task)


@pytest.fixture(scope="module", params=OWN)
def model(request: pytest.FixtureRequest) -> Artifact:
    return fit(request.param, write_texts(400, NOISE, PLANTED, ENGLISH))


@pytest.fixture(scope="module")
def test_texts() -> Split:
    return write_texts(430, NOISE, PLANTED, ENGLISH)


LAST = np.arange(400, 430)


def test_the_planted_word_is_first(model: Artifact, test_texts: Split) -> None:
    told = model.explain(test_texts, LAST)
    assert [explanation.target for explanation in told] == list(test_texts.targets[LAST])
    first = [explanation.strongest(1)[0] for explanation in told]
    found = [part.text.strip().lower() for part in first]
    assert np.mean([PLANTED[e.target] == word for e, word in zip(told, found, strict=True)]) > 0.95
    assert all(part.value > 0 for part in first)


def test_values_add_up(model: Artifact, test_texts: Split) -> None:
    preprocessing = model.preprocessing
    tokens = np.asarray(preprocessing(test_texts.fetch(LAST)))
    weights = class_weights(preprocessing.encode_targets(test_texts.targets[LAST]), 2, True)
    unknown = np.where(tokens > 0, UNKNOWN, 0).astype("int32")
    wanted = ((model.outputs(tokens) - model.outputs(unknown)) * weights).sum(axis=1)
    found, _ = attribute(model, tokens, weights)
    np.testing.assert_allclose(found.difference, wanted, atol=2e-3)
    np.testing.assert_allclose(found.values.sum(axis=1), wanted, rtol=TOLERANCE, atol=3e-3)
    assert (found.error <= TOLERANCE).all()
    told = model.explain(test_texts, LAST, list(test_texts.targets[LAST]))
    for explanation, sums in zip(told, wanted, strict=True):
        total = sum(part.value for part in explanation.parts)
        np.testing.assert_allclose(total, sums, rtol=TOLERANCE, atol=3e-3)


def test_deleting_what_is_named_changes_most(model: Artifact, test_texts: Split) -> None:
    preprocessing = model.preprocessing
    tokens = np.asarray(preprocessing(test_texts.fetch(LAST)))
    weights = class_weights(preprocessing.encode_targets(test_texts.targets[LAST]), 2, True)
    found, _ = attribute(model, tokens, weights)
    falls = []
    for row in range(8):

        def output(kept: np.ndarray, row: int = row) -> np.ndarray:
            return model.outputs(np.where(kept, tokens[row], UNKNOWN)) @ weights[row]

        falls.append(delete_parts(output, found.values[row, tokens[row] > 0]))
    named, others = np.mean(falls, axis=0)
    assert named > 2 * others > 0, (named, others)


def test_ngrams_are_exact() -> None:
    texts = ["good good day", "bad day", "good night", "a bad bad bad night", "day", ""] * 4
    train = make_split(texts, ["a", "b", "a", "b", "c", "c"] * 4)
    model = fit("bag", train, epochs=1)
    tokens = np.asarray(model.preprocessing(train.fetch(np.arange(6))))
    layer = model.network.get_layer("ngrams")
    for label in range(3):
        weights = np.eye(3)[[label] * 6]
        values = attribute_ngrams(layer, tokens, weights)
        wanted = model.outputs(tokens)[:, label] - np.asarray(layer.bias)[label]
        np.testing.assert_allclose(values.sum(axis=1), wanted, atol=1e-5)
        assert not values[tokens == 0].any()
    (told,) = model.explain(train, [5])
    assert told.parts == ()
    assert told.summarize() == "no part matters"


@pytest.mark.parametrize("name", ["bag", "bag_cnn", "cnn"])
def test_chinese_characters(name: str) -> None:
    words = list("天地人山水火木金土日月星云雨风雷")
    train = write_texts(300, words, {"坏": "差", "好": "棒"}, CHINESE)
    model = fit(name, train)
    assert model.preprocessing.tokenizer == "character"
    told = model.explain(train, np.arange(20))
    assert np.mean([e.strongest(1)[0].text in "差棒" for e in told]) > 0.9
    (text,) = np.asarray(train.fetch(np.array([0])))
    assert "".join(part.text for part in told[0].parts) == text.decode()


@pytest.mark.parametrize("tokenizer", ["character", "character_ngram", "subword", "word"])
def test_parts_are_the_text_as_written(tokenizer: str) -> None:
    texts = ["Where is my Café bill? I pay 12€!", "thank you SO much", "is", "", "Where is it"] * 6
    train = make_split(texts, ["a", "b", "b", "b", "a"] * 6)
    words = ("--data.tokenizer", tokenizer, "--data.sequence_length", "60")
    model = fit("bag_cnn", train, *words, epochs=1)
    told = model.explain(train, np.arange(5))
    for text, explanation in zip(texts, told, strict=False):
        assert "".join(part.text for part in explanation.parts) == text
        total = sum(part.value for part in explanation.parts)
        np.testing.assert_allclose(total, explanation.difference, rtol=0.011, atol=3e-3)


@pytest.mark.parametrize(
    ("text", "tokens", "pieces"),
    [
        ("Where IS it", ["where", "is", "it"], ["Where ", "IS ", "it"]),
        ("cut here now", ["cut", "here"], ["cut ", "here"]),
        ("a 😀 b", ["a", "[UNK]", "b"], ["a ", "😀 ", "b"]),
        ("Café là", ["cafe", "la"], ["Café ", "là"]),
        ("Log in", ["log", "▁", "in"], ["Log", " ", "in"]),
        ("", [], []),
        ("x", ["y"], [""]),
        ("İstanbul", ["i̇stanbul"], [""]),
    ],
)
def test_pieces(text: str, tokens: list[str], pieces: list[str]) -> None:
    assert find_pieces(text, [token.strip("▁") for token in tokens]) == pieces


def test_several_labels() -> None:
    train = write_texts(200, NOISE, PLANTED, ENGLISH)
    model = fit("bag", train, epochs=1)
    several = replace(model.preprocessing, separator=";")
    model = Artifact(model.network, several, task)
    told = model.explain(train, np.arange(4), ["good"] * 4)
    assert {explanation.target for explanation in told} == {"good"}
    words = [explanation.strongest(1)[0] for explanation in told]
    values = {part.text.strip().lower(): part.value for part in words}
    assert values["sunshine"] > 0 > values["thunder"]


def test_predict_explains(trained: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["I was charged TWICE, please refund me", "", "😀", "--explain"]
    assert predict([*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = rows[0]["explanation"]
    assert told["kind"] == "parts"
    assert told["target"] == rows[0]["prediction"]
    assert "".join(part["text"] for part in told["parts"]) == words[0]
    assert "TWICE" in [part["text"].strip() for part in told["parts"]]
    assert rows[1]["explanation"]["parts"] == []
    assert predict(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[1].strip() == f"{told['target']}: {told['summary']}"


def test_a_preset(tmp_path: Path) -> None:
    hub = pytest.importorskip("keras_hub", reason="needs the extra presets")
    keras.utils.set_random_seed(0)
    letters = [mark + chr(c) for c in range(ord("a"), ord("z") + 1) for mark in ("", "##")]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *PLANTED.values(), *NOISE, *letters]
    backbone = hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=40,
    )
    backbone.save_to_preset(str(tmp_path))
    tokenizer = hub.tokenizers.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    tokenizer.save_to_preset(str(tmp_path))
    train = write_texts(300, NOISE, PLANTED, ENGLISH)
    model = fit("preset", train, "--model.preset", str(tmp_path))
    told = model.explain(train, np.arange(20))
    assert all(explanation.error <= TOLERANCE for explanation in told)
    found = [explanation.strongest(1)[0].text.strip().lower() for explanation in told]
    wanted = [PLANTED[explanation.target] for explanation in told]
    assert np.mean([a == b for a, b in zip(found, wanted, strict=True)]) > 0.9
    tokens = np.asarray(model.preprocessing(train.fetch(np.arange(20))))
    weights = class_weights(np.zeros(20, int), 2, True)
    values, _ = attribute(model, tokens, weights)
    unknown = np.where(tokens > 0, UNKNOWN, 0).astype("int32")
    wanted_sums = ((model.outputs(tokens) - model.outputs(unknown)) * weights).sum(axis=1)
    np.testing.assert_allclose(values.values.sum(axis=1), wanted_sums, rtol=TOLERANCE, atol=3e-3)
