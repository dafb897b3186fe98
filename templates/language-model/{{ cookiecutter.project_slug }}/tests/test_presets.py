"""Presets: tiny ones in Hugging Face's form, their adapters, and decoding with a cache."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.errors import ProjectError, UsageProblem
from {{ cookiecutter.package_name }}.networks import presets, tuning
from {{ cookiecutter.package_name }}.networks.presets import PresetNetwork

from .tiny_presets import CONTEXT, FAMILIES, VOCABULARY, write_preset

pytest.importorskip("keras_hub")

TOKENS = np.random.default_rng(1).integers(0, 256, (2, 20), "int32")


def build(folder: Path, *words: str, size: int = VOCABULARY - 1) -> PresetNetwork:
    fields = ["--model.name", "preset", "--model.preset", str(folder), *words]
    preprocessing = SimpleNamespace(tokenizer=SimpleNamespace(size=size))
    return presets.build(load_config(fields, environment={}), preprocessing)


def logits(network: keras.Model, tokens: np.ndarray = TOKENS) -> np.ndarray:
    inputs = {"tokens": tokens, "segments": np.ones_like(tokens)}
    return np.asarray(keras.ops.convert_to_numpy(network(inputs, training=False)))


def learn(network: PresetNetwork) -> None:
    """Set adapters as if something had been learnt."""
    random = np.random.default_rng(2)
    for layer in tuning.find_adapted(network):
        if layer.rank:
            layer.lora_b.assign(random.normal(size=layer.lora_b.shape) * 0.2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A preset of each family."""
    place = tmp_path_factory.mktemp("presets")
    return {family: write_preset(place / family, family) for family in FAMILIES}


# === The network ===


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_without_its_preset(family: str, tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "preset", family)
    network = build(folder, "--model.tuning", "lora", "--model.lora_targets", "all")
    expected = logits(network)
    assert expected.shape == (2, 20, VOCABULARY)
    assert expected.dtype == "float32"
    learn(network)
    learnt = logits(network)
    assert np.abs(learnt - expected).max() > 0.1
    np.testing.assert_allclose(logits(presets.merge(network)), learnt, atol=1e-4)
    network.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    reloaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(logits(reloaded), learnt)
    assert reloaded.read_origin()["model_type"] == family
    assert len(reloaded.trainable_weights) == len(network.trainable_weights) > 0


@pytest.mark.parametrize("family", ["qwen3", "gemma3_text", "gpt2"])
def test_cache_gives_the_same_logits(family: str, folders: dict[str, Path]) -> None:
    network = build(folders[family])
    expected = logits(network)
    decoder = presets.make_preset_decoder(network, slots=2, length=18)
    np.testing.assert_allclose(decoder.prefill(1, [*TOKENS[1, :3]]), expected[1, 2], atol=1e-4)
    np.testing.assert_allclose(decoder.prefill(0, [*TOKENS[0, :9]]), expected[0, 8], atol=1e-4)
    for place in range(8):
        tokens = np.array([TOKENS[0, 9 + place], TOKENS[1, 3 + place]])
        found = decoder.step(tokens, np.array([True, True]))
        np.testing.assert_allclose(found[0], expected[0, 9 + place], atol=1e-4)
        np.testing.assert_allclose(found[1], expected[1, 3 + place], atol=1e-4)
    # One alone, in a slot that another text was in; the other one waits where it is.
    decoder.free(0)
    np.testing.assert_allclose(decoder.prefill(0, [*TOKENS[0, :2]]), expected[0, 1], atol=1e-4)
    found = decoder.step(np.array([0, TOKENS[1, 11]]), np.array([False, True]))
    np.testing.assert_allclose(found[1], expected[1, 11], atol=1e-4)
    assert not found[0].any()
    with pytest.raises(ValueError, match="19 tokens; allowed: 1 to 18"):
        decoder.prefill(0, list(range(19)))


