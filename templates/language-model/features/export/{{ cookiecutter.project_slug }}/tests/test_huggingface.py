"""Exports in Hugging Face's form: what is written, how it is checked, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.errors import ProjectError, UsageProblem
from {{ cookiecutter.package_name }}.engine.export.formats import Export
from {{ cookiecutter.package_name }}.exports import adapter, check, families, huggingface
from {{ cookiecutter.package_name }}.networks import gpt, presets, tuning
from {{ cookiecutter.package_name }}.task import task
from {{ cookiecutter.package_name }}.tokens import fit_bytes, read_preset

from .tiny_presets import CONTEXT, END, write_preset

pytest.importorskip("keras_hub")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="export runs on TensorFlow"
)


@pytest.fixture(autouse=True)
def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """KerasHub checks, as where ``transformers`` is not installed."""
    monkeypatch.setattr(check, "find_python", lambda *modules: None)


def load(folder: Path, *words: str) -> Export:
    """Build a preset with adapters that have learnt something."""
    fields = ["--model.name", "preset", "--model.preset", str(folder), *words]
    config = load_config(fields, environment={})
    tokenizer = read_preset(folder)
    preprocessing = SimpleNamespace(
        tokenizer=tokenizer, context=CONTEXT, kind="chat", chat_template=None
    )
    network = presets.build(config, preprocessing)
    for layer in tuning.find_adapted(network):
        if layer.rank:
            values = np.random.default_rng(0).normal(size=layer.lora_b.shape)
            layer.lora_b.assign(values * 0.2)
    return Export(Artifact(network, preprocessing, task), config, "a-run")


def make_own(form: Any, activation: str = "gelu") -> Export:
    """Make a network from scratch with random weights."""
    tokenizer = fit_bytes(["hello"], None)
    network = gpt.build(tokenizer.size, 24, 2, 2, 16, form=form, activation=activation)
    random = np.random.default_rng(0)
    for weight in network.weights:
        mean = 1.0 if weight.name in ("scale", "gamma") else 0.0
        weight.assign(random.normal(mean, 0.2, weight.shape))
    preprocessing = SimpleNamespace(
        tokenizer=tokenizer, context=24, kind="text", chat_template=None
    )
    config = load_config([], environment={})
    return Export(Artifact(network, preprocessing, task), config, "a-run")


# === Whole models ===


def test_preset_with_adapters(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    preset = write_preset(tmp_path_factory.mktemp("presets") / "qwen3", "qwen3")
    export = load(preset, "--model.tuning", "lora", "--model.lora_targets", "all")
    written = huggingface.write(export, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} - {"pyproject.toml"} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert written.report["loader"] == "KerasHub"
    assert written.report["difference"] <= 1e-4
    assert "Not loaded by transformers" in written.lines[1]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["max_position_embeddings"] == CONTEXT
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [END + 2, END]
    # It has the names of the preset, and other weights where something was learnt.
    before, after = (
        load_file(preset / "model.safetensors"),
        load_file(tmp_path / "model.safetensors"),
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.allclose(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name}
    readme = (tmp_path / "README.md").read_text()
    assert "vllm serve ." in readme
    assert "convert_hf_to_gguf.py" in readme
    assert "Neither was run" in readme


@pytest.mark.parametrize(
    ("form", "activation"), [("llama", "gelu"), ("gpt2", "gelu"), ("gpt2", "gelu_tanh")]
)
def test_networks_from_scratch(form: str, activation: str, tmp_path: Path) -> None:
    written = huggingface.write(make_own(form, activation), tmp_path)
    assert written.report["difference"] <= 1e-4
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == form
    assert config["eos_token_id"] == 0
    assert not (tmp_path / "chat_template.jinja").exists()


def test_a_wrong_export_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = families.read_tensors

    def spoil(network: keras.Model) -> families.Tensors:
        tensors = original(network)
        tensors["model.norm.weight"] *= 1.01
        return tensors

    monkeypatch.setattr(families, "read_tensors", spoil)
    with pytest.raises(
        ProjectError, match=r"loaded by KerasHub, differ by up to .*; allowed: 0.0001"
    ):
        huggingface.write(make_own("llama"), tmp_path)


def test_networks_of_one_s_own_are_refused(tmp_path: Path) -> None:
    export = make_own("llama")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    segments = keras.Input((None,), dtype="int32", name="segments")
    outputs = keras.layers.Embedding(8, 8)(tokens)
    network = keras.Model({"tokens": tokens, "segments": segments}, outputs)
    model = Artifact(network, export.model.preprocessing, task)
    with pytest.raises(UsageProblem, match="a network of one's own has no form of Hugging Face"):
        huggingface.write(Export(model, export.config, "a-run"), tmp_path)


# === Adapters ===


@pytest.mark.parametrize("words", [["lora"], ["qlora"]])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_adapters(
    family: str, words: list[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    preset = write_preset(tmp_path_factory.mktemp("presets") / family, family)
    export = load(preset, "--model.tuning", *words, "--model.lora_rank", "3")
    written = adapter.write(export, tmp_path)
    assert written.report["difference"] <= 1e-4
    assert any("rounded to int8" in line for line in written.lines) == (words == ["qlora"])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(preset)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    if family == "llama":
        assert config["target_modules"] == ["self_attn.q_proj", "self_attn.v_proj"]
        name = "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight"
        assert tensors[name].shape == (3, 16)
    else:  # query, key and value are one layer, of which the key has no adapter
        assert config["rank_pattern"] == {"attn.c_attn": 6}
        second = tensors["base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"]
        assert second.shape == (48, 6)
        assert not second[16:32].any()


def test_adapters_of_another_preset(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("presets")
    export = load(write_preset(place / "one"), "--model.tuning", "lora")
    other = load_config(
        ["--model.name", "preset", "--model.preset", str(write_preset(place / "two", seed=1))],
        environment={},
    )
    with pytest.raises(ProjectError, match="holds another network than the adapters were trained"):
        adapter.write(Export(export.model, other, "a-run"), tmp_path)
    adapter.write(export, tmp_path)
    words = ["--model.tuning", "lora", "--model.lora_targets", "all"]
    third = load(write_preset(place / "three"), *words).model.network
    with pytest.raises(ProjectError, match="holds adapters of another network"):
        adapter.load_adapters(third, tmp_path)


def test_no_adapters(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    export = load(write_preset(tmp_path_factory.mktemp("presets") / "qwen3"))
    for one in (export, make_own("llama")):
        with pytest.raises(UsageProblem, match="--format adapter: this model has none"):
            adapter.write(one, tmp_path)
