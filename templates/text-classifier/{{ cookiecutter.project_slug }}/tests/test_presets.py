"""Pretrained encoders, with a tiny preset made here: loading, tuning, saving, predicting."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import predict, train
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.errors import ProjectError, UsageProblem
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.model import SHARDING_RULES, build, phases
from {{ cookiecutter.package_name }}.networks.presets import (
    BACKBONE,
    PresetInputs,
    deserialize_tokenizer,
)
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

from .test_model import PRESET_PATTERNS

hub = pytest.importorskip("keras_hub", reason="needs the extra presets")

WORDS = ("the", "i", "my", "order", "is", "pay", "##ment", "log", "##in", "app", "late", "a", "to")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST = 40


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one block with random weights."""
    folder = tmp_path_factory.mktemp("preset")
    keras.utils.set_random_seed(0)
    letters = [mark + chr(c) for c in range(ord("a"), ord("z") + 1) for mark in ("", "##")]
    vocabulary = [*dict.fromkeys([*SPECIAL, *WORDS, *letters])]
    backbone = hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=LONGEST,
    )
    backbone.save_to_preset(str(folder))
    tokenizer = hub.tokenizers.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    tokenizer.save_to_preset(str(folder))
    return folder


def words_for(preset: Path, *more: str) -> list[str]:
    words = ["--model.name", "preset", "--model.preset", str(preset), "--data.limit", "60"]
    return [*words, "--tracking.enabled", "false", *more]


@pytest.mark.parametrize("tuning", ["full", "frozen", "lora"])
def test_tuning_trains_the_right_weights(tuning: str, preset: Path) -> None:
    words = ("--model.tuning", tuning, "--model.lora_rank", "2")
    network, preprocessing = fit(preset, *words)
    (phase,) = phases(load_config(words_for(preset, *words)))
    phase.prepare(network)
    before = {w.path: np.array(w) for w in network.get_layer(BACKBONE).weights}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, run_eagerly=True)
    network.train_on_batch(preprocessing(tf.constant(["my payment is late", ""])), np.arange(2))
    after = {w.path: np.array(w) for w in network.get_layer(BACKBONE).weights}
    changed = [path for path in before if not np.allclose(before[path], after[path], atol=1e-7)]
    if tuning == "frozen":
        assert not changed
    elif tuning == "lora":
        assert changed
        assert all("query" in path or "value" in path for path in changed)
    else:
        assert len(changed) > 10


@pytest.mark.usefixtures("fit_alone")
def test_train_and_predict(
    preset: Path, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--model.tuning", "lora", "--model.lora_rank", "2", "--train.max_steps", "2")
    assert train(words_for(preset, *more)) == 0
    capsys.readouterr()
    assert predict(["my payment is late", "", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(np.isfinite(list(line["scores"].values())).all() for line in lines)
    notes = find_run("latest").summary["preprocessing"]
    assert notes["tokenizer"] == "preset"
    assert notes["sequence_length"] <= LONGEST - 2


def fit(preset: Path, *more: str) -> tuple[keras.Model, Preprocessing]:
    from {{ cookiecutter.package_name }}.data import load

    config = load_config(words_for(preset, *more))
    preprocessing = Preprocessing.fit(load(config).train, config)
    return build(config, preprocessing), preprocessing


def test_tokens_are_those_of_the_preset_and_the_padding_changes_nothing(preset: Path) -> None:
    network, preprocessing = fit(preset)
    assert preprocessing.split("My payment!") == ["my", "pay", "##ment", "[UNK]"]
    again = Preprocessing.from_config(json.loads(json.dumps(preprocessing.to_config())))
    assert again == preprocessing
    tokens = preprocessing(tf.constant(["my payment is late", "the app"])).numpy()
    alone = network(tokens[1:, :2], training=False)
    np.testing.assert_allclose(network(tokens, training=False)[1:], alone, atol=1e-5)


def test_layout_names_weights_that_exist(preset: Path) -> None:
    weights = fit(preset)[0].weights
    for pattern in PRESET_PATTERNS:
        found = [weight for weight in weights if re.search(pattern, weight.path)]
        assert found, pattern
        assert all(len(weight.shape) == len(SHARDING_RULES[pattern]) for weight in found), pattern


def test_inputs_of_a_preset() -> None:
    layer = PresetInputs(start=101, end=102, padding=7, unknown=103)
    made = layer(np.array([[2, 1, 12], [3, 0, 0], [0, 0, 0]], "int32"))
    ids = [[101, 0, 103, 10, 102], [101, 1, 102, 7, 7], [101, 102, 7, 7, 7]]
    np.testing.assert_array_equal(made["token_ids"], ids)
    np.testing.assert_array_equal(made["padding_mask"], np.array(ids) != 7)


def test_phases(preset: Path) -> None:
    rates = {}
    for tuning in ("full", "frozen", "lora"):
        (phase,) = phases(load_config(words_for(preset, "--model.tuning", tuning)))
        rates[tuning] = (phase.epochs, phase.learning_rate)
    assert rates == {"full": (4, 5e-5), "frozen": (20, 2e-3), "lora": (4, pytest.approx(5e-4))}
    for tuning in rates:
        words = ["--model.tuning", tuning, "--train.epochs", "3", "--train.learning_rate", "1e-4"]
        (phase,) = phases(load_config(words_for(preset, *words)))
        assert (phase.epochs, phase.learning_rate) == (3, 1e-4)


def test_refused_combinations(preset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"model.preset: this model needs one"):
        fit(preset, "--model.preset", "null")
    with pytest.raises(ProjectError, match=r"model.preset: .*nothing' cannot be loaded"):
        fit(preset, "--model.preset", str(tmp_path / "nothing"))
    with pytest.raises(UsageProblem, match=r"data.sequence_length: 64 is more than the 38 tokens"):
        fit(preset, "--data.sequence_length", "64")
    with pytest.raises(UsageProblem, match=r"data.tokenizer: 'word' does not go with model.name"):
        fit(preset, "--data.tokenizer", "word")
    with pytest.raises(UsageProblem, match=r"data.tokenizer: 'preset' does not go with model.name"):
        fit(preset, "--model.name", "cnn", "--data.tokenizer", "preset")


@pytest.mark.parametrize("name", ["../outside", "/elsewhere", "a\\b", "..", "C:x"])
def test_files_of_a_tokeniser_stay_in_its_folder(name: str) -> None:
    made = hub.tokenizers.BertTokenizer(vocabulary=[*SPECIAL, *WORDS])
    saved = {"tokenizer": keras.saving.serialize_keras_object(made), "files": {name: "AAAA"}}
    with pytest.raises(ValueError, match=f"tokeniser's file {re.escape(repr(name))} is not a bare"):
        deserialize_tokenizer(json.dumps(saved))


def test_only_tokenisers_of_kerashub_are_made() -> None:
    layer = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="its tokeniser 'Dense' is not one of KerasHub"):
        deserialize_tokenizer(json.dumps({"tokenizer": layer, "files": {}}))