def test_padding_is_not_seen(folders: dict[str, Path]) -> None:
    network = build(folders["qwen3"])
    segments = np.ones_like(TOKENS)
    segments[0, 12:] = 0
    found = np.asarray(
        keras.ops.convert_to_numpy(network({"tokens": TOKENS, "segments": segments}))
    )
    np.testing.assert_allclose(found[0, :12], logits(network)[0, :12], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_sharding_rules(family: str, folders: dict[str, Path]) -> None:
    network = build(folders[family])
    paths = [weight.path for weight in network.weights]
    assert len(paths) == len(set(paths))
    for weight in network.weights:
        found = [r for p, r in presets.SHARDING_RULES.items() if re.fullmatch(p, weight.path)]
        assert len(found) == (weight.path.endswith(("kernel", "embeddings"))) or "position" in (
            weight.path
        ), weight.path
        for rule in found:
            assert len(rule) == len(weight.shape)
            (axis,) = [axis for axis, name in enumerate(rule) if name]
            assert weight.shape[axis] % 2 == 0


ON_TWO_DEVICES = """
import sys
import keras
import numpy as np
from {{ cookiecutter.package_name }}.networks import presets

mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), keras.distribution.list_devices())
layout = keras.distribution.LayoutMap(mesh)
for pattern, axes in presets.SHARDING_RULES.items():
    layout[pattern] = axes
keras.distribution.set_distribution(
    keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
)
network = presets.PresetNetwork(presets.read_backbone(presets.Path(sys.argv[1])))
divided = [w for w in network.weights if not w.value.sharding.is_fully_replicated]
tokens = np.load(sys.argv[2])
found = network({"tokens": tokens, "segments": np.ones_like(tokens)})
np.save(sys.argv[3], np.asarray(found))
print(len(divided), sum(w.path.endswith(("kernel", "embeddings")) for w in network.weights))
"""


def test_on_two_devices(folders: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("jax")
    np.save(tmp_path / "tokens.npy", TOKENS)
    files = [str(folders["qwen3"]), str(tmp_path / "tokens.npy"), str(tmp_path / "found.npy")]
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ended = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES, *files],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    divided, large = map(int, ended.stdout.split()[-2:])
    assert divided == large
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, logits(build(folders["qwen3"])), atol=1e-4)


# === Adapters ===


@pytest.mark.parametrize("words", [["lora"], ["qlora"], ["qlora", "--model.quantization", "int4"]])
def test_only_adapters_are_trained(words: list[str], folders: dict[str, Path]) -> None:
    network = build(folders["qwen2"], "--model.tuning", *words)
    assert {weight.name for weight in network.trainable_weights} == {"lora_a", "lora_b"}
    assert {str(weight.dtype) for weight in network.trainable_weights} == {"float32"}
    # Of two layers the query and the value.
    assert len(network.trainable_weights) == 2 * 2 * 2
    frozen = tuning.frozen_weights(network)
    assert len(frozen) + len(network.trainable_weights) == len(network.weights)
    before = [np.array(weight) for weight in frozen]
    network.compile(
        keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    inputs = {"tokens": TOKENS[:, :-1], "segments": np.ones_like(TOKENS[:, :-1])}
    history = network.fit(inputs, TOKENS[:, 1:], epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.05
    for weight, old in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_adapters_add_nothing_at_first(folders: dict[str, Path]) -> None:
    expected = logits(build(folders["llama"]))
    network = build(folders["llama"], "--model.tuning", "lora", "--model.lora_rank", "3")
    np.testing.assert_array_equal(logits(network), expected)
    assert {layer.rank for layer in tuning.find_adapted(network)} == {3}
    rounded = build(folders["llama"], "--model.tuning", "qlora")
    assert 0 < np.abs(logits(rounded) - expected).max() < 0.3
    assert tuning.frozen_weights(build(folders["llama"])) == []


def test_quantization_is_undone_up_to_the_rounding() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(45, 7)).astype("float32")  # 45: a group is not full
    matrix[:, 3] = 0
    for kind, levels in (("int8", 127), ("int4", 7)):
        values, scales = tuning.quantize(matrix, kind)
        found = keras.ops.convert_to_numpy(
            tuning.dequantize(keras.ops.convert_to_tensor(values), scales, kind, 45)
        )
        assert found.shape == matrix.shape
        assert np.abs(found - matrix).max() <= np.abs(matrix).max() / levels / 2 + 1e-6
        assert not found[:, 3].any()
    assert values.nbytes == 64 * 7 / 2


def test_targets(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--model.tuning", "lora", "--model.lora_targets"]
    network = build(folders["gpt2"], *words, "feedforward, output")
    names = {layer.name for layer in tuning.find_adapted(network)}
    assert names == {
        "attention_output",
        "feedforward_intermediate_dense",
        "feedforward_output_dense",
    }
    with pytest.raises(UsageProblem, match=r"model.lora_targets: 'queri' is unknown. Did you mean"):
        build(folders["gpt2"], *words, "queri")
    monkeypatch.setitem(tuning.TARGETS, "query", ("another",))
    with pytest.raises(UsageProblem, match="GPT2Backbone has no layers for query, so that nothing"):
        build(folders["gpt2"], *words, "query")


# === What is refused ===


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "preset")
    (folder / name).unlink()
    with pytest.raises(ProjectError, match=f"preset' has no file '{name}'"):
        presets.find_folder(str(folder))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "preset")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "one.safetensors").touch()
    with pytest.raises(ProjectError, match=r"has no file 'two.safetensors'"):
        presets.find_folder(str(folder))


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("gemma3_text", {"layer_types": ["full_attention"] * 6}, "layer_types"),
        ("gemma3_text", {"rope_theta": 10_000.0}, "rope_theta 10000.0; KerasHub's gemma3_text"),
        ("qwen3", {"rope_scaling": {"rope_type": "yarn", "factor": 4}}, 'rope_type "yarn"'),
        ("llama", {"attention_bias": True}, "attention_bias true; KerasHub's llama knows only fa"),
        ("llama", {"hidden_act": "relu"}, 'hidden_act "relu"'),
        ("gpt2", {"activation_function": "gelu"}, 'activation_function "gelu"'),
        ("gemma", {"rms_norm_eps": 1e-5}, "rms_norm_eps"),
    ],
)
def test_what_would_be_built_wrongly(
    family: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = write_preset(tmp_path / "preset", family, **changes)
    with pytest.raises(UsageProblem, match=message):
        presets.find_folder(str(folder))


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "preset", "qwen2")
    config = json.loads((folder / "config.json").read_text())
    del config["intermediate_size"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ProjectError, match=r"config.json lacks 'intermediate_size'"):
        build(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ProjectError, match="is no JSON object"):
        build(folder)


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("./nowhere", "model.preset: there is no folder './nowhere'."),
        ("ftp://somewhere", "model.preset: 'ftp' is unknown."),
        ("qwen3_0.6b_em", "model.preset: 'qwen3_0.6b_em' is unknown. Did you mean 'qwen3_0.6b_en'"),
    ],
)
def test_unknown_presets(preset: str, message: str) -> None:
    with pytest.raises(UsageProblem) as raised:
        presets.find_folder(preset)
    assert message in str(raised.value)


def test_no_preset() -> None:
    config = load_config(["--model.name", "preset"], environment={})
    with pytest.raises(UsageProblem, match=r"model.preset: this model needs one"):
        presets.find_preset(config)


def test_context(folders: dict[str, Path], tmp_path: Path) -> None:
    def choose(folder: Path, *words: str) -> int:
        fields = ["--model.name", "preset", "--model.preset", str(folder), *words]
        return presets.choose_context(load_config(fields, environment={}))

    assert choose(folders["qwen3"]) == CONTEXT
    assert choose(folders["gpt2"], "--model.context", "20") == 20
    with pytest.raises(UsageProblem, match=r"model.context: this preset takes at most 64 tokens"):
        choose(folders["qwen3"], "--model.context", "65")
    long = write_preset(tmp_path / "long", max_position_embeddings=40_960)
    assert choose(long) == 512


def test_packing_and_other_tokens_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageProblem, match=r"data.packing: presets take one text in a row"):
        build(folders["qwen3"], "--data.packing", "true")
    with pytest.raises(UsageProblem, match=r"data.tokens: it has 300 tokens, the preset only 260"):
        build(folders["qwen3"], size=300)
